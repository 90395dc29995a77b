//! The cache of verified tokens.

use std::sync::Arc;

use serde_json::json;

use super::super::Verified;
use super::super::cache::{Cache, hash};
use super::super::testing::{Mint, claims_with, oidc};

/// Bytes of one [`token`] in the cache, about.
const PLENTY: usize = 64 * 1024;

fn token() -> Arc<Verified> {
    let claims = claims_with("jti", json!("x".repeat(1000)));
    Arc::new(Mint::ed25519("k").verified(claims, &oidc()).unwrap())
}

fn key(number: u64) -> [u8; 32] {
    hash(&number.to_be_bytes())
}

#[test]
fn a_hash_is_that_of_the_whole_token() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let shown: String = hash(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, expected);
}

#[test]
fn what_was_kept_is_found_under_its_policy_alone_and_says_of_its_keys() {
    let (mut cache, token) = (Cache::new(PLENTY), token());
    assert!(cache.get(&key(1), 1).is_none());
    cache.put(key(1), 7, 1, Arc::clone(&token));
    let (found, keys) = cache.get(&key(1), 1).expect("it is kept");
    assert!(Arc::ptr_eq(&found, &token) && keys == 7);
    assert!(cache.get(&key(2), 1).is_none() && cache.get(&key(1), 2).is_none());
    cache.put(key(1), 8, 2, token);
    assert_eq!(cache.get(&key(1), 2).map(|(_, keys)| keys), Some(8));
    assert!(cache.get(&key(1), 1).is_none());
}
