//! io_uring: ring, registered buffers, operations. Knows nothing about PostgreSQL; the only room with unsafe code.
//!
//! # Driving a ring
//!
//! ```text
//! raise_descriptor_limit()                            once, in main
//! let mut ring = Ring::new(&RingOptions::default())?  on the thread that will use it
//! loop {
//!     ring.turn(wait)?                                submits, waits, at most one system call
//!     while let Some(completion) = ring.poll_completion() {
//!         match (completion.tag, completion.outcome)  feed sessions; push operations freely in between
//!     }
//! }
//! ```
//!
//! - Every operation names a [`Slot`] and a [`Tag`]; both are the caller's numbers. The tag comes back; the caller counts
//!   its generation up and drops completions of an older one. Dropping a completion is always right: descriptors close,
//!   buffers return.
//! - A slot is filled by `install` and emptied by `close`; it is free again with `Closed`. Operations on an empty or closing
//!   slot complete with EBADF.
//! - Sends: keep the bytes as [`Segment`]s in a queue per direction, have one send in flight, call
//!   `send(slot, queue.iter_mut(), tag)`, and cut `Sent`'s bytes off the queue's front. The ring holds segments of its own
//!   until the completion, so a session may die at any time; nobody has to wait for its sends.
//! - Receives: `receive_multishot` once; on `NoBuffers` or without `more`, once again. To stop reading (backpressure)
//!   `cancel_receive`: what was already taken still comes, then the last completion with ECANCELED.
//! - To end a connection: `cancel_slot` (stuck sends, receives), `close`. An orderly end is `shut_down(Half::Write)` first.
//! - Buffers return to the kernel once per turn, after the last segment of each is dropped.
//!
//! A ring that is dropped cancels what is under way and waits for it.

mod buffers;
mod completion;
mod errno;
mod event;
mod features;
mod flight;
mod handle;
mod limits;
mod listener;
mod operation;
mod options;
#[expect(clippy::module_inception, reason = "the ring is what this room is named for")]
mod ring;
mod slots;
pub mod socket;
mod start_error;
mod tag;
#[cfg(test)]
mod tests;

pub use buffers::{EditError, Exhausted, HEAD_ROOM, OwnBuffers, PoolCounters, PoolSize, Segment, Segments, TAIL_ROOM};
pub use completion::{Completion, Outcome, Received};
pub use errno::Errno;
pub use event::EventFd;
pub use features::Features;
pub use flight::MOST_SEGMENTS;
pub use handle::RingHandle;
pub use limits::raise_descriptor_limit;
pub use listener::{ListenError, Listener, Local};
pub use operation::{Group, Half};
pub use options::RingOptions;
pub use ring::{Ring, RingCounters, TurnError};
pub use slots::Slot;
pub use start_error::{StartError, Step};
pub use tag::Tag;
