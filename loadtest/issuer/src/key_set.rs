//! The keys of an issuer: the current one, those before it, and the JWK Set (RFC 7517, 5) that is published.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::key::Key;

/// Never empty.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// The last is the current one.
    keys: Vec<Arc<Key>>,
    /// Of the JWK Set, and no keys of ours.
    further: Vec<Value>,
    made: u32,
}

impl KeySet {
    /// One new key, `key-1`.
    pub fn generate(algorithm: Algorithm) -> Self {
        Self::of(Key::generate(algorithm, &name(1)), [])
    }

    /// The first of them is the oldest, `last` the current one.
    pub fn of(last: Key, before: impl IntoIterator<Item = Key>) -> Self {
        let keys: Vec<Arc<Key>> = before.into_iter().chain([last]).map(Arc::new).collect();
        Self {
            made: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            keys,
            further: Vec::new(),
        }
    }

    pub fn current(&self) -> Arc<Key> {
        self.keys.last().expect("never empty").clone()
    }

    /// The one before the current.
    pub fn old(&self) -> Option<Arc<Key>> {
        self.keys.iter().rev().nth(1).cloned()
    }

    pub fn named(&self, kid: &str) -> Option<Arc<Key>> {
        self.keys.iter().find(|key| key.kid() == kid).cloned()
    }

    /// A new key, which is the current one from now on; those before it stay published.
    pub fn rotate(&mut self, algorithm: Algorithm) -> Arc<Key> {
        let kid = loop {
            self.made += 1;
            let kid = name(self.made);
            if self.named(&kid).is_none() {
                break kid;
            }
        };
        self.keys.push(Arc::new(Key::generate(algorithm, &kid)));
        self.current()
    }

    /// Only the current key stays published.
    pub fn retire_old(&mut self) {
        self.keys.drain(..self.keys.len() - 1);
    }

    /// An entry of the JWK Set that is no signature key of ours: [`encryption_entry`], [`secret_entry`], nonsense.
    pub fn add_entry(&mut self, entry: Value) {
        self.further.push(entry);
    }

    pub fn jwks(&self) -> Value {
        let keys = self.keys.iter().map(|key| key.jwk());
        json!({"keys": self.further.iter().cloned().chain(keys).collect::<Vec<_>>()})
    }

    pub fn algorithms(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.keys.iter().map(|key| key.algorithm().name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// With the entries that `other` has beside its keys.
    pub(crate) fn with_entries_of(mut self, other: &Self) -> Self {
        self.further.clone_from(&other.further);
        self
    }
}

/// An RSA key for encryption (`use` = `enc`): a reader of the set has to skip it.
pub fn encryption_entry() -> Value {
    let mut jwk = Key::generate(Algorithm::Rs256, "encryption").jwk();
    jwk["use"] = json!("enc");
    jwk["alg"] = json!("RSA-OAEP");
    jwk
}

/// A symmetric key (`kty` = `oct`), which no set should have: a reader must not use it.
pub fn secret_entry(kid: &str, secret: &[u8]) -> Value {
    json!({"kty": "oct", "kid": kid, "alg": "HS256", "use": "sig", "k": crate::encoding::base64url(secret)})
}

fn name(number: u32) -> String {
    format!("key-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(set: &KeySet) -> Vec<String> {
        let jwks = set.jwks();
        let keys = jwks["keys"].as_array().expect("a list");
        keys.iter()
            .map(|key| key["kid"].as_str().expect("kid").to_owned())
            .collect()
    }

    #[test]
    fn a_new_key_becomes_current_and_the_old_stays_until_retired() {
        let mut set = KeySet::generate(Algorithm::EdDsa);
        assert_eq!(set.rotate(Algorithm::Es256).kid(), "key-2");
        assert_eq!(set.current().algorithm(), Algorithm::Es256);
        assert_eq!(published(&set), ["key-1", "key-2"]);
        assert_eq!(set.algorithms(), ["ES256", "EdDSA"]);
        set.retire_old();
        assert_eq!(published(&set), ["key-2"]);
        assert!(set.named("key-1").is_none());
        assert_eq!(set.rotate(Algorithm::Es256).kid(), "key-3");
    }

    #[test]
    fn entries_that_are_no_signature_keys_come_first() {
        let mut set = KeySet::generate(Algorithm::EdDsa);
        set.add_entry(encryption_entry());
        set.add_entry(secret_entry("shared", b"secret"));
        assert_eq!(published(&set), ["encryption", "shared", "key-1"]);
        let jwks = set.jwks();
        assert_eq!(jwks["keys"][0]["use"], "enc");
        assert_eq!(jwks["keys"][1]["k"], "c2VjcmV0");
    }
}
