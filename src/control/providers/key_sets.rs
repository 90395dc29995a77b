//! The keys of every token issuer, as cores read them: swapped whole, never changed in place.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::token::{KeyOrigin, KeySet};
use crate::time::Utc;

/// By name of the provider. Cores read it and never wait for it.
#[derive(Default)]
pub struct KeySets {
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
    /// The same for the session: what the policy in force says has to agree. `None` agrees with nothing.
    pub origin: Option<KeyOrigin>,
}

impl KeySets {
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
        Self { providers }
    }

    /// These sets without the providers that `stays` does not name.
    pub(super) fn only(&self, stays: impl Fn(&str) -> bool) -> Self {
        let mut providers = self.providers.clone();
        providers.retain(|name, _| stays(name));
        Self { providers }
    }
}

impl ProviderKeys {
    /// A set that is still to come.
    pub(super) fn awaited(source: Box<str>, origin: Option<KeyOrigin>) -> Self {
        Self {
            keys: None,
            generation: 0,
            fetched_at: None,
            usable_until: Utc(0),
            last_error: None,
            source,
            origin,
        }
    }

    /// The set, unless it is too long ago that the provider confirmed it.
    pub fn usable(&self, now: Utc) -> Option<&Arc<KeySet>> {
        self.keys.as_ref().filter(|_| now < self.usable_until)
    }

    /// As [`Self::usable`], if they come from where the policy says. For a moment behind a new policy the set may still be
    /// that of the provider of before, which has the same name and need not be the same.
    pub fn usable_from(&self, origin: KeyOrigin, now: Utc) -> Option<&Arc<KeySet>> {
        self.usable(now).filter(|_| self.origin == Some(origin))
    }

    /// For the record of somebody who was turned away.
    pub fn why_unusable(&self) -> Box<str> {
        match (&self.last_error, &self.keys) {
            (Some(error), None) => format!("no keys: {error}").into(),
            (Some(error), Some(_)) => format!("the keys are too old: {error}").into(),
            (None, _) => "no keys yet".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::token::testing::{Mint, oidc};
    use postern_policy::model::{KeySource, TokenForm, TokenIssuer};

    #[test]
    fn a_set_is_usable_up_to_its_bound_and_no_longer() {
        let mut keys = ProviderKeys::awaited("somewhere".into(), None);
        assert!(keys.usable(Utc(-1)).is_none(), "there is none");
        keys.keys = Some(Arc::new(Mint::es256("1").key_set()));
        keys.usable_until = Utc(10);
        assert!(keys.usable(Utc(9)).is_some());
        assert!(keys.usable(Utc(10)).is_none());
    }

    #[test]
    fn keys_are_of_the_issuer_that_the_policy_names_now() {
        let origin = |change: fn(&mut TokenIssuer)| {
            let mut rules = oidc();
            change(&mut rules);
            KeyOrigin::of(&rules)
        };
        let corp = origin(|_| {});
        let mut keys = ProviderKeys::awaited("somewhere".into(), Some(corp));
        keys.keys = Some(Arc::new(Mint::es256("1").key_set()));
        keys.usable_until = Utc(10);
        assert!(keys.usable_from(corp, Utc(9)).is_some());
        assert!(keys.usable_from(corp, Utc(10)).is_none());
        let more = origin(|rules| rules.audiences.clear());
        assert!(keys.usable_from(more, Utc(9)).is_some(), "the same keys");
        for other in [
            origin(|rules| {
                rules.form = TokenForm::Oidc {
                    issuer: "https://other.example".into(),
                }
            }),
            origin(|rules| rules.keys = KeySource::Url("https://other.example/keys".into())),
            origin(|rules| rules.roots.push(vec![1])),
        ] {
            assert!(keys.usable_from(other, Utc(9)).is_none());
        }
        keys.origin = None;
        assert!(keys.usable_from(corp, Utc(9)).is_none());
    }

    #[test]
    fn a_provider_that_goes_takes_its_keys_along() {
        let both = KeySets::default()
            .with("a", ProviderKeys::awaited("a".into(), None))
            .with("b", ProviderKeys::awaited("b".into(), None));
        let one = both.only(|name| name == "b");
        assert!(one.of("a").is_none() && one.of("b").is_some());
    }
}
