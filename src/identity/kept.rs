//! What a core has found out about a proof and need not find out again: by a hash, bounded in bytes.

use std::collections::HashMap;
use std::collections::hash_map::IntoIter;
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes that an entry takes beside what its owner counts, about: hash, weight and free places of the map.
const OVERHEAD: usize = 2 * (32 + 3 * size_of::<usize>());
/// Entries of a generation past use that are freed at each new one.
const FREED_AT_ONCE: usize = 2;

type Generation<V> = HashMap<[u8; 32], Entry<V>, BuildHasherDefault<AlreadyHashed>>;

/// Two generations: what is new or was asked for lately is in the young one. When that is full, it becomes the old one, and
/// what was old goes, a few entries at a time, so that no single login pays for all of it.
pub struct Kept<V> {
    /// Bytes of one generation at most. There are three at a time: young, old and what is being freed.
    most: usize,
    young: Generation<V>,
    young_weight: usize,
    old: Generation<V>,
    leaving: IntoIter<[u8; 32], Entry<V>>,
}

struct Entry<V> {
    value: V,
    weight: usize,
}

impl<V> Kept<V> {
    /// Holds `most` bytes, about; of zero bytes it holds nothing.
    pub fn new(most: usize) -> Self {
        Self {
            most: most / 3,
            young: Generation::default(),
            young_weight: 0,
            old: Generation::default(),
            leaving: Generation::default().into_iter(),
        }
    }

    /// What is kept under the hash, if it is `current` still. What is not, and was not asked for lately, goes.
    pub fn get(&mut self, hash: &[u8; 32], current: impl Fn(&V) -> bool) -> Option<&V> {
        if !self.young.contains_key(hash) {
            let entry = self.old.remove(hash).filter(|entry| current(&entry.value))?;
            self.insert(*hash, entry);
        }
        self.young
            .get(hash)
            .map(|entry| &entry.value)
            .filter(|value| current(value))
    }

    /// Keeps a value of `weight` bytes, in place of one with the same hash.
    pub fn put(&mut self, hash: [u8; 32], value: V, weight: usize) {
        let weight = weight.saturating_add(OVERHEAD);
        self.insert(hash, Entry { value, weight });
    }

    #[cfg(test)]
    pub fn is_young(&self, hash: &[u8; 32]) -> bool {
        self.young.contains_key(hash)
    }

    fn insert(&mut self, hash: [u8; 32], entry: Entry<V>) {
        self.leaving.by_ref().take(FREED_AT_ONCE).for_each(drop);
        let weight = entry.weight;
        if weight > self.most {
            return;
        }
        if self.young_weight + weight > self.most {
            self.turn();
        }
        self.young_weight += weight;
        if let Some(replaced) = self.young.insert(hash, entry) {
            self.young_weight -= replaced.weight;
        }
    }

    fn turn(&mut self) {
        let young = std::mem::take(&mut self.young);
        self.leaving = std::mem::replace(&mut self.old, young).into_iter();
        self.young_weight = 0;
    }
}

/// The key is a hash that nobody can choose at will, so its first bytes serve as they are. Whoever wants to put anything into
/// the map at all needs a token that an issuer has signed, or a certificate of an authority.
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const WEIGHT: usize = 1000;
    const PLENTY: usize = 64 * WEIGHT;

    fn key(number: u64) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn what_is_not_current_any_more_is_a_miss_and_goes_with_the_old() {
        let mut kept = Kept::new(PLENTY);
        kept.put(key(0), "zero", WEIGHT);
        let mut number = 0;
        while kept.is_young(&key(0)) {
            number += 1;
            kept.put(key(number), "another", WEIGHT);
        }
        assert!(kept.get(&key(0), |_| false).is_none());
        assert!(
            kept.get(&key(0), |_| true).is_none(),
            "it is of no use any more and went"
        );
        assert!(kept.get(&key(number), |_| false).is_none());
        assert!(kept.get(&key(number), |value| *value == "another").is_some());
    }

    #[test]
    fn the_bytes_have_their_bound_and_what_is_asked_for_stays() {
        let (mut kept, value) = (Kept::new(PLENTY), Rc::new(()));
        let most = PLENTY / WEIGHT;
        for number in 0..1000 {
            kept.put(key(number), Rc::clone(&value), WEIGHT);
            assert!(
                kept.get(&key(0), |_| true).is_some(),
                "asked for after each of {number}"
            );
            assert!(Rc::strong_count(&value) - 1 <= most, "{number}");
        }
        assert!(kept.get(&key(1), |_| true).is_none() && kept.get(&key(999), |_| true).is_some());
        assert!(Rc::strong_count(&value) - 1 > most / 4, "the room is made use of");
    }

    #[test]
    fn replacing_an_entry_takes_no_more_room() {
        let mut kept = Kept::new(PLENTY);
        kept.put(key(0), 0, WEIGHT);
        for number in 0..1000 {
            kept.put(key(1), number, WEIGHT);
        }
        assert!(kept.is_young(&key(0)));
        assert_eq!(kept.get(&key(1), |_| true), Some(&999));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let mut kept = Kept::new(0);
        kept.put(key(0), (), 0);
        assert!(kept.get(&key(0), |_| true).is_none());
    }
}
