//! What the kernel is still using, or must not be forgotten, until an operation completes.
#![allow(unsafe_code)]

use super::buffers::Segment;
use super::handle::Passage;
use super::slots::Slot;
use super::socket::Address;
use super::tag::Tag;
use slab::Slab;
use std::os::fd::OwnedFd;

/// Most segments that one send takes.
pub const MOST_SEGMENTS: usize = 64;

/// Batches that are there from the start: as long as no more fly at once, a send allocates nothing.
const FIRST_BATCHES: usize = 64;

/// An operation that owns something until its one completion.
pub(super) enum Flight {
    Send { tag: Tag, pin: Segment },
    SendBatch { tag: Tag, batch: Box<Batch> },
    Connect { tag: Tag, address: Box<Address> },
    Close { tag: Tag, slot: Slot },
    HandOver { tag: Tag, fd: OwnedFd, passage: Passage },
}

/// Flights by number, and spare batches.
pub(super) struct Flights {
    flying: Slab<Flight>,
    #[expect(
        clippy::vec_box,
        reason = "a batch must not move while the kernel reads it, so it travels in its box"
    )]
    spare: Vec<Box<Batch>>,
}

impl Flights {
    pub(super) fn new(expected: usize) -> Self {
        let mut spare = Vec::with_capacity(expected);
        spare.resize_with(expected.min(FIRST_BATCHES), Box::default);
        Self {
            flying: Slab::with_capacity(expected),
            spare,
        }
    }

    pub(super) fn insert(&mut self, flight: Flight) -> usize {
        self.flying.insert(flight)
    }

    /// The flight with this number has landed: what it owned is the caller's.
    pub(super) fn land(&mut self, number: usize) -> Option<Flight> {
        self.flying.try_remove(number)
    }

    pub(super) fn batch(&mut self) -> Box<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn recycle(&mut self, mut batch: Box<Batch>) {
        batch.pins.clear();
        self.spare.push(batch);
    }
}

/// The arguments of one sendmsg(2) and the segments that it reads. Lies still in its box while it flies.
pub(super) struct Batch {
    header: libc::msghdr,
    vectors: [libc::iovec; MOST_SEGMENTS],
    pins: Vec<Segment>,
}

impl Default for Batch {
    fn default() -> Self {
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: all zeroes is a valid msghdr: null pointers with zero lengths.
        let header = unsafe { std::mem::zeroed() };
        Self {
            header,
            vectors: [nothing; MOST_SEGMENTS],
            pins: Vec::with_capacity(MOST_SEGMENTS),
        }
    }
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.pins.len() == MOST_SEGMENTS
    }

    /// The batch is not full.
    pub(super) fn push(&mut self, pin: Segment) {
        self.vectors[self.pins.len()] = libc::iovec {
            iov_base: pin.address().cast_mut().cast(),
            iov_len: pin.len(),
        };
        self.pins.push(pin);
    }

    /// For the kernel; valid while the box of this batch lives and nothing is pushed.
    pub(super) fn message(&mut self) -> *const libc::msghdr {
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.pins.len() as _;
        &self.header
    }
}
