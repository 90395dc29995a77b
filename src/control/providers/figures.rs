//! What each provider has done and how it stands, counted on the runtime and read by anybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::key_sets::ProviderKeys;
use crate::control::clock::utc_now;
use crate::time::Utc;

/// How a provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keys that stand in the policy.
    Inline,
    /// Keys that are fetched.
    Keys,
    Webhook,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Inline => "inline",
            Kind::Keys => "keys",
            Kind::Webhook => "webhook",
        }
    }
}

/// One provider, for metrics and for people.
#[derive(Debug, Clone)]
pub struct Status {
    pub name: Box<str>,
    pub kind: Kind,
    /// Keys that have a name.
    pub keys: usize,
    pub key_ids: Vec<Box<str>>,
    pub fetched_at: Option<Utc>,
    pub usable_until: Option<Utc>,
    /// The last thing that went wrong, whether or not it went well since.
    pub last_error: Option<Box<str>>,
    pub last_error_at: Option<Utc>,
    /// Whether the last try came to nothing; `last_error` stays behind when the next one succeeds.
    pub last_try_failed: bool,
    /// Fetches of keys, failed ones included, and requests to a webhook.
    pub fetches: u64,
    pub failures: u64,
    /// Questions of cores: refetches, or attempts put to a webhook.
    pub asked: u64,
    pub denied: u64,
    pub unavailable: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Answers kept.
    pub cached: u64,
}

/// The counters of one provider. They start again when the policy says something else of it.
pub struct Figures {
    pub name: Box<str>,
    pub kind: Kind,
    pub fetches: Count,
    pub failures: Count,
    pub asked: Count,
    pub denied: Count,
    pub unavailable: Count,
    pub in_flight: Count,
    pub cached: Count,
    last_error: Mutex<Option<(Utc, Box<str>)>>,
    last_try_failed: AtomicBool,
}

/// Written by the runtime alone.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Figures {
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            fetches: Count::default(),
            failures: Count::default(),
            asked: Count::default(),
            denied: Count::default(),
            unavailable: Count::default(),
            in_flight: Count::default(),
            cached: Count::default(),
            last_error: Mutex::default(),
            last_try_failed: AtomicBool::new(false),
        }
    }

    /// A try came to nothing, and the operator should see it. Whether it is the first since the last success.
    pub fn failed(&self, why: &str) -> bool {
        self.failures.one();
        self.note(why);
        !self.last_try_failed.swap(true, Ordering::Relaxed)
    }

    /// A try came to something. Whether the one before had failed.
    pub fn succeeded(&self) -> bool {
        self.last_try_failed.swap(false, Ordering::Relaxed)
    }

    pub fn note(&self, why: &str) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((utc_now(), why.into()));
    }

    pub fn status(&self, keys: Option<&ProviderKeys>) -> Status {
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (last_error_at, last_error) = last_error.unzip();
        let set = keys.and_then(|keys| keys.keys.as_ref());
        let key_ids: Vec<Box<str>> = set.map_or_else(Vec::new, |set| set.key_ids().map(Into::into).collect());
        Status {
            name: self.name.clone(),
            kind: self.kind,
            keys: key_ids.len(),
            key_ids,
            fetched_at: keys.and_then(|keys| keys.fetched_at),
            usable_until: keys.filter(|keys| keys.keys.is_some()).map(|keys| keys.usable_until),
            last_error,
            last_error_at,
            last_try_failed: self.last_try_failed.load(Ordering::Relaxed),
            fetches: self.fetches.get(),
            failures: self.failures.get(),
            asked: self.asked.get(),
            denied: self.denied.get(),
            unavailable: self.unavailable.get(),
            in_flight: self.in_flight.get(),
            cached: self.cached.get(),
        }
    }
}

impl Count {
    pub fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn one_less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
