//! A pool of equal buffers: counts, free list, rules of return. Pure bookkeeping over a piece of memory.
#![allow(unsafe_code)]

use super::mapping::Mapping;
use super::segment::Segment;
use super::{HEAD_ROOM, TAIL_ROOM};
use crate::ring::start_error::StartError;
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::rc::Rc;
use zeroize::Zeroize;

/// How many buffers of what size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Bytes of payload in each: 64 to 65,280.
    pub payload: u32,
    /// For the groups that the kernel fills: a power of two, at most 32,768. Memory is touched only as it is used.
    pub count: u32,
}

impl PoolSize {
    /// The most bytes of payload that a buffer may have.
    pub const MAX_PAYLOAD: u32 = 65_280;
}

/// Snapshot of a pool's bookkeeping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Buffers held by segments now.
    pub outstanding: u32,
    /// The most that were ever held at once.
    pub peak: u32,
    /// How often a buffer was wanted and none was there.
    pub starvations: u64,
}

/// Debug builds fill returned buffers with this, so that a use after return shows.
#[cfg(debug_assertions)]
const POISON: u8 = 0xDB;

/// Buffers start at multiples of a cache line.
const ALIGNMENT: usize = 64;
const PAYLOAD: RangeInclusive<u32> = 64..=PoolSize::MAX_PAYLOAD;

#[derive(Clone, Copy, Default)]
struct State {
    /// Segments that hold a range of this buffer.
    count: u32,
    /// The buffer that lies behind this one in the kernel's ring: where a bundle goes on.
    next: u16,
    /// Zero it on return.
    secret: bool,
}

pub(in crate::ring) struct Pool {
    memory: Mapping,
    payload: u16,
    stride: usize,
    states: Box<[Cell<State>]>,
    /// Buffers that nobody holds. Of the kernel's groups: returned, and not yet given to the kernel.
    idle: RefCell<Vec<u32>>,
    outstanding: Cell<u32>,
    peak: Cell<u32>,
    starvations: Cell<u64>,
}

impl Pool {
    pub(in crate::ring) fn new(size: PoolSize) -> Result<Rc<Self>, StartError> {
        if !PAYLOAD.contains(&size.payload) {
            return Err(StartError::Options("a buffer holds 64 to 65,280 bytes"));
        }
        if size.count == 0 {
            return Err(StartError::Options("a pool needs buffers"));
        }
        let payload = u16::try_from(size.payload).map_err(|_| StartError::Options("the buffers are too large"))?;
        let stride = (HEAD_ROOM + usize::from(payload) + TAIL_ROOM).next_multiple_of(ALIGNMENT);
        let count = size.count as usize;
        let bytes = stride
            .checked_mul(count)
            .ok_or(StartError::Options("the pool is too large"))?;
        // The first one given out is number 0, so that a little-used pool stays in few pages.
        let idle = (0..size.count).rev().collect();
        Ok(Rc::new(Self {
            memory: Mapping::new(bytes)?,
            payload,
            stride,
            states: vec![Cell::new(State::default()); count].into_boxed_slice(),
            idle: RefCell::new(idle),
            outstanding: Cell::new(0),
            peak: Cell::new(0),
            starvations: Cell::new(0),
        }))
    }

    pub(in crate::ring) fn counters(&self) -> PoolCounters {
        PoolCounters {
            outstanding: self.outstanding.get(),
            peak: self.peak.get(),
            starvations: self.starvations.get(),
        }
    }

    pub(in crate::ring) fn count_starvation(&self) {
        self.starvations.set(self.starvations.get() + 1);
    }

    pub(in crate::ring) fn payload(&self) -> usize {
        usize::from(self.payload)
    }

    pub(super) fn count(&self) -> usize {
        self.states.len()
    }

    /// Where the kernel writes to in this buffer. Out of range is a bug.
    pub(super) fn payload_address(&self, buffer: u32) -> u64 {
        self.pointer(buffer, HEAD_ROOM as u16).as_ptr() as u64
    }

    /// A free buffer of our own as an empty segment.
    pub(super) fn take(self: &Rc<Self>) -> Option<Segment> {
        let Some(buffer) = self.idle.borrow_mut().pop() else {
            self.count_starvation();
            return None;
        };
        self.hold_first(buffer);
        Some(Segment::of_whole_buffer(Rc::clone(self), buffer, 0))
    }

    /// A buffer that the kernel has taken from its ring and filled with `len` bytes.
    pub(super) fn adopt(self: &Rc<Self>, buffer: u16, len: u16) -> Segment {
        assert!(len <= self.payload, "the kernel filled a buffer beyond its end");
        self.hold_first(u32::from(buffer));
        Segment::of_whole_buffer(Rc::clone(self), u32::from(buffer), len)
    }

    /// Calls `give` for every idle buffer and forgets it: it is the kernel's now.
    pub(super) fn drain_idle(&self, give: impl FnMut(u32)) {
        self.idle.borrow_mut().drain(..).for_each(give);
    }

    pub(super) fn next_in_ring(&self, buffer: u16) -> u16 {
        self.states[usize::from(buffer)].get().next
    }

    pub(super) fn link(&self, buffer: u16, next: u16) {
        self.change(u32::from(buffer), |state| state.next = next);
    }

    /// One more segment of a buffer that has one already.
    pub(super) fn hold(&self, buffer: u32) {
        self.change(buffer, |state| {
            debug_assert!(state.count > 0);
            state.count += 1;
        });
    }

