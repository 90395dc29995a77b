//! The ring itself: how it is made, turned and taken down.
#![allow(unsafe_code)]

use super::buffers::{OwnBuffers, PoolCounters, Provided};
use super::completion::Completion;
use super::errno::Errno;
use super::event::EventFd;
use super::features::Features;
use super::flight::Flights;
use super::handle::RingHandle;
use super::limits;
use super::operation::{self, Group};
use super::options::RingOptions;
use super::slots::{Slot, Slots};
use super::start_error::{StartError, Step, explain};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, squeue};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One io_uring with its table of slots and its buffers. Made and used on one thread; see the module for how it is driven.
pub struct Ring {
    // The order matters: the ring's descriptor closes before what the kernel may look at goes away.
    pub(super) uring: IoUring,
    pub(super) flights: Flights,
    pub(super) slots: Slots,
    pub(super) small: Provided,
    pub(super) bulk: Provided,
    pub(super) watched: Vec<Arc<EventFd>>,
    own: OwnBuffers,
    /// Entries that found the submission queue full and the kernel unwilling; they go first.
    backlog: VecDeque<squeue::Entry>,
    /// Operations that owe a last completion.
    pub(super) live: u64,
    features: Features,
    handle: RingHandle,
    counters: RingCounters,
}

/// What a ring has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingCounters {
    pub turns: u64,
    pub operations: u64,
    pub completions: u64,
    /// How often the submission queue was full in the middle of a turn.
    pub full_submissions: u64,
    /// Turns that found the completion queue overflown. Nothing is lost, but the queue is too small.
    pub overflows: u64,
    /// Completions with a mark that is not ours: a bug, here or in the kernel.
    pub unknown: u64,
}

/// The ring cannot go on; its thread should end and say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The kernel had no memory to keep completions in (EBADR).
    #[error("the kernel lost completions")]
    CompletionsLost,
    #[error("io_uring_enter failed: {0}")]
    Enter(Errno),
}

pub(super) const SMALL_GROUP: u16 = 0;
pub(super) const BULK_GROUP: u16 = 1;

/// How long a ring that is dropped waits for its operations to end.
const LAST_WAIT: Duration = Duration::from_secs(1);

impl Ring {
    /// Makes a ring for the calling thread, which alone may use it.
    pub fn new(options: &RingOptions) -> Result<Self, StartError> {
        let uring = set_up(options)?;
        let probe = probed(&uring)?;
        operation::check_needed(&probe)?;
        let features = Features::probed(&uring, &probe).and(options.features);
        let slots = Slots::new(
            options.slots.min(limits::descriptors()),
            features.contains(Features::DIRECT_SLOTS),
        );
        if slots.is_direct() {
            let registered = uring.submitter().register_files_sparse(slots.count());
            registered.map_err(|error| failed(Step::Slots, Errno::of(&error)))?;
        }
        let mut small = Provided::new(options.small)?;
        let mut bulk = Provided::new(options.bulk)?;
        small
            .register(&uring.submitter(), SMALL_GROUP)
            .map_err(|errno| failed(Step::BufferRing, errno))?;
        bulk.register(&uring.submitter(), BULK_GROUP)
            .map_err(|errno| failed(Step::BufferRing, errno))?;
        let handle = RingHandle::of(&uring).map_err(|errno| failed(Step::SetUp, errno))?;
        let expected = options.submissions as usize;
        Ok(Self {
            uring,
            flights: Flights::new(expected),
            slots,
            small,
            bulk,
            watched: Vec::new(),
            own: OwnBuffers::new(options.own)?,
            backlog: VecDeque::new(),
            live: 0,
            features,
            handle,
            counters: RingCounters::default(),
        })
    }

    /// Submits what was pushed since the last turn, returns freed buffers to the kernel, and waits until there is a
    /// completion or `wait` is over: `None` waits for ever, zero does not wait. Then drain [`Ring::poll_completion`].
    pub fn turn(&mut self, wait: Option<Duration>) -> Result<(), TurnError> {
        self.counters.turns += 1;
        self.publish();
        while !self.refill() {
            if self.enter(0, EnterFlags::empty(), None)? == 0 {
                break;
            }
        }
        // With entries left over the kernel is short of something: do not sleep on it.
        let wants = usize::from(wait != Some(Duration::ZERO) && self.backlog.is_empty());
        let mut flags = EnterFlags::GETEVENTS;
        if self.features.contains(Features::NO_IOWAIT) {
            flags |= EnterFlags::NO_IOWAIT;
        }
        self.enter(wants, flags, wait)?;
        if self.uring.submission().cq_overflow() {
            self.counters.overflows += 1;
        }
        Ok(())
    }

