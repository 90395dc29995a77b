//! The ring through which the kernel gets the buffers of one group (IORING_REGISTER_PBUF_RING).
#![allow(unsafe_code)]

use super::mapping::Mapping;
use super::pool::{Pool, PoolSize};
use super::received::Segments;
use crate::ring::errno::Errno;
use crate::ring::start_error::StartError;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

const MOST_ENTRIES: u32 = 1 << 15;

/// One group: its pool, and the entries shared with the kernel.
pub(in crate::ring) struct Provided {
    pool: Rc<Pool>,
    /// `mask + 1` entries; the tail lies in an unused field of the first.
    entries: Mapping,
    mask: u16,
    tail: u16,
    /// The buffer published last: the next one is linked behind it.
    last: Option<u16>,
}

impl Provided {
    pub(in crate::ring) fn new(size: PoolSize) -> Result<Self, StartError> {
        if !size.count.is_power_of_two() || size.count > MOST_ENTRIES {
            return Err(StartError::Options(
                "a group has a power of two of buffers, at most 32,768",
            ));
        }
        Ok(Self {
            pool: Pool::new(size)?,
            entries: Mapping::new(size.count as usize * size_of::<BufRingEntry>())?,
            mask: (size.count - 1) as u16,
            tail: 0,
            last: None,
        })
    }

    /// Makes the group known to the ring under this number and gives it all buffers.
    pub(in crate::ring) fn register(&mut self, submitter: &Submitter<'_>, group: u16) -> Result<(), Errno> {
        let address = self.entries.start().as_ptr() as u64;
        // SAFETY: the entries are mapped as long as `self` lives, and the ring drops its groups after its descriptor.
        let registered = unsafe { submitter.register_buf_ring_with_flags(address, self.mask + 1, group, 0) };
        registered.map_err(|error| Errno::of(&error))?;
        self.publish();
        Ok(())
    }

    /// Gives every buffer that came back to the kernel again, with one store.
    pub(in crate::ring) fn publish(&mut self) {
        let before = self.tail;
        let pool = Rc::clone(&self.pool);
        pool.drain_idle(|buffer| self.append(&pool, buffer as u16));
        if self.tail != before {
            self.shared_tail().store(self.tail, Ordering::Release);
        }
    }

    /// The bytes of one receive: `len` of them, from this buffer on.
    pub(in crate::ring) fn received(&self, buffer: u16, len: u32) -> Segments {
        Segments::new(Rc::clone(&self.pool), buffer, len)
    }

    /// A buffer that a receive took and brought nothing in.
    pub(in crate::ring) fn unused(&self, buffer: u16) {
        drop(self.pool.adopt(buffer, 0));
    }

    pub(in crate::ring) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    fn append(&mut self, pool: &Pool, buffer: u16) {
        let position = usize::from(self.tail & self.mask);
        // SAFETY: position <= mask, so the entry is inside the mapping. The kernel reads it only after the tail has moved past
        // it, and there are as many entries as buffers, so an entry behind the tail is of no published buffer.
        let entry = unsafe { &mut *self.entries.start().as_ptr().cast::<BufRingEntry>().add(position) };
        entry.set_addr(pool.payload_address(u32::from(buffer)));
        entry.set_len(pool.payload() as u32);
        entry.set_bid(buffer);
        if let Some(last) = self.last.replace(buffer) {
            pool.link(last, buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn shared_tail(&self) -> &AtomicU16 {
        // SAFETY: the mapping starts with the first entry, page-aligned; the field is an aligned u16 that lives with it and is
        // written only here (by this thread) and read by the kernel.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.start().as_ptr().cast::<BufRingEntry>());
            &*tail.cast::<AtomicU16>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_power_of_two_of_buffers() {
        for count in [0, 3, 1 << 16] {
            assert!(matches!(
                Provided::new(PoolSize { payload: 64, count }),
                Err(StartError::Options(_))
            ));
        }
    }

    #[test]
    fn a_bundle_follows_the_order_of_publication() {
        let mut group = Provided::new(PoolSize { payload: 64, count: 4 }).expect("a small group");
        group.publish();
        // The kernel takes 3, 2 and 1 in this order (the free list is a stack), 2 comes back before 3.
        let first = group.received(3, 64).next().expect("a segment");
        drop(group.received(2, 5));
        group.publish();
        drop(first);
        group.publish();
        // Now 1, 0, 2, 3 lie with the kernel.
        let held: Vec<_> = group.received(1, 64 * 3 + 7).collect();
        let places: Vec<_> = held.iter().map(|segment| format!("{segment:?}")).collect();
        for (place, buffer) in places.iter().zip([1, 0, 2, 3]) {
            assert!(place.contains(&format!("buffer: {buffer},")), "{place}");
        }
        assert_eq!(
            held.iter().map(crate::ring::Segment::len).collect::<Vec<_>>(),
            [64, 64, 64, 7]
        );
        assert_eq!(group.pool().counters().outstanding, 4);
    }

    #[test]
    fn the_tail_wraps() {
        let mut group = Provided::new(PoolSize { payload: 64, count: 1 }).expect("a small group");
        for _ in 0..70_000 {
            group.publish();
            drop(group.received(0, 1));
        }
        assert_eq!(group.pool().counters().outstanding, 0);
    }
}
