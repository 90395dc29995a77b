//! Latencies of all cores, gathered when somebody looks.
//!
//! A core is sent an empty set, swaps it in, and sends the filled one back through [`Requests`](super::messages::Requests).
//! The merge happens on a worker of control. A core that does not answer is not asked again until it has, and its figures
//! are missing from that look only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::messages::{Cores, Notice};
use crate::metrics::Latencies;

/// What was gathered since the start, and the sets that are not with a core now.
pub struct LatencyTotals {
    total: Mutex<Latencies>,
    spare: Mutex<Vec<Box<Latencies>>>,
    /// By core: whether a set is out there.
    asked: Box<[AtomicBool]>,
}

impl LatencyTotals {
    pub fn new(cores: u16) -> Self {
        Self {
            total: Mutex::default(),
            spare: Mutex::default(),
            asked: (0..cores).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Asks every core that has no request open. Never waits.
    pub fn ask(&self, cores: &Cores) {
        for (core, asked) in (0u16..).zip(&self.asked) {
            if asked.swap(true, Ordering::AcqRel) {
                continue;
            }
            let empty = lock(&self.spare).pop().unwrap_or_default();
            if !cores.try_tell(core, Notice::ExchangeLatencies(empty)) {
                asked.store(false, Ordering::Release);
            }
        }
    }

    /// Whether every core has answered.
    pub fn complete(&self) -> bool {
        self.asked.iter().all(|asked| !asked.load(Ordering::Acquire))
    }

    /// Adds what a core sent back.
    pub fn merge(&self, core: u16, mut filled: Box<Latencies>) {
        lock(&self.total).add(&filled);
        filled.clear();
        lock(&self.spare).push(filled);
        if let Some(asked) = self.asked.get(usize::from(core)) {
            asked.store(false, Ordering::Release);
        }
    }

    /// Shows the totals to `look`.
    pub fn with<R>(&self, look: impl FnOnce(&Latencies) -> R) -> R {
        look(&lock(&self.total))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::metrics::Stage;

    #[test]
    fn a_silent_core_is_asked_once_and_does_not_hold_up_the_others() {
        let (sender, notices) = channel();
        let cores = Cores::new(
            2,
            Box::new(move |core, notice| sender.send((core, notice)).map_err(|error| error.0.1)),
        );
        let totals = LatencyTotals::new(2);
        totals.ask(&cores);
        totals.ask(&cores);
        let mut asked: Vec<_> = notices.try_iter().collect();
        assert_eq!(asked.len(), 2);
        let Notice::ExchangeLatencies(mut set) = asked.remove(1).1 else {
            panic!("an empty set expected")
        };
        set.record(Stage::Decision, 500);
        totals.merge(1, set);
        assert!(!totals.complete());
        assert_eq!(
            totals.with(|all| all.stage(Stage::Decision).map(|stage| stage.len())),
            Some(1)
        );
        totals.ask(&cores);
        assert_eq!(notices.try_iter().map(|(core, _)| core).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_full_inbox_is_tried_again_at_the_next_look() {
        let cores = Cores::new(1, Box::new(|_, notice| Err(notice)));
        let totals = LatencyTotals::new(1);
        totals.ask(&cores);
        assert!(totals.complete(), "nothing is out there");
    }
}
