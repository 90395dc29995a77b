//! What one receive brought: bytes in one buffer of a group, or, as a bundle, in several that follow each other.

use super::pool::Pool;
use super::segment::Segment;
use std::fmt;
use std::rc::Rc;

/// The received bytes in order, as segments of one buffer each; none is empty. Those not taken return to the kernel when
/// this is dropped.
pub struct Segments {
    pool: Rc<Pool>,
    /// The buffer that the next bytes are in, while `remaining` is not zero. Owned by this value from here to the end.
    buffer: u16,
    remaining: u32,
}

impl Segments {
    pub(super) fn new(pool: Rc<Pool>, buffer: u16, remaining: u32) -> Self {
        Self {
            pool,
            buffer,
            remaining,
        }
    }

    /// Bytes not taken yet.
    pub fn remaining(&self) -> usize {
        self.remaining as usize
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.remaining == 0 {
            return None;
        }
        let len = self.remaining.min(self.pool.payload() as u32);
        self.remaining -= len;
        let buffer = self.buffer;
        // Read before the segment is given out: the link changes when the buffer is published again.
        self.buffer = self.pool.next_in_ring(buffer);
        Some(self.pool.adopt(buffer, len as u16))
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").field("remaining", &self.remaining).finish()
    }
}