    /// One segment less; the last one returns the buffer.
    pub(super) fn release(&self, buffer: u32) {
        let mut state = self.states[buffer as usize].get();
        debug_assert!(state.count > 0);
        state.count -= 1;
        if state.count == 0 {
            self.clean(buffer, state.secret);
            state.secret = false;
        }
        self.states[buffer as usize].set(state);
        if state.count == 0 {
            self.outstanding.set(self.outstanding.get() - 1);
            self.idle.borrow_mut().push(buffer);
        }
    }

    pub(super) fn is_sole(&self, buffer: u32) -> bool {
        self.states[buffer as usize].get().count == 1
    }

    pub(super) fn mark_secret(&self, buffer: u32) {
        self.change(buffer, |state| state.secret = true);
    }

    /// The address of a byte of the buffer, room included. Out of range is a bug and stops the process.
    pub(super) fn pointer(&self, buffer: u32, offset: u16) -> NonNull<u8> {
        assert!((buffer as usize) < self.count() && usize::from(offset) <= self.stride);
        // SAFETY: buffer < count and offset <= stride, so the address is within the mapping of count * stride bytes, or
        // one past its end.
        unsafe {
            self.memory
                .start()
                .add(buffer as usize * self.stride + usize::from(offset))
        }
    }

    fn hold_first(&self, buffer: u32) {
        self.change(buffer, |state| {
            assert_eq!(state.count, 0, "a buffer has two owners");
            state.count = 1;
        });
        self.outstanding.set(self.outstanding.get() + 1);
        self.peak.set(self.peak.get().max(self.outstanding.get()));
    }

    fn change(&self, buffer: u32, change: impl FnOnce(&mut State)) {
        let cell = &self.states[buffer as usize];
        let mut state = cell.get();
        change(&mut state);
        cell.set(state);
    }

    fn clean(&self, buffer: u32, secret: bool) {
        if !secret && !cfg!(debug_assertions) {
            return;
        }
        let start = self.pointer(buffer, 0).as_ptr();
        // SAFETY: the buffer's count has just become zero, so no segment and no kernel operation refers to its memory, and
        // the pool is !Sync, so nobody can take it meanwhile; `stride` bytes from its start are inside the mapping.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, self.stride) };
        if secret {
            bytes.zeroize();
        }
        #[cfg(debug_assertions)]
        if !secret {
            bytes.fill(POISON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: u32) -> Rc<Pool> {
        Pool::new(PoolSize { payload: 128, count }).expect("a small pool")
    }

    /// The payload as it lies in memory, whoever holds it.
    fn raw(pool: &Pool, buffer: u32) -> Vec<u8> {
        let start = pool.pointer(buffer, HEAD_ROOM as u16).as_ptr();
        // SAFETY: the payload is inside the mapping, and no test holds a mutable slice of it.
        unsafe { std::slice::from_raw_parts(start, pool.payload()) }.to_vec()
    }

    #[test]
    fn sizes_are_checked() {
        for (payload, count) in [(63, 1), (65_281, 1), (64, 0)] {
            assert!(matches!(
                Pool::new(PoolSize { payload, count }),
                Err(StartError::Options(_))
            ));
        }
        assert!(
            Pool::new(PoolSize {
                payload: 65_280,
                count: 1
            })
            .is_ok()
        );
    }

    #[test]
    fn an_empty_pool_counts_starvation_and_recovers() {
        let pool = pool(2);
        let (first, second) = (pool.take(), pool.take());
        assert!(first.is_some() && second.is_some());
        assert!(pool.take().is_none());
        assert_eq!(
            pool.counters(),
            PoolCounters {
                outstanding: 2,
                peak: 2,
                starvations: 1
            }
        );
        drop(first);
        assert!(pool.take().is_some());
        drop(second);
        assert_eq!(
            pool.counters(),
            PoolCounters {
                outstanding: 0,
                peak: 2,
                starvations: 1
            }
        );
    }

    #[test]
    #[should_panic(expected = "two owners")]
    fn a_buffer_never_has_two_owners() {
        let pool = pool(2);
        let _first = pool.adopt(1, 10);
        let _second = pool.adopt(1, 10);
    }

    #[test]
    fn secrets_are_zeroed_on_return_and_the_mark_goes_with_them() {
        let pool = pool(1);
        let mut segment = pool.take().expect("a buffer");
        segment.mark_secret();
        assert_eq!(segment.append(b"password"), 8);
        assert!(raw(&pool, 0).starts_with(b"password"));
        drop(segment);
        assert_eq!(raw(&pool, 0), vec![0; 128]);

        let mut segment = pool.take().expect("a buffer");
        assert_eq!(segment.append(b"no secret"), 9);
        drop(segment);
        #[cfg(debug_assertions)]
        assert_eq!(raw(&pool, 0), vec![POISON; 128]);
    }

    #[test]
    fn the_kernel_gets_each_idle_buffer_once() {
        let pool = pool(4);
        let mut given = Vec::new();
        pool.drain_idle(|buffer| given.push(buffer));
        given.sort_unstable();
        assert_eq!(given, [0, 1, 2, 3]);
        pool.drain_idle(|_| panic!("nothing is idle"));
        drop(pool.adopt(2, 1));
        given.clear();
        pool.drain_idle(|buffer| given.push(buffer));
        assert_eq!(given, [2]);
    }
}
