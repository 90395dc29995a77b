//! "Sessions at once": exact over all cores, for one identity under one grant.
//!
//! One sharded table, touched only when a session is permitted and when it ends. It is keyed by names, so it survives
//! policy swaps, and it counts every session whether or not its grant has a limit today: a limit that arrives with the
//! next policy finds the count right.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::Mutex;

const SHARDS: usize = 64;

/// The count of living sessions by identity and grant.
#[derive(Debug)]
pub struct Admission {
    hashers: [RandomState; 2],
    shards: Box<[Mutex<HashMap<Key, u32>>]>,
}

/// 127 bits of keyed hash of identity and grant: names need not be kept for each session. The bit that is always set lets a
/// session without a place do without eight bytes that say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(NonZeroU64, u64);

const _: () = assert!(size_of::<Option<Key>>() == 16);

impl Default for Admission {
    fn default() -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
        }
    }
}

impl Admission {
    /// Counts one more session, unless that would exceed `limit`. The key gives the place back with [`Self::leave`].
    pub fn enter(&self, identity: &str, grant: &str, limit: Option<u32>) -> Option<Key> {
        let names = (identity, grant);
        let [first, second] = [0, 1].map(|hasher| self.hashers[hasher].hash_one(names));
        let key = Key(NonZeroU64::MIN | first, second);
        let mut shard = self.shard(key);
        let count = shard.entry(key).or_insert(0);
        if limit.is_some_and(|limit| *count >= limit) {
            if *count == 0 {
                shard.remove(&key);
            }
            return None;
        }
        *count += 1;
        Some(key)
    }

    /// A living session counts under another grant from now on, whatever that one's limit says: it is there.
    pub fn pass_on(&self, place: &mut Option<Key>, identity: &str, grant: &str) {
        if let Some(before) = place.take() {
            self.leave(before);
            *place = self.enter(identity, grant, None);
        }
    }

    /// Takes back what [`Self::enter`] counted.
    pub fn leave(&self, key: Key) {
        let mut shard = self.shard(key);
        if let Some(count) = shard.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&key);
            }
        }
    }

    fn shard(&self, key: Key) -> std::sync::MutexGuard<'_, HashMap<Key, u32>> {
        let shard = &self.shards[key.1 as usize % SHARDS];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_passes_to_another_grant_counts_there() {
        let admission = Admission::default();
        let mut place = admission.enter("svc:a", "day", Some(1));
        admission.pass_on(&mut place, "svc:a", "night");
        assert_eq!(admission.enter("svc:a", "night", Some(1)), None);
        assert!(admission.enter("svc:a", "day", Some(1)).is_some());
        admission.leave(place.expect("its place"));
        assert!(admission.enter("svc:a", "night", Some(1)).is_some());
    }

    #[test]
    fn a_limit_is_exact_and_a_place_comes_back() {
        let admission = Admission::default();
        let first = admission.enter("svc:a", "g", Some(2)).expect("first");
        admission.enter("svc:a", "g", Some(2)).expect("second");
        assert_eq!(admission.enter("svc:a", "g", Some(2)), None);
        assert!(
            admission.enter("svc:b", "g", Some(2)).is_some(),
            "another identity has places of its own"
        );
        admission.leave(first);
        assert!(admission.enter("svc:a", "g", Some(2)).is_some());
    }

    #[test]
    fn a_limit_that_comes_later_counts_the_sessions_before_it() {
        let admission = Admission::default();
        let keys: Vec<_> = (0..3).filter_map(|_| admission.enter("svc:a", "g", None)).collect();
        assert_eq!(admission.enter("svc:a", "g", Some(3)), None);
        keys.into_iter().for_each(|key| admission.leave(key));
        assert!(admission.enter("svc:a", "g", Some(1)).is_some());
    }

    #[test]
    fn racing_cores_never_exceed_the_limit() {
        let admission = Admission::default();
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..1_000)
                            .filter(|_| admission.enter("i", "g", Some(100)).is_some())
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(admitted, 100);
    }

    #[test]
    fn a_limit_of_zero_leaves_no_entry_behind() {
        let admission = Admission::default();
        assert_eq!(admission.enter("i", "g", Some(0)), None);
        assert!(
            admission
                .shards
                .iter()
                .all(|shard| shard.lock().expect("not poisoned").is_empty())
        );
    }
}
