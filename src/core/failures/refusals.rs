//! Who is refused. Each network stands here by its full name with its own count, so nobody is ever refused in the place
//! of another. There is room for so many; who finds none is not refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::halves::{Halves, Window};
use super::network::Network;

/// A power of two: which set a network belongs to is taken from random bits.
pub const SETS: usize = 8_192;
const WAYS: usize = 8;

/// Of the table.
pub const BYTES: usize = SETS * size_of::<Mutex<Set>>();

/// Whether the table had room for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// A network is not counted here, or another that had failed lately was forgotten for it.
    Short,
}

impl Room {
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Enough, Self::Enough) => Self::Enough,
            (Self::Short, _) | (_, Self::Short) => Self::Short,
        }
    }
}

/// When a network is refused, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Behind so many failures.
    pub after: u64,
    /// Nanoseconds.
    pub until: u64,
}

/// Networks that have failed lately.
pub struct Refusals {
    sets: Box<[Mutex<Set>]>,
    /// No refusal ends later than this, so where nobody is refused nothing else is looked at.
    latest: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            latest: AtomicU64::new(0),
        }
    }
}

impl Refusals {
    /// Counts a failure of `network`, which belongs to `set`.
    pub fn failed(&self, set: usize, network: Network, window: Window, now: u64, limit: Limit) -> Room {
        let Some(mut set) = self.set(set) else {
            return Room::Short;
        };
        let Some((suspect, room)) = set.suspect(network, window, now) else {
            return Room::Short;
        };
        let counts = Halves::read(suspect.counts).turned(window).and_one();
        suspect.counts = counts.word();
        if counts.sum() > limit.after {
            suspect.refused_until = suspect.refused_until.max(limit.until);
            self.latest.fetch_max(limit.until, Relaxed);
        }
        room
    }

    /// Whether anybody at all may be refused.
    pub fn any(&self, now: u64) -> bool {
        now < self.latest.load(Relaxed)
    }

    pub fn refuses(&self, set: usize, network: Network, now: u64) -> bool {
        let Some(set) = self.set(set) else {
            return false;
        };
        let mut suspects = set.0.iter();
        suspects.any(|suspect| suspect.network == Some(network) && suspect.is_refused(now))
    }

    fn set(&self, set: usize) -> Option<MutexGuard<'_, Set>> {
        let set = self.sets.get(set)?;
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Default)]
struct Set([Suspect; WAYS]);

impl Set {
    /// Where `network` is counted. The one that failed least gives way to another; who is refused stays.
    fn suspect(&mut self, network: Network, window: Window, now: u64) -> Option<(&mut Suspect, Room)> {
        let suspects = &mut self.0;
        let known = suspects.iter().position(|suspect| suspect.network == Some(network));
        if let Some(known) = known {
            return Some((suspects.get_mut(known)?, Room::Enough));
        }
        let free = suspects.iter_mut().filter(|suspect| !suspect.is_refused(now));
        let place = free.min_by_key(|suspect| suspect.sum(window))?;
        let room = match place.sum(window) {
            0 => Room::Enough,
            _ => Room::Short,
        };
        *place = Suspect {
            network: Some(network),
            ..Suspect::default()
        };
        Some((place, room))
    }
}

#[derive(Default)]
struct Suspect {
    network: Option<Network>,
    /// A word of [`Halves`].
    counts: u64,
    refused_until: u64,
}

impl Suspect {
    fn is_refused(&self, now: u64) -> bool {
        now < self.refused_until
    }

    fn sum(&self, window: Window) -> u64 {
        Halves::read(self.counts).turned(window).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { after: 2, until: 100 };

    fn fail(refusals: &Refusals, network: u8, now: u64) -> Room {
        refusals.failed(0, Network::V4([network; 3]), Window::new(0), now, LIMIT)
    }

    fn refuses(refusals: &Refusals, network: u8, now: u64) -> bool {
        refusals.refuses(0, Network::V4([network; 3]), now)
    }

    #[test]
    fn a_full_set_refuses_whom_it_holds_and_nobody_else() {
        let refusals = Refusals::default();
        assert!(!refusals.any(0));
        for network in 0..8 {
            assert_eq!([0; 3].map(|_| fail(&refusals, network, 1)), [Room::Enough; 3]);
        }
        assert_eq!([0; 5].map(|_| fail(&refusals, 8, 2)), [Room::Short; 5]);
        assert!((0..8).all(|network| refuses(&refusals, network, 99)));
        assert!(!refuses(&refusals, 8, 99));
        assert!(refusals.any(99) && !refusals.any(100));
        // Who is no longer refused gives way.
        assert_eq!(fail(&refusals, 8, 100), Room::Short);
        assert_eq!(fail(&refusals, 8, 100), Room::Enough);
        assert!(!refuses(&refusals, 8, 99), "two failures");
        fail(&refusals, 8, 99);
        assert!(refuses(&refusals, 8, 99));
    }

    #[test]
    fn the_one_that_failed_least_gives_way_and_begins_again() {
        let refusals = Refusals::default();
        for network in [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7] {
            assert_eq!(fail(&refusals, network, 1), Room::Enough);
        }
        assert_eq!(fail(&refusals, 8, 1), Room::Short);
        assert_eq!(fail(&refusals, 1, 1), Room::Enough);
        assert!(refuses(&refusals, 1, 1), "it was not forgotten");
        assert_eq!(fail(&refusals, 0, 1), Room::Short);
        fail(&refusals, 0, 1);
        assert!(!refuses(&refusals, 0, 1), "it counts from one again");
    }
}
