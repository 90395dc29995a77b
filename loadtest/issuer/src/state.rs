//! What the threads of an issuer share.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::device::Devices;
use crate::fault::{Endpoint, Fault};
use crate::http::{Request, Response};
use crate::key::Key;
use crate::key_set::KeySet;
use crate::settings::Settings;
use crate::token::Token;

pub(crate) type Webhook = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) url: String,
    pub(crate) devices: Mutex<Devices>,
    pub(crate) ends: AtomicBool,
    keys: Mutex<KeySet>,
    faults: Mutex<BTreeMap<Endpoint, Fault>>,
    max_age: Mutex<Option<u32>>,
    webhook: Mutex<Option<Webhook>>,
    requests: [AtomicU64; Endpoint::ALL.len()],
}

impl State {
    pub(crate) fn new(settings: Settings, url: String) -> Self {
        Self {
            keys: Mutex::new(settings.keys.clone()),
            max_age: Mutex::new(settings.max_age),
            url,
            settings,
            devices: Mutex::default(),
            ends: AtomicBool::new(false),
            faults: Mutex::default(),
            webhook: Mutex::default(),
            requests: Default::default(),
        }
    }

    /// As the directory has them, where there is one that can be read.
    pub(crate) fn keys(&self) -> MutexGuard<'_, KeySet> {
        let mut keys = lock(&self.keys);
        let read = self.settings.directory.as_ref().map(|directory| directory.keys());
        if let Some(Ok(read)) = read {
            *keys = read.with_entries_of(&keys);
        }
        keys
    }

    /// Where there is a directory, in there.
    pub(crate) fn rotate(&self, algorithm: Algorithm) -> io::Result<Arc<Key>> {
        match &self.settings.directory {
            Some(directory) => directory.rotate(algorithm).map(|_kid| self.keys().current()),
            None => Ok(self.keys().rotate(algorithm)),
        }
    }

    pub(crate) fn retire_old(&self) -> io::Result<()> {
        match &self.settings.directory {
            Some(directory) => directory.retire_old(),
            None => {
                self.keys().retire_old();
                Ok(())
            }
        }
    }

    pub(crate) fn fault(&self, endpoint: Endpoint) -> Fault {
        let written = self.settings.directory.as_ref().map(|directory| directory.faults());
        if let Some(fault) = written.as_ref().and_then(|faults| faults.at(endpoint)) {
            return fault.clone();
        }
        lock(&self.faults).get(&endpoint).cloned().unwrap_or_default()
    }

    pub(crate) fn set_fault(&self, endpoint: Endpoint, fault: Fault) {
        lock(&self.faults).insert(endpoint, fault);
    }

    pub(crate) fn max_age(&self) -> Option<u32> {
        *lock(&self.max_age)
    }

    pub(crate) fn set_max_age(&self, seconds: Option<u32>) {
        *lock(&self.max_age) = seconds;
    }

    pub(crate) fn set_webhook(&self, webhook: Webhook) {
        *lock(&self.webhook) = Some(webhook);
    }

    /// Whatever is not known is denied.
    pub(crate) fn ask_webhook(&self, request: &Request) -> Response {
        let webhook = lock(&self.webhook).clone();
        if let Some(webhook) = webhook {
            return webhook(request);
        }
        let question = request.json();
        let user = question["user"].as_str().unwrap_or_default();
        let written = self.settings.directory.as_ref().map(|directory| directory.webhook());
        let known = written.and_then(|mut answers| answers.remove(user));
        Response::json(200, &known.unwrap_or_else(|| json!({"allow": false})))
    }

    pub(crate) fn count(&self, endpoint: Endpoint) {
        self.requests[endpoint as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self, endpoint: Endpoint) -> u64 {
        self.requests[endpoint as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn claims(&self, subject: &str) -> Claims {
        let claims = Claims::new(&self.url, &self.settings.audience, subject);
        claims.valid(crate::claims::now(), self.settings.lifetime)
    }

    pub(crate) fn token(&self, claims: Claims) -> String {
        let key = self.keys().current();
        Token::new(&key, claims).text()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
