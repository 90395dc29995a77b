//! The loop of one core: a turn of the ring, every completion to its connection, then what all of them want sent.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::audit::{ServerAddress, SessionIds};
use crate::identity::certificate;
use crate::identity::token::cache::Cache;
use crate::in_force::InForce;
use crate::inbox::Inbox;
use crate::metrics::{CoreMetrics, Latencies};
use crate::ring::{Completion, Group, Outcome, Ring, Segment, Slot, Tag, TurnError};
use crate::time::{Mono, Utc};

use super::destinations::Destinations;
use super::errand::Errand;
use super::interned::Interned;
use super::lanes::Lanes;
use super::line::{Queue, Side};
use super::shared::Shared;
use super::table::Table;
use super::timers::Timers;

/// The policy in force as this core last saw it.
pub(super) type PolicyCache = arc_swap::Cache<Arc<ArcSwap<InForce>>, Arc<InForce>>;

/// One core. Lives and dies on its thread.
pub struct Core {
    pub(super) id: u16,
    pub(super) ring: Ring,
    pub(super) table: Table,
    pub(super) timers: Timers,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) policy: PolicyCache,
    pub(super) ids: SessionIds,
    /// Read once per turn: good enough for deadlines, and relaying a message reads no clock.
    pub(super) now: Mono,
    pub(super) utc: Utc,
    /// Lines that got something to send in this turn.
    pub(super) flush: Vec<(u32, Side)>,
    /// Lines whose receive found no buffer.
    pub(super) starved: Vec<(u32, Side)>,
    #[expect(
        clippy::vec_box,
        reason = "lent to lines as boxes, so that lending moves eight bytes"
    )]
    pub(super) queues: Vec<Box<Queue>>,
    pub(super) opened: Vec<Segment>,
    /// The next connection to look at again; `None` when every one has been.
    pub(super) recheck: Option<u32>,
    /// It is for a policy that they are looked at.
    pub(super) adopting: bool,
    pub(super) latencies: Box<Latencies>,
    pub(super) interned: Interned,
    /// Tokens whose signature was found good.
    pub(super) tokens: Cache,
    /// Chains that an authority vouches for.
    pub(super) certificates: certificate::Cache,
    pub(super) destinations: Destinations,
    /// When the drain must be over, once it has begun.
    pub(super) draining: Option<Mono>,
    pub(super) accepting: bool,
    /// Listeners on which accepting failed for want of descriptors; nothing is armed there.
    pub(super) stalled: Vec<u32>,
    /// Try again on these at this moment.
    pub(super) accept_again: Option<Mono>,
    /// When the core ends, whoever is still there; once the drain's deadline has come.
    pub(super) stop_at: Option<Mono>,
    pub(super) next_generation: u16,
    pub(super) cancel_budget: super::errand::Budget,
    /// Cancels that wait for their turn.
    pub(super) errands: Lanes<ServerAddress, Box<Errand>>,
}

/// What a completion is about; the operation byte of its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    HandOver = 2,
    Receive = 3,
    Send = 4,
    Connect = 5,
    Close = 6,
    Cancel = 7,
    Watch = 8,
}

pub(super) fn tag(operation: Operation, side: Side, index: u32, generation: u16) -> Tag {
    Tag::new(operation as u8, side as u8, index, generation)
}

/// How long one turn re-checks connections after a policy swap; the others wait for the next turn.
const RECHECK_MICROS: u64 = 500;
/// Connections between two looks at the clock.
const RECHECK_STEP: u32 = 8;

