//! Tokens that count once, and have: shared by all cores, bounded, each forgotten a while after it has become invalid.
//!
//! One-time means once in this process: another gate of the fleet, or this one after a restart, does not know of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::identity::token::OneTime;
use crate::session::Spent;
use crate::time::Utc;

/// Marks are spread by their first byte.
const SHARDS: usize = 64;
/// Microseconds for which a mark outlives its token. A token is judged a moment before it is used up, and the clock may be set
/// back by the odd second: where its mark had gone with the token, it would count a second time.
const GRACE: i64 = 60_000_000;

/// What was used up.
pub struct SpentTokens {
    shards: Box<[Mutex<Shard>]>,
    most_of_shard: usize,
    count: AtomicU64,
}

#[derive(Default)]
struct Shard {
    spent: HashSet<[u8; 32]>,
    /// The one that ends first on top.
    ends: BinaryHeap<Reverse<(i64, [u8; 32])>>,
}

impl SpentTokens {
    /// `most`: marks at once, rounded up to a multiple of the shards; 40 bytes in each of two tables, and none before use.
    pub fn with_room_for(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most_of_shard: most.div_ceil(SHARDS).max(1),
            count: AtomicU64::new(0),
        }
    }

    /// Uses a token up. Of any number of cores that do so at once, one is told that it was fresh.
    pub fn spend(&self, once: &OneTime, now: Utc) -> Spent {
        let [first, ..] = once.id;
        let Some(shard) = self.shards.get(usize::from(first) % SHARDS) else {
            return Spent::Full;
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = shard.forget_until(now);
        self.count.fetch_sub(forgotten, Ordering::Relaxed);
        if shard.spent.contains(&once.id) {
            return Spent::Replayed;
        }
        if shard.spent.len() >= self.most_of_shard {
            return Spent::Full;
        }
        shard.spent.insert(once.id);
        shard.ends.push(Reverse((once.until.0, once.id)));
        self.count.fetch_add(1, Ordering::Relaxed);
        Spent::Fresh
    }

    /// Marks at this moment, those included that have ended and go with their shard's next use.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Shard {
    /// How many.
    fn forget_until(&mut self, now: Utc) -> u64 {
        let before = self.spent.len();
        let over = now.0.saturating_sub(GRACE);
        while self.ends.peek().is_some_and(|Reverse((until, _))| *until <= over) {
            if let Some(Reverse((_, id))) = self.ends.pop() {
                self.spent.remove(&id);
            }
        }
        (before - self.spent.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(id: u8, until: i64) -> OneTime {
        OneTime {
            id: [id; 32],
            until: Utc(until),
        }
    }

    #[test]
    fn a_token_counts_once_and_at_its_very_end_too() {
        let spent = SpentTokens::with_room_for(4_096);
        assert_eq!(spent.spend(&once(1, 100), Utc(0)), Spent::Fresh);
        assert_eq!(spent.spend(&once(1, 100), Utc(99)), Spent::Replayed);
        // Judged a moment earlier, when it was good.
        assert_eq!(spent.spend(&once(1, 100), Utc(100)), Spent::Replayed);
        assert_eq!(spent.spend(&once(2, 100), Utc(100)), Spent::Fresh);
        assert_eq!(spent.spend(&once(2, 100), Utc(101)), Spent::Replayed);
        assert_eq!(spent.spend(&once(1, 100), Utc(99 + GRACE)), Spent::Replayed);
        // Invalid by then, so it comes from nobody who was let in; the mark has made room.
        assert_eq!(spent.spend(&once(1, 200), Utc(100 + GRACE)), Spent::Fresh);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_token_count_again() {
        let spent = SpentTokens::with_room_for(4_096);
        assert_eq!(spent.spend(&once(1, 1_000), Utc(0)), Spent::Fresh);
        // Another one of the same shard, at a time when the first has ended.
        assert_eq!(spent.spend(&once(65, GRACE), Utc(1_000 + GRACE / 2)), Spent::Fresh);
        assert_eq!(spent.spend(&once(1, 1_000), Utc(999)), Spent::Replayed);
    }

    #[test]
    fn without_room_nothing_counts_until_something_ends() {
        let spent = SpentTokens::with_room_for(1);
        assert_eq!(spent.spend(&once(1, 100), Utc(0)), Spent::Fresh);
        assert_eq!(spent.spend(&once(65, 300), Utc(0)), Spent::Full);
        assert_eq!(spent.count(), 1);
        assert_eq!(spent.spend(&once(65, 300), Utc(100 + GRACE)), Spent::Fresh);
        assert_eq!(spent.count(), 1, "one went, one came");
    }

    #[test]
    fn of_many_at_once_one_is_first() {
        let spent = SpentTokens::with_room_for(4_096);
        let fresh = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for id in 0..=255 {
                        if spent.spend(&once(id, 100), Utc(0)) == Spent::Fresh {
                            fresh.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(fresh.into_inner(), 256);
    }
}
