//! The keys of every token issuer, as cores read them: swapped whole, never changed in place.

use std::collections::HashMap;
use std::sync::Arc;

use super::KeySet;
use crate::time::Utc;

/// By name of the provider. Cores read it and never wait for it.
#[derive(Default)]
pub struct KeySets {
    /// Changes with every publication.
    generation: u64,
    providers: HashMap<Box<str>, Arc<ProviderKeys>>,
}

/// What is known of one issuer's keys.
#[derive(Clone)]
pub struct ProviderKeys {
    /// The last good set; `None` until there has been one.
    pub keys: Option<Arc<KeySet>>,
    /// Another number for another set, unique in the process; zero without a set.
    pub generation: u64,
    /// When the provider last confirmed the set. `None` for a set that stands in the policy.
    pub fetched_at: Option<Utc>,
    /// From here on tokens are denied `provider_unavailable`.
    pub usable_until: Utc,
    /// Why the last fetch failed; `None` when it did not.
    pub last_error: Option<Box<str>>,
    /// Where the keys come from, for people.
    pub source: Box<str>,
}

impl KeySets {
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn of(&self, provider: &str) -> Option<&Arc<ProviderKeys>> {
        self.providers.get(provider)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<ProviderKeys>)> {
        self.providers.iter().map(|(name, keys)| (&**name, keys))
    }

    /// These sets with another one for `provider`.
    pub(super) fn with(&self, provider: &str, keys: ProviderKeys) -> Self {
        let mut providers = self.providers.clone();
        providers.insert(provider.into(), Arc::new(keys));
        Self {
            generation: self.generation + 1,
            providers,
        }
    }

    /// These sets without the providers that `stays` does not name.
    pub(super) fn only(&self, stays: impl Fn(&str) -> bool) -> Self {
        let mut providers = self.providers.clone();
        providers.retain(|name, _| stays(name));
        Self {
            generation: self.generation + 1,
            providers,
        }
    }
}

impl ProviderKeys {
    /// A set that is still to come.
    pub(super) fn awaited(source: Box<str>) -> Self {
        Self {
            keys: None,
            generation: 0,
            fetched_at: None,
            usable_until: Utc(0),
            last_error: None,
            source,
        }
    }

    /// The set, unless it is too long ago that the provider confirmed it.
    pub fn usable(&self, now: Utc) -> Option<&Arc<KeySet>> {
        self.keys.as_ref().filter(|_| now < self.usable_until)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::key_set;
    use super::*;

    #[test]
    fn a_set_is_usable_up_to_its_bound_and_no_longer() {
        let mut keys = ProviderKeys::awaited("somewhere".into());
        assert!(keys.usable(Utc(-1)).is_none(), "there is none");
        keys.keys = Some(Arc::new(KeySet::parse(key_set(&["k1"]).as_bytes()).unwrap()));
        keys.usable_until = Utc(10);
        assert!(keys.usable(Utc(9)).is_some());
        assert!(keys.usable(Utc(10)).is_none());
    }

    #[test]
    fn a_provider_that_goes_takes_its_keys_along() {
        let both = KeySets::default()
            .with("a", ProviderKeys::awaited("a".into()))
            .with("b", ProviderKeys::awaited("b".into()));
        let one = both.only(|name| name == "b");
        assert!(one.of("a").is_none() && one.of("b").is_some());
        assert_eq!((both.generation(), one.generation()), (2, 3));
    }
}
