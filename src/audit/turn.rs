//! The thread that writes the record: the only one that touches the file.
//!
//! One turn takes what has been queued, makes one batch of it and writes that with one system call; then whoever waited for
//! a line is told. While writing fails, lines that nobody waits for are kept up to a bound, waiting permits are refused, and
//! the write is tried again with growing pauses.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::batch::Batch;
use super::budget::Budget;
use super::file::{Found, RecordFile};
use super::output::{Output, Sink as _};
use super::record::{Audit, Record};
use super::recorder::{Entry, Rest, Shared, WriteFailed};
use super::writer::Tell;
use crate::config;
use crate::time::Utc;

/// Bytes after which a batch is written even if more is queued.
const BATCH_BYTES: usize = 256 * 1024;

/// Bytes of lines kept while writing fails. Beyond it they are dropped, and counted.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// After a batch this large the writer waits a moment for more: records that come in this time cost their core no system
/// call. After a smaller one nobody is made to wait.
const BUSY_BATCH: usize = 4;
const LINGER: Duration = Duration::from_micros(200);

/// How long a record that nobody waits for may wait for company.
const DOZE: Duration = Duration::from_millis(10);

/// Between two lines that sum up attempts beyond the budget.
const AGGREGATE_EVERY: Duration = Duration::from_secs(10);

/// Between tries while writing fails: the first pause, and the longest.
const RETRY_AFTER: Duration = Duration::from_millis(50);
const RETRY_AT_MOST: Duration = Duration::from_secs(1);

/// After a rotation that failed.
const ROTATE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Lets nobody in any more if the thread dies: cores that wait for it would wait for nothing.
struct HealthyWhileAlive(Arc<Shared>);

impl Drop for HealthyWhileAlive {
    fn drop(&mut self) {
        self.0.healthy.store(false, Ordering::Release);
    }
}

/// A time of failing writes.
struct Failure {
    since: Utc,
    error: String,
    refused_before: u64,
    retry_at: Instant,
    pause: Duration,
}

/// The thread's own state.
pub(super) struct Turn {
    shared: Arc<Shared>,
    settings: config::Audit,
    tell: Tell,
    output: Output<RecordFile>,
    batch: Batch,
    strangers_budget: Budget,
    failure: Option<Failure>,
    /// When it was last seen that nothing had been dropped.
    nothing_dropped: Utc,
    aggregated_until: (Utc, Instant),
    rotate_not_before: Instant,
    /// Lines of the last batch.
    last_batch: usize,
}

impl Turn {
    pub fn new(shared: Arc<Shared>, settings: config::Audit, tell: Tell, file: RecordFile, found: Found) -> Self {
        let (utc, now) = (utc_now(), Instant::now());
        let synced = settings.durability == config::Durability::Synced;
        let mut turn = Self {
            shared,
            strangers_budget: Budget::new(settings.pre_proof_bytes_per_second, now),
            settings,
            tell,
            output: Output::new(file, found.length, found.torn > 0, synced),
            batch: Batch::default(),
            failure: None,
            nothing_dropped: utc,
            aggregated_until: (utc, now),
            rotate_not_before: now,
            last_batch: 0,
        };
        turn.tell_torn_tail(found);
        turn
    }

    /// Runs until it is stopped. Returns how many lines are left unwritten.
    pub fn run(mut self) -> usize {
        let _healthy = HealthyWhileAlive(Arc::clone(&self.shared));
        self.shared.writer_is(std::thread::current());
        loop {
            // Read before the queues are: what was queued before `finish` was called is written.
            let stopping = self.shared.stopping.load(Ordering::SeqCst);
            let now = Instant::now();
            let more = self.collect(now);
            self.add_own_lines(now, stopping);
            self.rotate_or_reopen(now);
            if self.should_write(now) || stopping {
                self.write();
            }
            match (stopping, more) {
                (true, false) => return self.wind_up(),
                (_, true) => {}
                (false, false) => self.rest(now),
            }
        }
    }

