//! Latencies of all cores, gathered when somebody looks.
//!
//! A core is sent an empty set, swaps it in, and sends the filled one back through [`Requests`](super::messages::Requests).
//! The merge happens on a worker of control. The figures of a core that does not answer are missing from that look only;
//! it is asked again after a few more, since its answer may have been lost to a full queue.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::messages::{Cores, Notice};
use crate::metrics::Latencies;

/// What was gathered since the start, and the sets that are not with a core now.
pub struct LatencyTotals {
    total: Mutex<Latencies>,
    #[expect(clippy::vec_box, reason = "they travel to cores as boxes")]
    spare: Mutex<Vec<Box<Latencies>>>,
    /// By core: looks since a set went out there that has not come back; zero with none out there.
    unanswered: Box<[AtomicU32]>,
}

/// Looks after which an answer counts as lost.
const LOST_AFTER: u32 = 5;

impl LatencyTotals {
    pub fn new(cores: u16) -> Self {
        Self {
            total: Mutex::default(),
            spare: Mutex::default(),
            unanswered: (0..cores).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Asks every core that has no request open. Never waits.
    pub fn ask(&self, cores: &Cores) {
        for (core, unanswered) in (0u16..).zip(&self.unanswered) {
            let looks = unanswered.load(Ordering::Acquire);
            if (1..LOST_AFTER).contains(&looks) {
                unanswered.store(looks + 1, Ordering::Release);
                continue;
            }
            unanswered.store(1, Ordering::Release);
            let empty = lock(&self.spare).pop().unwrap_or_default();
            if !cores.try_tell(core, Notice::ExchangeLatencies(empty)) {
                unanswered.store(0, Ordering::Release);
            }
        }
    }

    /// Whether every core has answered.
    pub fn complete(&self) -> bool {
        self.unanswered.iter().all(|looks| looks.load(Ordering::Acquire) == 0)
    }

    /// Adds what a core sent back.
    pub fn merge(&self, core: u16, mut filled: Box<Latencies>) {
        lock(&self.total).add(&filled);
        filled.clear();
        lock(&self.spare).push(filled);
        if let Some(unanswered) = self.unanswered.get(usize::from(core)) {
            unanswered.store(0, Ordering::Release);
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
        for _ in 0..LOST_AFTER {
            totals.ask(&cores);
        }
        assert!(
            notices.try_iter().any(|(core, _)| core == 0),
            "an answer can be lost, a core is not"
        );
    }

    #[test]
    fn a_full_inbox_is_tried_again_at_the_next_look() {
        let cores = Cores::new(1, Box::new(|_, notice| Err(notice)));
        let totals = LatencyTotals::new(1);
        totals.ask(&cores);
        assert!(totals.complete(), "nothing is out there");
    }
}
