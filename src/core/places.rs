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

    /// Takes a place on the least loaded core and names that core; `None` when every core is full.
    pub fn reserve(&self) -> Option<usize> {
        loop {
            let (core, taken) = self.least_loaded();
            if taken >= self.per_core {
                return None;
            }
            let count = &self.cores[core].0;
            if count
                .compare_exchange(taken, taken + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Some(core);
            }
        }
    }

    /// Gives a place of `core` back.
    pub fn release(&self, core: usize) {
        let before = self.cores[core].0.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a place was given back twice");
    }

    pub fn taken(&self, core: usize) -> u32 {
        self.cores[core].0.load(Ordering::Relaxed)
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
        assert_eq!(taken, [0, 1, 2, 0, 1, 2]);
        places.release(1);
        assert_eq!(places.reserve(), Some(1));
        assert_eq!(places.reserve(), None);
    }

    #[test]
    fn racing_cores_never_overbook() {
        let places = Places::new(2, 500);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while places.reserve().is_some() {});
            }
        });
        assert_eq!((places.taken(0), places.taken(1)), (500, 500));
    }
}