    /// Takes queued records into the batch. Returns whether there may be more.
    fn collect(&mut self, now: Instant) -> bool {
        let shared = Arc::clone(&self.shared);
        // No more than a queue full, so that producers cannot keep the writer from writing.
        for _ in 0..shared.main.capacity() {
            if self.failure.is_none() && self.batch.bytes().len() >= BATCH_BYTES {
                return true;
            }
            match shared.main.pop() {
                Some(entry) => self.take(entry),
                None => break,
            }
        }
        self.collect_strangers(now);
        false
    }

    fn take(&mut self, entry: Entry) {
        match (entry.ticket, self.failure.is_some()) {
            (Some(ticket), true) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                (self.tell)(ticket, Err(WriteFailed));
            }
            (None, true) if self.batch.bytes().len() >= KEPT_BYTES => self.shared.drop_one(&entry.record),
            (ticket, _) => {
                self.batch.push(&entry.record, ticket);
            }
        }
    }

    fn collect_strangers(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let room = match self.failure {
            Some(_) => KEPT_BYTES / 2,
            None => 2 * BATCH_BYTES,
        };
        for _ in 0..shared.strangers.capacity() {
            let Some(entry) = shared.strangers.pop() else { break };
            if self.batch.bytes().len() < room && self.strangers_budget.allows(now) {
                let bytes = self.batch.push(&entry.record, None);
                self.strangers_budget.spend(bytes);
            } else {
                shared.drop_one(&entry.record);
            }
        }
    }

    /// Lines that the writer itself has to say.
    fn add_own_lines(&mut self, now: Instant, at_once: bool) {
        let at = utc_now();
        if at_once || now.saturating_duration_since(self.aggregated_until.1) >= AGGREGATE_EVERY {
            let counts = self.shared.take_aggregates();
            if !counts.is_empty() {
                self.say(Audit::AttemptsAggregated {
                    at,
                    since: self.aggregated_until.0,
                    counts,
                });
            }
            self.aggregated_until = (at, now);
        }
        if self.failure.is_none() {
            let counts = self.shared.take_dropped();
            if counts.total() > 0 {
                self.say(Audit::Dropped {
                    at,
                    since: self.nothing_dropped,
                    counts,
                });
            }
            self.nothing_dropped = at;
        }
    }

    fn should_write(&self, now: Instant) -> bool {
        match &self.failure {
            Some(failure) => now >= failure.retry_at,
            None => !self.batch.is_empty(),
        }
    }

    fn write(&mut self) {
        if let Some(failure) = &self.failure {
            // The line that tells of the failure is what is tried with, so a try is possible with nothing else to write.
            let refused = self.shared.refused.load(Ordering::Relaxed) - failure.refused_before;
            let (since, error) = (failure.since, failure.error.clone());
            self.say(Audit::Resumed {
                at: utc_now(),
                since,
                error,
                refused,
            });
        }
        if self.batch.is_empty() {
            return;
        }
        let refused_before = self.shared.refused.load(Ordering::Relaxed);
        let appended = self.output.append(self.batch.bytes());
        // Before the tickets: a core that is told of a failure must not find the record healthy.
        self.shared.healthy.store(appended.error.is_none(), Ordering::Release);
        let settled = self.batch.settle(appended.written, |ticket, result| {
            self.shared
                .refused
                .fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
            (self.tell)(ticket, result);
        });
        self.last_batch = settled;
        self.shared.records.fetch_add(settled as u64, Ordering::Relaxed);
        self.shared.bytes.fetch_add(appended.written as u64, Ordering::Relaxed);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        match appended.error {
            Some(error) => self.failed(&error, refused_before),
            None => self.worked(),
        }
    }

    fn failed(&mut self, error: &std::io::Error, refused_before: u64) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        match &mut self.failure {
            Some(failure) => {
                self.batch.pop();
                failure.pause = (failure.pause * 2).min(RETRY_AT_MOST);
                failure.retry_at = now + failure.pause;
            }
            None => {
                tracing::error!(file = %self.settings.file.display(), %error, "the record cannot be written");
                self.failure = Some(Failure {
                    since: utc_now(),
                    error: error.to_string(),
                    refused_before,
                    retry_at: now + RETRY_AFTER,
                    pause: RETRY_AFTER,
                });
            }
        }
    }

    fn worked(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!(file = %self.settings.file.display(), "the record is written again");
        }
    }

    fn rotate_or_reopen(&mut self, now: Instant) {
        if self.shared.reopen.swap(false, Ordering::AcqRel) {
            self.reopen();
        }
        // Only for a line that needs the room: an idle gate renames nothing, and no file stays empty.
        let (length, waiting) = (self.output.length(), self.batch.bytes().len() as u64);
        let full = length > 0 && waiting > 0 && length + waiting > self.settings.rotate_size;
        if full && self.output.sink.is_regular() && now >= self.rotate_not_before {
            self.rotate(now);
        }
    }

    /// Goes on in the file that has the name now, unless it is the same. What was accepted before goes to the old one.
    fn reopen(&mut self) {
        self.write();
        if !self.output.sink.is_in_place() {
            self.open_anew();
        }
    }

    fn rotate(&mut self, now: Instant) {
        if !self.output.sink.is_in_place() {
            self.open_anew();
            return;
        }
        match self.output.sink.rename_away(self.settings.keep) {
            Ok(rotation) if self.open_anew() => {
                let deleted = rotation.deleted.as_ref().map(|path| file_name(path));
                self.say(Audit::Rotated {
                    at: utc_now(),
                    previous: file_name(&rotation.previous),
                    deleted,
                });
            }
            Ok(_) => {}
            Err(error) => {
                self.rotate_not_before = now + ROTATE_AGAIN_AFTER;
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(file = %self.settings.file.display(), %error, "the record cannot be rotated");
            }
        }
    }

    /// Opens the file by its name. Where that fails, the open one serves on, whatever its name is by now.
    fn open_anew(&mut self) -> bool {
        let synced = self.settings.durability == config::Durability::Synced;
        match RecordFile::open(&self.settings.file, synced) {
            Ok((file, found)) => {
                let old = std::mem::replace(
                    &mut self.output,
                    Output::new(file, found.length, found.torn > 0, synced),
                );
                self.close(old);
                self.tell_torn_tail(found);
                if let Some(failure) = &mut self.failure {
                    failure.retry_at = Instant::now();
                }
                true
            }
            Err(error) => {
                self.rotate_not_before = Instant::now() + ROTATE_AGAIN_AFTER;
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the record stays in the file that is open");
                false
            }
        }
    }

    fn close(&self, mut old: Output<RecordFile>) {
        if let Err(error) = old.sink.sync() {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(file = %self.settings.file.display(), %error, "the record's last file cannot be synced");
        }
    }

    /// Right behind the torn line, whatever else waits to be written.
    fn tell_torn_tail(&mut self, found: Found) {
        if found.torn > 0 {
            let (at, bytes) = (utc_now(), found.torn);
            let torn = Audit::TornTail { at, bytes };
            self.batch.push_first(&Record::Audit(Box::new(torn)));
        }
    }

    fn say(&mut self, audit: Audit) {
        self.batch.push(&Record::Audit(Box::new(audit)), None);
    }

    /// Waits for something to do: first a little, then dozing, then asleep.
    fn rest(&mut self, now: Instant) {
        if std::mem::take(&mut self.last_batch) >= BUSY_BATCH {
            std::thread::sleep(LINGER);
        }
        self.shared.rest_unless(|| self.shared.has_work(), Rest::Dozing, DOZE);
        if self.shared.has_work() {
            return;
        }
        let until_aggregate = AGGREGATE_EVERY.saturating_sub(now.saturating_duration_since(self.aggregated_until.1));
        let until_retry = self
            .failure
            .as_ref()
            .map(|failure| failure.retry_at.saturating_duration_since(Instant::now()));
        let longest = until_retry.unwrap_or(until_aggregate).min(until_aggregate);
        self.shared
            .rest_unless(|| self.shared.has_work(), Rest::Asleep, longest);
    }

    /// The last writes: one more try where writing failed, then a sync.
    fn wind_up(mut self) -> usize {
        if !self.batch.is_empty() {
            std::thread::sleep(RETRY_AFTER);
            self.write();
        }
        if let Err(error) = self.output.sink.sync() {
            tracing::error!(file = %self.settings.file.display(), %error, "the record cannot be synced");
        }
        self.batch.lines()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn utc_now() -> Utc {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Utc(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