    /// The next completion of this turn. Operations may be pushed in between.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        loop {
            let entry = self.uring.completion().next()?;
            self.counters.completions += 1;
            match self.decode(&entry) {
                operation::Decoded::Completion(completion) => return Some(completion),
                operation::Decoded::Unheard => {}
                operation::Decoded::Unknown => self.counters.unknown += 1,
            }
        }
    }

    /// Puts a descriptor into a free slot. EBUSY: the slot is in use or its close has not completed; EBADF: no such slot.
    pub fn install(&mut self, slot: Slot, fd: OwnedFd) -> Result<(), Errno> {
        self.slots.check_free(slot)?;
        if self.slots.is_direct() {
            let updated = self.uring.submitter().register_files_update(slot.0, &[fd.as_raw_fd()]);
            updated.map_err(|error| Errno::of(&error))?;
        }
        self.slots.occupy(slot, fd);
        Ok(())
    }

    /// As [`Ring::install`] for a descriptor that stays the caller's as well, such as a listener's.
    pub fn install_shared(&mut self, slot: Slot, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let duplicate = fd.try_clone_to_owned().map_err(|error| Errno::of(&error))?;
        self.install(slot, duplicate)
    }

    /// Slots are numbered from zero to below this.
    pub fn slots(&self) -> u32 {
        self.slots.count()
    }

    /// Slots that hold a descriptor or are being closed.
    pub fn slots_used(&self) -> u32 {
        self.slots.used()
    }

    /// The pool for bytes of our own.
    pub fn own_buffers(&self) -> &OwnBuffers {
        &self.own
    }

    /// For other threads, to hand descriptors over to this ring.
    pub fn handle(&self) -> RingHandle {
        self.handle.clone()
    }

    /// What the kernel has and the options allow.
    pub fn features(&self) -> Features {
        self.features
    }

    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    pub fn group_counters(&self, group: Group) -> PoolCounters {
        self.group(group).pool().counters()
    }

    /// Bytes of payload in each buffer of the group.
    pub fn group_payload(&self, group: Group) -> usize {
        self.group(group).pool().payload()
    }

    /// Operations that have not had their last completion.
    pub fn live_operations(&self) -> u64 {
        self.live
    }

    pub(super) fn group(&self, group: Group) -> &Provided {
        match group {
            Group::Small => &self.small,
            Group::Bulk => &self.bulk,
        }
    }

    /// Queues an entry; it is submitted in the next turn at the latest, and never lost.
    ///
    /// # Safety
    /// Whatever the entry points to stays valid and unmoved until its completion has been decoded: among the flights, in
    /// a group's mapping, or behind a descriptor that the ring holds.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        self.live += 1;
        self.counters.operations += 1;
        if self.backlog.is_empty() && self.try_push(&entry) {
            return;
        }
        self.backlog.push_back(entry);
        self.counters.full_submissions += 1;
        self.publish();
        // An error is met again, and reported, by the next turn.
        if self.enter(0, EnterFlags::empty(), None).is_ok() {
            self.refill();
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: `push` has the promise that what the entry points to lives until its completion.
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }

    /// Moves the backlog into the submission queue; false when not all of it fits.
    fn refill(&mut self) -> bool {
        while let Some(entry) = self.backlog.front().cloned() {
            if !self.try_push(&entry) {
                return false;
            }
            self.backlog.pop_front();
        }
        true
    }

    fn publish(&mut self) {
        self.small.publish();
        self.bulk.publish();
    }

    /// One system call; answers how many entries the kernel took.
    fn enter(&mut self, wants: usize, flags: EnterFlags, wait: Option<Duration>) -> Result<usize, TurnError> {
        let submitted = self.uring.submission().len() as u32;
        let timeout = wait.map(Timespec::from);
        let mut arguments = SubmitArgs::new();
        if let Some(timeout) = &timeout {
            arguments = arguments.timespec(timeout);
        }
        let flags = (flags | EnterFlags::EXT_ARG).bits();
        // SAFETY: with EXT_ARG the argument is the structure that SubmitArgs is, and it and the time-out outlive the call.
        let entered = unsafe {
            self.uring
                .submitter()
                .enter(submitted, wants as u32, flags, Some(&arguments))
        };
        match entered {
            Ok(taken) => Ok(taken),
            Err(error) => match Errno::of(&error).0 {
                // Nothing came in time; a signal; completions must be drained or memory freed first: all met by the next turn.
                libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN => Ok(0),
                libc::EBADR => Err(TurnError::CompletionsLost),
                errno => Err(TurnError::Enter(Errno(errno))),
            },
        }
    }
}

impl Drop for Ring {
    /// Cancels everything and waits, so that the kernel has let go of the memory. What it does not let go of in time is
    /// leaked rather than freed under its hands.
    fn drop(&mut self) {
        self.handle.close();
        self.cancel_everything();
        let started = Instant::now();
        while (self.live > 0 || !self.handle.is_deserted()) && started.elapsed() < LAST_WAIT {
            if self.turn(Some(Duration::from_millis(10))).is_err() {
                break;
            }
            while self.poll_completion().is_some() {}
        }
        // A last look: a message may have come with the last completion of its sender.
        if self.turn(Some(Duration::ZERO)).is_ok() {
            while self.poll_completion().is_some() {}
        }
        if self.live > 0 {
            std::mem::forget(std::mem::replace(&mut self.flights, Flights::new(0)));
            std::mem::forget(self.own.clone());
            std::mem::forget(std::rc::Rc::clone(self.small.pool()));
            std::mem::forget(std::rc::Rc::clone(self.bulk.pool()));
        }
    }
}

fn set_up(options: &RingOptions) -> Result<IoUring, StartError> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(options.completions);
    builder
        .build(options.submissions)
        .map_err(|error| failed(Step::SetUp, Errno::of(&error)))
}

fn probed(uring: &IoUring) -> Result<Probe, StartError> {
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|error| failed(Step::Probe, Errno::of(&error)))?;
    Ok(probe)
}

fn failed(step: Step, errno: Errno) -> StartError {
    explain(step, errno, limits::surroundings())
}
