//! The memory that sockets read into and write from: pools of equal buffers, and counted handles of ranges in them.
//!
//! A buffer is in exactly one of three hands: the kernel's (it lies in a provided-buffer ring), the free list's (a pool
//! of our own), or the segments' (its count is above zero). What the kernel is sending is held by a segment as well: the
//! ring keeps it among its flights. So a buffer never has two owners, whatever the caller does with its handles.
//!
//! Round the payload of every buffer there is room for what a TLS record has more than its plaintext.

mod mapping;
mod own;
mod pool;
mod provided;
mod received;
mod segment;

pub use own::{Exhausted, OwnBuffers};
pub use pool::{PoolCounters, PoolSize};
pub use received::Segments;
pub use segment::{EditError, Segment};

pub(super) use provided::Provided;

/// Bytes in front of the payload: a TLS record header, and the explicit nonce of TLS 1.2.
pub const HEAD_ROOM: usize = 16;

/// Bytes behind the payload: the inner content type of TLS 1.3 and the tag, rounded up.
pub const TAIL_ROOM: usize = 32;
