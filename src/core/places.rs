//! How many sessions each core holds, and which core gets the next one.
//!
//! The accepting core reserves a place on the least loaded core before it hands the socket over, so eight connections
//! on two cores end as four and four whichever ring accepted them. Counters are padded: cores share no cache line.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of places taken on every core.
#[derive(Debug)]
pub struct Places {
    cores: Box<[Taken]>,
    per_core: u32,
}

/// A place that has been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub core: usize,
    /// Beyond the places for sessions: there only to be told, in order, that there is no room.
    pub over: bool,
}

/// Places per core for connections that are told that there is no room.
pub const SPARE: u32 = 64;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Taken(AtomicU32);

impl Places {
    pub fn new(cores: usize, per_core: u32) -> Self {
        Self {
            cores: (0..cores).map(|_| Taken::default()).collect(),
            per_core,
        }
    }

    /// Takes a place on the least loaded core; `None` when even the spare ones are taken.
    pub fn reserve(&self) -> Option<Place> {
        loop {
            let (core, taken) = self.least_loaded();
            if taken >= self.per_core + SPARE {
                return None;
            }
            let count = &self.cores.get(core)?.0;
            if count
                .compare_exchange(taken, taken + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Some(Place {
                    core,
                    over: taken >= self.per_core,
                });
            }
        }
    }

    /// Gives a place of `core` back.
    pub fn release(&self, core: usize) {
        if let Some(count) = self.cores.get(core) {
            let before = count.0.fetch_sub(1, Ordering::AcqRel);
            debug_assert!(before > 0, "a place was given back twice");
        }
    }

    pub fn taken(&self, core: usize) -> u32 {
        self.cores.get(core).map_or(0, |count| count.0.load(Ordering::Relaxed))
    }

    fn least_loaded(&self) -> (usize, u32) {
        let mut best = (0, u32::MAX);
        for (core, taken) in self.cores.iter().enumerate() {
            let taken = taken.0.load(Ordering::Acquire);
            if taken < best.1 {
                best = (core, taken);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_spread_evenly_and_run_out() {
        let places = Places::new(3, 2);
        let taken: Vec<_> = std::iter::from_fn(|| places.reserve()).collect();
        let cores: Vec<_> = taken.iter().take(6).map(|place| place.core).collect();
        assert_eq!(cores, [0, 1, 2, 0, 1, 2]);
        assert!(taken.iter().take(6).all(|place| !place.over));
        assert!(taken.iter().skip(6).all(|place| place.over));
        assert_eq!(taken.len(), 3 * (2 + SPARE as usize));
        for core in [1; SPARE as usize + 1] {
            places.release(core);
        }
        assert_eq!(places.reserve(), Some(Place { core: 1, over: false }));
    }

    #[test]
    fn racing_cores_never_overbook() {
        let places = Places::new(2, 500);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while places.reserve().is_some() {});
            }
        });
        assert_eq!((places.taken(0), places.taken(1)), (500 + SPARE, 500 + SPARE));
    }
}
