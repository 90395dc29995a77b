//! Long work of control that must not be felt on the cores.
//!
//! Each piece of work has a thread of its own, since an unprivileged process cannot take a lowered priority back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Builder};
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy, set_current_thread_priority,
    set_thread_priority_and_policy, thread_native_id,
};

/// How long work may take that gets only what nobody else wants; then it is begun once more at [`Priority::Low`].
const PATIENCE: Duration = Duration::from_secs(5);

/// A nice value of 9 in the crate's own scale.
const NICE_9: u8 = 25;

#[derive(Debug, Clone, Copy)]
enum Priority {
    /// SCHED_IDLE (sched(7)): whoever wakes up has the CPU at once. On a machine that is driven to its end it may get next to
    /// nothing.
    Idle,
    /// A tenth of a core's weight where both want the same CPU.
    Low,
}

/// Does the work where it is not felt, and waits for it. Only for what takes long anyhow. `work` may be begun twice, and the
/// second outcome is dropped.
pub fn unnoticed<T: Send + 'static>(work: impl Fn() -> T + Send + Sync + 'static) -> T {
    /// Work that was begun twice and whose first thread has not ended yet: it holds memory, so there is one at most.
    static STRAGGLER: AtomicBool = AtomicBool::new(false);
    raced(PATIENCE, &STRAGGLER, work)
}

/// Drops something large at low priority, and waits for it. Not at the lowest: the kernel holds a lock of the whole address
/// space for a part of it.
pub fn drop_slowly<T: Send>(large: T) {
    thread::scope(|scope| {
        scope.spawn(|| {
            Priority::Low.take();
            drop(large);
        });
    });
}

fn raced<T: Send + 'static>(
    patience: Duration,
    straggler: &'static AtomicBool,
    work: impl Fn() -> T + Send + Sync + 'static,
) -> T {
    let work = Arc::new(work);
    let (sender, outcome) = channel();
    if let Some(place) = Place::take(straggler) {
        begin(Priority::Idle, &work, &sender, Some(place));
        if let Ok(done) = outcome.recv_timeout(patience) {
            return done;
        }
    }
    begin(Priority::Low, &work, &sender, None);
    drop(sender);
    // Nobody sends where there was no thread or the work panicked: then it is done here, and the panic is the caller's.
    outcome.recv().unwrap_or_else(|_| work())
}

fn begin<T: Send + 'static>(
    priority: Priority,
    work: &Arc<impl Fn() -> T + Send + Sync + 'static>,
    sender: &Sender<T>,
    place: Option<Place>,
) {
    let (work, sender) = (work.clone(), sender.clone());
    let run = move || {
        let _until_the_end = place;
        priority.take();
        // Whoever waited may have had its answer from another thread.
        let _late = sender.send(work());
    };
    if let Err(error) = Builder::new().name("postern-load".to_owned()).spawn(run) {
        tracing::warn!(%error, "no thread for work in the background");
    }
}

/// The one place of a straggler, given back when it is dropped.
struct Place(&'static AtomicBool);

impl Place {
    fn take(taken: &'static AtomicBool) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then_some(Self(taken))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Priority {
    /// Gives it to the current thread.
    fn take(self) {
        let taken = match self {
            Self::Idle => {
                let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
                set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)
                    .map_err(|error| error.to_string())
            }
            Self::Low => ThreadPriorityValue::try_from(NICE_9).and_then(|value| {
                set_current_thread_priority(ThreadPriority::Crossplatform(value)).map_err(|error| error.to_string())
            }),
        };
        if let Err(error) = taken {
            tracing::warn!(error, priority = ?self, "no lower priority: the cores may feel it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::{Barrier, Mutex, PoisonError};
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SCHED_IDLE: i32 = 5;

    /// Nice value and scheduling policy of the current thread: fields 19 and 41 of /proc/thread-self/stat (proc(5)).
    fn scheduling() -> (i32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[16].parse().unwrap(), fields[38].parse().unwrap())
    }

    #[test]
    fn the_work_gives_way_and_its_caller_does_not() {
        static STRAGGLER: AtomicBool = AtomicBool::new(false);
        let before = scheduling();
        for _ in 0..2 {
            assert_eq!(raced(LONG, &STRAGGLER, scheduling).1, SCHED_IDLE);
            while STRAGGLER.load(Ordering::Acquire) {
                thread::yield_now();
            }
        }
        assert_eq!(scheduling(), before);
    }

    /// The first thread gets no CPU, here for want of a barrier; it is begun again, and while the first one is still there the
    /// next work does not wait for its patience.
    #[test]
    fn work_that_gets_no_cpu_is_begun_again_and_leaves_one_straggler() {
        static STRAGGLER: AtomicBool = AtomicBool::new(false);
        let (gate, begun) = (Arc::new(Barrier::new(2)), AtomicU32::new(0));
        let held = gate.clone();
        let (nice, _) = raced(Duration::from_millis(50), &STRAGGLER, move || {
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                held.wait();
            }
            scheduling()
        });
        assert!(nice > 0, "{nice}");

        let asked = Instant::now();
        let (nice, policy) = raced(LONG, &STRAGGLER, scheduling);
        assert!(
            nice > 0 && policy != SCHED_IDLE && asked.elapsed() < LONG,
            "{nice} {policy}"
        );

        gate.wait();
        while STRAGGLER.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert_eq!(raced(LONG, &STRAGGLER, scheduling).1, SCHED_IDLE);
    }

    #[test]
    fn a_panic_is_the_callers() {
        static STRAGGLER: AtomicBool = AtomicBool::new(false);
        let raced = || raced(Duration::from_millis(50), &STRAGGLER, || -> u8 { panic!("as asked") });
        assert!(std::panic::catch_unwind(raced).is_err());
        assert!(!STRAGGLER.load(Ordering::Acquire));
    }

    #[test]
    fn what_is_large_is_dropped_at_low_priority_before_the_call_ends() {
        static SEEN: Mutex<Option<(i32, i32)>> = Mutex::new(None);
        struct Large;
        impl Drop for Large {
            fn drop(&mut self) {
                *SEEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheduling());
            }
        }
        drop_slowly(Large);
        let (nice, policy) = SEEN.lock().unwrap().unwrap();
        assert!(nice > 0 && policy != SCHED_IDLE, "{nice} {policy}");
    }
}
