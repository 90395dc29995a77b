//! What every provider's task has on the runtime: addresses, what is published, whom to tell.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Tell;
use super::key_sets::{KeySets, ProviderKeys};
use crate::control::resolve::Addresses;

/// Times that the policy does not set.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Keys are not fetched more often than this by a provider's own word.
    pub floor: Duration,
    /// After the first failed fetch; then twice that, and so on up to the provider's refresh time.
    pub first_retry: Duration,
    /// Unknown key names cause at most one fetch in this time, per provider.
    pub refetch_interval: Duration,
    /// For one request for keys, the whole of it.
    pub keys_deadline: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            floor: Duration::from_secs(60),
            first_retry: Duration::from_secs(1),
            refetch_interval: Duration::from_secs(30),
            keys_deadline: Duration::from_secs(10),
        }
    }
}

/// Hears which hosts' addresses are needed now, all of them, whenever that changes. Called on the runtime: must not block.
pub type Want = Box<dyn Fn(BTreeSet<String>) + Send>;

pub struct Shared {
    pub addresses: Arc<ArcSwap<Addresses>>,
    pub key_sets: Arc<ArcSwap<KeySets>>,
    pub tell: Tell,
    pub pace: Pace,
    want: Want,
    hosts: RefCell<BTreeMap<Box<str>, BTreeSet<String>>>,
    generation: Cell<u64>,
}

impl Shared {
    pub fn new(
        addresses: Arc<ArcSwap<Addresses>>,
        key_sets: Arc<ArcSwap<KeySets>>,
        tell: Tell,
        want: Want,
        pace: Pace,
    ) -> Self {
        Self {
            addresses,
            key_sets,
            tell,
            pace,
            want,
            hosts: RefCell::default(),
            generation: Cell::new(0),
        }
    }

    /// A number for a set of keys that no other set has had.
    pub fn next_generation(&self) -> u64 {
        self.generation.set(self.generation.get() + 1);
        self.generation.get()
    }

    /// The runtime is the only one that publishes.
    pub fn publish(&self, provider: &str, keys: ProviderKeys) {
        let fresh = self.key_sets.load().with(provider, keys);
        self.key_sets.store(Arc::new(fresh));
    }

    /// Forgets every provider that `stays` does not name.
    pub fn retain(&self, stays: impl Fn(&str) -> bool) {
        self.hosts.borrow_mut().retain(|name, _| stays(name));
        if self.key_sets.load().iter().any(|(name, _)| !stays(name)) {
            let fresh = self.key_sets.load().only(stays);
            self.key_sets.store(Arc::new(fresh));
        }
    }

    /// `provider` needs the addresses of `hosts`, and of no others.
    pub fn want(&self, provider: &str, hosts: &[&str]) {
        let hosts: BTreeSet<String> = hosts.iter().map(ToString::to_string).collect();
        let before = self.hosts.borrow_mut().insert(provider.into(), hosts.clone());
        if before.as_ref() != Some(&hosts) {
            self.say_hosts();
        }
    }

    /// `provider` is to be asked elsewhere than before.
    pub fn want_none(&self, provider: &str) {
        self.hosts.borrow_mut().remove(provider);
    }

    /// `provider` needs the address of `host`, beside what it needs already. Says nothing yet.
    pub fn want_also(&self, provider: &str, host: &str) {
        let mut hosts = self.hosts.borrow_mut();
        hosts.entry(provider.into()).or_default().insert(host.to_owned());
    }

    /// Says all hosts that are wanted.
    pub fn say_hosts(&self) {
        (self.want)(self.hosts.borrow().values().flatten().cloned().collect());
    }
}
