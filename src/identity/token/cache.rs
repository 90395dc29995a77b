//! Tokens whose signature was found good, so that it need not be checked again. Holds for one core, bounded in bytes.
//!
//! What is kept is what the signature proves and nothing that time, the policy or the connection decide: a hit still has to
//! be judged. An entry counts for the key set and the policy it was made under; under others it is a miss.

use std::collections::HashMap;
use std::collections::hash_map::IntoIter;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::Verified;

/// Bytes that an entry takes beside its token, about: hash, generations, counters of the `Arc` and free places of the map.
const OVERHEAD: usize = 2 * (32 + 2 * size_of::<u64>() + 2 * size_of::<usize>());
/// Entries of a generation past use that are freed at each new one.
const FREED_AT_ONCE: usize = 2;

type Generation = HashMap<[u8; 32], Entry, BuildHasherDefault<AlreadyHashed>>;

/// Two generations: what is new or was asked for lately is in the young one. When that is full, it becomes the old one, and
/// what was old goes, a few entries at a time, so that no single login pays for all of it.
pub struct Cache {
    /// Bytes of one generation at most. There are three at a time: young, old and what is being freed.
    most: usize,
    young: Generation,
    young_weight: usize,
    old: Generation,
    leaving: IntoIter<[u8; 32], Entry>,
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
        Self {
            most: most / 3,
            young: Generation::default(),
            young_weight: 0,
            old: Generation::default(),
            leaving: Generation::default().into_iter(),
        }
    }

    /// The token of this hash, if it was verified under these generations of the issuer's keys and of the policy.
    pub fn get(&mut self, hash: &[u8; 32], keys: u64, policy: u64) -> Option<Arc<Verified>> {
        let current = |entry: &Entry| entry.keys == keys && entry.policy == policy;
        if let Some(entry) = self.young.get(hash) {
            return current(entry).then(|| Arc::clone(&entry.token));
        }
        let entry = self.old.remove(hash).filter(current)?;
        let token = Arc::clone(&entry.token);
        self.insert(*hash, entry);
        Some(token)
    }

    /// Keeps a token, in place of one with the same hash.
    pub fn put(&mut self, hash: [u8; 32], keys: u64, policy: u64, token: Arc<Verified>) {
        self.insert(hash, Entry { keys, policy, token });
    }

    #[cfg(test)]
    pub(super) fn is_young(&self, hash: &[u8; 32]) -> bool {
        self.young.contains_key(hash)
    }

    fn insert(&mut self, hash: [u8; 32], entry: Entry) {
        self.leaving.by_ref().take(FREED_AT_ONCE).for_each(drop);
        let weight = entry.weight();
        if weight > self.most {
            return;
        }
        if self.young_weight + weight > self.most {
            self.turn();
        }
        self.young_weight += weight;
        if let Some(replaced) = self.young.insert(hash, entry) {
            self.young_weight -= replaced.weight();
        }
    }

    fn turn(&mut self) {
        let young = std::mem::take(&mut self.young);
        self.leaving = std::mem::replace(&mut self.old, young).into_iter();
        self.young_weight = 0;
    }
}

struct Entry {
    keys: u64,
    policy: u64,
    token: Arc<Verified>,
}

impl Entry {
    fn weight(&self) -> usize {
        self.token.weight() + OVERHEAD
    }
}

/// The key is a hash nobody can choose at will, so its first bytes serve as they are. An attacker would need tokens that an
/// issuer has signed to put anything into the map at all.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }

    /// The length that comes before the bytes of an array.
    fn write_usize(&mut self, _: usize) {}
}
