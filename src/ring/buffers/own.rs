//! Buffers that the kernel never fills: for bytes of our own on their way to a socket.

use super::pool::{Pool, PoolCounters, PoolSize};
use super::segment::Segment;
use crate::ring::start_error::StartError;
use std::collections::VecDeque;
use std::rc::Rc;

/// A cloneable handle of a core's own pool: handshakes, error messages, counted copies. Bound to its thread.
#[derive(Clone)]
pub struct OwnBuffers(Rc<Pool>);

/// The pool has no buffer left; the starvation is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of buffers")]
pub struct Exhausted;

impl OwnBuffers {
    pub(in crate::ring) fn new(size: PoolSize) -> Result<Self, StartError> {
        Pool::new(size).map(Self)
    }

    /// An empty segment with a whole buffer as ground: write with [`Segment::append`] or [`Segment::edit`].
    pub fn take(&self) -> Result<Segment, Exhausted> {
        self.0.take().ok_or(Exhausted)
    }

    /// As [`OwnBuffers::take`], for bytes that must not stay in memory: the buffer is zeroed on return.
    pub fn take_secret(&self) -> Result<Segment, Exhausted> {
        let segment = self.take()?;
        segment.mark_secret();
        Ok(segment)
    }

    /// Copies `bytes` to the end of a send queue, in as many buffers as they need. All or nothing.
    pub fn copy_to(&self, bytes: &[u8], queue: &mut VecDeque<Segment>) -> Result<(), Exhausted> {
        let before = queue.len();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(mut segment) = self.take() else {
                queue.truncate(before);
                return Err(Exhausted);
            };
            rest = rest.split_at(segment.append(rest)).1;
            queue.push_back(segment);
        }
        Ok(())
    }

    /// Bytes that fit into one buffer.
    pub fn payload(&self) -> usize {
        self.0.payload()
    }

    pub fn counters(&self) -> PoolCounters {
        self.0.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_spread_over_buffers_or_not_at_all() {
        let own = OwnBuffers::new(PoolSize { payload: 64, count: 3 }).expect("a small pool");
        let bytes: Vec<u8> = (0..150).collect();
        let mut queue = VecDeque::new();
        own.copy_to(&bytes, &mut queue).expect("three buffers are enough");
        assert_eq!(queue.iter().map(Segment::len).collect::<Vec<_>>(), [64, 64, 22]);
        assert_eq!(
            queue.iter().flat_map(Segment::bytes).copied().collect::<Vec<_>>(),
            bytes
        );

        queue.truncate(2);
        assert_eq!(own.copy_to(&bytes[..65], &mut queue), Err(Exhausted));
        assert_eq!(queue.len(), 2);
        assert_eq!(own.counters().outstanding, 2);
        own.copy_to(b"", &mut queue).expect("nothing needs nothing");
        drop(queue);
        assert_eq!(own.counters().outstanding, 0);
    }
}
