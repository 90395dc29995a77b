//! Tokens whose signature was found good, so that it need not be checked again. Holds for one core, bounded in bytes.
//!
//! What is kept is what the signature proves and nothing that time, the policy or the connection decide: a hit still has to
//! be judged. An entry counts for the key set and the policy it was made under; under others it is a miss.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::super::kept::Kept;
use super::Verified;

pub struct Cache(Kept<Entry>);

struct Entry {
    keys: u64,
    policy: u64,
    token: Arc<Verified>,
}

/// The name of a token in the cache and in whatever must not hold the token itself: its SHA-256.
pub fn hash(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    hash
}

impl Cache {
    /// Holds `most` bytes, about; a cache of zero bytes holds nothing.
    pub fn new(most: usize) -> Self {
        Self(Kept::new(most))
    }

    /// The token of this hash, if it was verified under these generations of the issuer's keys and of the policy.
    pub fn get(&mut self, hash: &[u8; 32], keys: u64, policy: u64) -> Option<Arc<Verified>> {
        let entry = self.0.get(hash, |entry| entry.keys == keys && entry.policy == policy)?;
        Some(Arc::clone(&entry.token))
    }

    /// Keeps a token, in place of one with the same hash.
    pub fn put(&mut self, hash: [u8; 32], keys: u64, policy: u64, token: Arc<Verified>) {
        let weight = size_of::<Entry>() + token.weight();
        self.0.put(hash, Entry { keys, policy, token }, weight);
    }
}