/// A core looks up from its sleep at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Core {
    /// Runs until told to stop, or until the ring fails.
    pub fn run(mut self) -> Result<(), TurnError> {
        self.watch_inbox();
        self.start_accepting();
        while !self.is_over() {
            let wait = self.wait();
            self.ring.turn(Some(wait))?;
            self.read_clocks();
            while let Some(completion) = self.ring.poll_completion() {
                self.complete(completion);
            }
            self.read_inbox();
            self.fire_timers();
            self.recheck_slice();
            self.begin_errands();
            self.accept_again();
            self.feed_the_starved();
            self.flush_lines();
            self.publish_figures();
        }
        self.stop_accepting();
        Ok(())
    }

    fn complete(&mut self, completion: Completion) {
        let Completion { tag, more, outcome } = completion;
        match outcome {
            Outcome::Accepted(accepted) => self.accepted(tag.index(), more, accepted),
            Outcome::Arrived(fd) => self.arrived(tag, fd),
            Outcome::HandedOver(Ok(())) => {}
            Outcome::HandedOver(Err((_, fd))) => self.not_handed_over(tag.index(), fd),
            Outcome::Received(received) => self.received(tag, more, received),
            Outcome::Sent(sent) => {
                if let Some((index, side)) = self.current(tag) {
                    match sent {
                        Ok(count) => self.sent(index, side, count as usize),
                        Err(_) => self.broken(index, side),
                    }
                }
            }
            Outcome::Connected(connected) => {
                if let Some((index, _)) = self.current(tag) {
                    self.connected(index, connected);
                }
            }
            Outcome::Closed(_) => self.closed(tag),
            Outcome::Woken(_) => {
                if !more {
                    self.watch_inbox();
                }
            }
            Outcome::ShutDown(_) | Outcome::Cancelled(_) => {}
        }
    }

    /// The line that a completion is for, unless its slot has another socket by now.
    pub(super) fn current(&mut self, tag: Tag) -> Option<(u32, Side)> {
        let side = Side::of(tag.side());
        let line = self.table.get(tag.index())?.line(side);
        (line.generation == tag.generation()).then_some((tag.index(), side))
    }

    /// Listeners have the first slots, connections two each behind them.
    pub(super) fn slot(&self, index: u32, side: Side) -> Slot {
        Slot(self.shared.entrances.len() as u32 + index * 2 + side as u32)
    }

    pub(super) fn metrics(&self) -> &CoreMetrics {
        self.shared
            .metrics
            .core(self.id)
            .unwrap_or_else(|| unreachable!("every core has metrics"))
    }

    fn watch_inbox(&mut self) {
        let tag = tag(Operation::Watch, Side::Client, 0, 0);
        self.ring.watch(self.inbox.event(), tag);
    }

    /// Deadlines that the policy gives in wall-clock time stand in the timers by the monotonic clock. When the two part (the
    /// wall clock was set, or the machine slept) every connection is looked at again.
    fn read_clocks(&mut self) {
        let (now, utc) = (self.shared.clock.mono(), self.shared.clock.utc());
        if is_step((self.now, self.utc), (now, utc)) {
            self.recheck = Some(0);
        }
        (self.now, self.utc) = (now, utc);
    }

    fn wait(&self) -> Duration {
        if self.recheck.is_some() || self.errands.is_ready() {
            return Duration::ZERO;
        }
        let deadlines = [self.timers.next(), self.draining, self.stop_at, self.accept_again];
        let next = deadlines.into_iter().flatten().min().unwrap_or(Mono(u64::MAX));
        Duration::from_nanos(next.0.saturating_sub(self.now.0)).min(LONGEST_SLEEP)
    }

    fn is_over(&self) -> bool {
        let out_of_time = self.stop_at.is_some_and(|at| at <= self.now);
        let idle = self.table.open() == 0 && !self.errands.is_ready();
        out_of_time || (self.draining.is_some() && idle)
    }

    /// After a swap, or when the clocks have parted, every connection is looked at again, a slice per turn.
    fn recheck_slice(&mut self) {
        let Some(from) = self.recheck else { return };
        let reach = self.table.reach();
        let started = self.shared.clock.mono();
        let mut to = from;
        // A certificate's chain may have to be verified again, so it is time that is bounded, not the number.
        while to < reach && self.shared.clock.mono().micros_since(started) < RECHECK_MICROS {
            let next = reach.min(to.saturating_add(RECHECK_STEP));
            for index in to..next {
                self.recheck_connection(index);
            }
            to = next;
        }
        self.recheck = (to < reach).then_some(to);
        if self.recheck.is_none() && std::mem::take(&mut self.adopting) {
            self.metrics().policies_adopted.one();
        }
    }

    fn publish_figures(&mut self) {
        let outstanding = [Group::Small, Group::Bulk].map(|group| self.ring.group_counters(group).outstanding);
        let metrics = self.metrics();
        metrics.turns.one();
        metrics.ring_overflows.raise_to(self.ring.counters().overflows);
        metrics
            .buffers_outstanding
            .set(outstanding.iter().map(|count| u64::from(*count)).sum());
    }
}

/// Whether the wall clock has gone another way than the monotonic one between two readings of both: by more than a second,
/// which no slewing does in the time of a turn.
fn is_step(before: (Mono, Utc), after: (Mono, Utc)) -> bool {
    const STEP_MICROS: i64 = 1_000_000;
    let passed = i64::try_from(after.0.micros_since(before.0)).unwrap_or(i64::MAX);
    let shown = after.1.0.saturating_sub(before.1.0);
    shown.saturating_sub(passed).saturating_abs() > STEP_MICROS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_or_a_machine_that_slept_is_noticed() {
        let at = |seconds: i64, wall: i64| (Mono(seconds as u64 * 1_000_000_000), Utc(wall * 1_000_000));
        assert!(!is_step(at(10, 100), at(70, 160)), "a long turn");
        assert!(!is_step(at(10, 100), at(70, 161)), "a clock that is slewed");
        assert!(is_step(at(10, 100), at(11, 3_700)), "set forward, or woken");
        assert!(is_step(at(10, 100), at(11, 99)), "set back");
    }
}
