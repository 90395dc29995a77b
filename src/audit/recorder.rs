//! The handle that cores and control hold. Nothing in it blocks, and a record costs a core no system call while the writer
//! is awake.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;

use super::reason::{Outcome, Reason};
use super::record::{Attempt, Dropped, Record};

/// Whom to tell that a permit's record has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub core: u16,
    /// The core's own name for the session (slot and generation). The writer only hands it back.
    pub session: u64,
}

/// When the answer to a ticket comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Telling {
    /// The writer will tell, exactly once.
    Later,
    /// Go on at once: the record is not waited for (`on_failure = "drop"`). The writer will not tell.
    Now,
}

/// The permit's record cannot be written: deny the attempt as `audit_unavailable`. Only with `on_failure = "deny"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditUnavailable {
    #[error("the record's writer cannot write")]
    WriterFailing,
    #[error("the record's queue is full")]
    QueueFull,
}

/// What a ticket is told when its record did not reach the file. The line is not there and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record was not written")]
pub struct WriteFailed;

/// Figures of the record for metrics. Totals since start, except `queued` and `healthy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub records: u64,
    pub bytes: u64,
    pub batches: u64,
    /// Times that a core woke the writer, a system call each.
    pub wakes: u64,
    /// Records lost.
    pub dropped: u64,
    /// Attempts counted in an aggregate instead of a line of their own.
    pub aggregated: u64,
    /// Permits refused or taken back because they could not be recorded.
    pub refused: u64,
    /// Writes, syncs, renames and opens that failed.
    pub failures: u64,
    pub queued: u64,
    pub healthy: bool,
}

/// A handle to the record; clones share everything.
#[derive(Clone)]
pub struct Recorder {
    pub(super) shared: Arc<Shared>,
}

impl Recorder {
    /// Takes a record. Never fails and never blocks: a refused or abandoned attempt that finds no place is counted in an
    /// aggregate, anything else that finds none is counted as dropped.
    ///
    /// A permitted attempt goes through [`Self::record_and_tell`] instead; here it would be let in unrecorded.
    pub fn record(&self, record: Record) {
        match record {
            Record::Attempt(attempt) => self.record_attempt(attempt),
            Record::End(_) => self.push_or_drop(record, &self.shared.dropped_ends),
            Record::Policy(_) | Record::Process(_) | Record::Audit(_) => {
                self.push_or_drop(record, &self.shared.dropped_others);
            }
        }
    }

    /// Takes the record of a permitted attempt, and says when the session may go on.
    ///
    /// # Errors
    /// With `on_failure = "deny"`, where the record could not be written now. The attempt is not recorded by this: deny it,
    /// and record that.
    pub fn record_and_tell(&self, attempt: Box<Attempt>, ticket: Ticket) -> Result<Telling, AuditUnavailable> {
        let shared = &*self.shared;
        if shared.may_drop {
            self.push_or_drop(Record::Attempt(attempt), &shared.dropped_permits);
            return Ok(Telling::Now);
        }
        if !self.healthy() {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(AuditUnavailable::WriterFailing);
        }
        let entry = Entry {
            record: Record::Attempt(attempt),
            ticket: Some(ticket),
        };
        if shared.main.len() >= shared.room_for_permits() || shared.main.push(entry).is_err() {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(AuditUnavailable::QueueFull);
        }
        shared.wake();
        Ok(Telling::Later)
    }

    /// False from a failed write until one works again.
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Acquire)
    }

    /// Opens the file by its name again, after somebody renamed it (SIGHUP). What was accepted before goes to the old one.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.shared.wake();
    }

    pub fn figures(&self) -> Figures {
        let shared = &*self.shared;
        let dropped = [&shared.dropped_permits, &shared.dropped_ends, &shared.dropped_others];
        Figures {
            records: shared.records.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            batches: shared.batches.load(Ordering::Relaxed),
            wakes: shared.wakes.load(Ordering::Relaxed),
            dropped: dropped.iter().map(|count| count.total()).sum(),
            aggregated: shared.aggregated.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
            queued: (shared.main.len() + shared.strangers.len()) as u64,
            healthy: self.healthy(),
        }
    }

    fn record_attempt(&self, attempt: Box<Attempt>) {
        let shared = &*self.shared;
        let (outcome, reason) = (attempt.outcome, attempt.reason);
        let stranger = attempt.is_before_proof();
        let record = Record::Attempt(attempt);
        if outcome == Outcome::Permitted {
            return self.push_or_drop(record, &shared.dropped_permits);
        }
        let entry = Entry { record, ticket: None };
        let taken = match stranger {
            true => shared.strangers.push(entry).is_ok(),
            // Proven clients that are denied may not take the places of permits and ends.
            false => shared.main.len() < shared.room_for_denials() && shared.main.push(entry).is_ok(),
        };
        match taken {
            true => shared.nudge(),
            false => shared.aggregate(outcome, reason),
        }
    }

    fn push_or_drop(&self, record: Record, dropped: &DropCount) {
        match self.shared.main.push(Entry { record, ticket: None }) {
            Ok(()) => self.shared.nudge(),
            Err(_) => dropped.add(1),
        }
    }
}

pub(super) struct Entry {
    pub record: Record,
    pub ticket: Option<Ticket>,
}

/// How deep the writer rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Rest {
    Awake = 0,
    /// For a moment: only what somebody waits for wakes it.
    Dozing = 1,
    /// Until there is something to do.
    Asleep = 2,
}

