//! Tokens whose signature was found good, so that it need not be checked again. Holds for one core, bounded in bytes.
//!
//! What is kept is what the signature proves and nothing that time, the policy or the connection decide: a hit still has to
//! be judged. An entry counts for the key set of its issuer and the policy that it was made under. Other issuers' keys may
//! change as they like.

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

    /// The token of this hash, if it was verified under this generation of the policy, and the number of the keys that it was
    /// verified with: it counts for those alone.
    pub fn get(&mut self, hash: &[u8; 32], policy: u64) -> Option<(Arc<Verified>, u64)> {
        let entry = self.0.get(hash, |entry| entry.policy == policy)?;
        Some((Arc::clone(&entry.token), entry.keys))
    }

    /// Keeps a token, in place of one with the same hash.
    pub fn put(&mut self, hash: [u8; 32], keys: u64, policy: u64, token: Arc<Verified>) {
        let weight = size_of::<Entry>() + token.weight();
        self.0.put(hash, Entry { keys, policy, token }, weight);
    }
}