/// What handle and writer share.
pub(super) struct Shared {
    /// Permits, ends, and whatever no stranger can cause. In order for each producer, so an end follows its permit.
    pub main: ArrayQueue<Entry>,
    /// Attempts from before a proof: a flood of them fills this queue and no other.
    pub strangers: ArrayQueue<Entry>,
    /// `on_failure = "drop"`.
    pub may_drop: bool,
    pub healthy: AtomicBool,
    pub reopen: AtomicBool,
    pub stopping: AtomicBool,
    /// A [`Rest`]; set by the writer before it parks. Whoever sets it back wakes it.
    rest: AtomicU8,
    writer: OnceLock<Thread>,
    pub dropped_permits: DropCount,
    pub dropped_ends: DropCount,
    pub dropped_others: DropCount,
    aggregates: Box<[AtomicU64]>,
    pub aggregated: AtomicU64,
    pub refused: AtomicU64,
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub batches: AtomicU64,
    wakes: AtomicU64,
    pub failures: AtomicU64,
}

impl Shared {
    /// `queue`: places for records; strangers get an eighth as many of their own.
    pub fn new(queue: usize, may_drop: bool) -> Self {
        Self {
            main: ArrayQueue::new(queue.max(8)),
            strangers: ArrayQueue::new((queue / 8).max(8)),
            may_drop,
            healthy: AtomicBool::new(true),
            reopen: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            rest: AtomicU8::new(Rest::Awake as u8),
            writer: OnceLock::new(),
            dropped_permits: DropCount::default(),
            dropped_ends: DropCount::default(),
            dropped_others: DropCount::default(),
            aggregates: (0..Outcome::ALL.len() * Reason::ALL.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
            aggregated: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Called once, by the writer's own thread.
    pub fn writer_is(&self, thread: Thread) {
        self.writer.get_or_init(|| thread);
    }

    /// Wakes the writer, since somebody waits. The system call happens only if it rests, and for one of any number of callers.
    pub fn wake(&self) {
        self.wake_from(Rest::Dozing);
    }

    /// There is a record that nobody waits for: the writer finds it once its doze is over, and is woken only from sleep.
    pub fn nudge(&self) {
        self.wake_from(Rest::Asleep);
    }

    fn wake_from(&self, lightest: Rest) {
        // Pairs with the fence in `rest_unless`: either we see that it rests, or it sees what we have pushed.
        fence(Ordering::SeqCst);
        if self.rest.load(Ordering::Relaxed) >= lightest as u8
            && self.rest.swap(Rest::Awake as u8, Ordering::AcqRel) != Rest::Awake as u8
            && let Some(writer) = self.writer.get()
        {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            writer.unpark();
        }
    }

    /// Parks the calling thread (the writer) for at most `longest`, unless there is something for it to do.
    pub fn rest_unless(&self, something_to_do: impl FnOnce() -> bool, rest: Rest, longest: std::time::Duration) {
        self.rest.store(rest as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !something_to_do() {
            std::thread::park_timeout(longest);
        }
        self.rest.store(Rest::Awake as u8, Ordering::Relaxed);
    }

    /// Whether the writer would find something to do.
    pub fn has_work(&self) -> bool {
        !self.main.is_empty()
            || !self.strangers.is_empty()
            || self.reopen.load(Ordering::Acquire)
            || self.stopping.load(Ordering::Acquire)
    }

    /// Counts a record that the writer has no place for. Attempts that were not let in are aggregated instead.
    pub fn drop_one(&self, record: &Record) {
        match record {
            Record::Attempt(attempt) if attempt.outcome == Outcome::Permitted => self.dropped_permits.add(1),
            Record::Attempt(attempt) => self.aggregate(attempt.outcome, attempt.reason),
            Record::End(_) => self.dropped_ends.add(1),
            Record::Policy(_) | Record::Process(_) | Record::Audit(_) => self.dropped_others.add(1),
        }
    }

    pub fn aggregate(&self, outcome: Outcome, reason: Reason) {
        if let Some(count) = self
            .aggregates
            .get(outcome.index() * Reason::ALL.len() + reason.index())
        {
            count.fetch_add(1, Ordering::Relaxed);
            self.aggregated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what has been aggregated since the last call.
    pub fn take_aggregates(&self) -> Vec<(Outcome, Reason, u64)> {
        let kinds = Outcome::ALL
            .iter()
            .flat_map(|outcome| Reason::ALL.iter().map(move |reason| (*outcome, *reason)));
        let taken = self.aggregates.iter().map(|count| count.swap(0, Ordering::Relaxed));
        kinds
            .zip(taken)
            .filter(|(_, count)| *count > 0)
            .map(|((outcome, reason), count)| (outcome, reason, count))
            .collect()
    }

    /// Takes what has been dropped since the last call.
    pub fn take_dropped(&self) -> Dropped {
        Dropped {
            permits: self.dropped_permits.take(),
            ends: self.dropped_ends.take(),
            others: self.dropped_others.take(),
        }
    }

    fn room_for_permits(&self) -> usize {
        self.main.capacity() / 4 * 3
    }

    fn room_for_denials(&self) -> usize {
        self.main.capacity() / 2
    }
}

/// Records lost: in all, and since they were last told.
#[derive(Default)]
pub(super) struct DropCount {
    total: AtomicU64,
    untold: AtomicU64,
}

impl DropCount {
    pub fn add(&self, count: u64) {
        self.total.fetch_add(count, Ordering::Relaxed);
        self.untold.fetch_add(count, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn take(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }
}
