//! One side of a connection: its slot, its link, what is being received and what waits to be sent.
//!
//! An idle line holds no buffer and no queue: queues are lent by the core while there is something in them.

use std::collections::VecDeque;

use crate::ring::{Group, Segment};
use crate::tls::{Link, RecordAssembler};

/// Which side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    Client = 0,
    Server = 1,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    pub fn of(number: u8) -> Self {
        if number == 0 { Self::Client } else { Self::Server }
    }
}

/// Segments on their way to a peer, in order.
pub struct Queue {
    pub segments: VecDeque<Segment>,
    pub bytes: usize,
}

/// What a queue has room for from the start: as many segments as a pool has buffers by default, for when receiving is
/// paused the kernel may have filled all of them. Only the part that is used is ever touched.
const QUEUE_SEGMENTS: usize = 1_024;

impl Default for Queue {
    fn default() -> Self {
        Self {
            segments: VecDeque::with_capacity(QUEUE_SEGMENTS),
            bytes: 0,
        }
    }
}

impl Queue {
    /// Empty, and from its first place again: a queue that goes round would touch all of its memory.
    pub fn rewind(&mut self) {
        self.segments.clear();
        self.bytes = 0;
    }
}

/// An established TLS connection of one line, and the record that has not come whole.
pub struct TlsLine {
    pub link: Box<Link>,
    pub assembler: RecordAssembler,
    /// There while a record is under way that spans buffers.
    pub partial: Option<Segment>,
}

impl TlsLine {
    pub fn new(link: Box<Link>) -> Box<Self> {
        Box::new(Self {
            link,
            assembler: RecordAssembler::default(),
            partial: None,
        })
    }
}

/// Whether the line's socket is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Socket {
    /// No socket in the slot.
    #[default]
    None,
    Open,
    /// Closes once the queue has been sent.
    Draining,
    /// Close is under way.
    Closing,
}

/// Whether bytes are being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receive {
    #[default]
    Off,
    /// A multishot receive is armed.
    Armed(Group),
    /// It is being cancelled: what was taken already still comes.
    Stopping(Group),
    /// The group was empty: arm again when buffers are back.
    Starved(Group),
}

/// One side of a connection.
#[derive(Default)]
pub struct Line {
    pub tls: Option<Box<TlsLine>>,
    pub queue: Option<Box<Queue>>,
    /// Counted up whenever the slot gets another socket: completions of the one before are dropped.
    pub generation: u16,
    pub socket: Socket,
    pub receive: Receive,
    /// One send is in flight at most.
    pub sending: bool,
    /// Stands in the core's list of lines to flush in this turn.
    pub flushing: bool,
    /// The peer is too slow for what comes from the other side: receiving there is paused.
    pub throttling: bool,
    /// The peer will send nothing more.
    pub ended: bool,
    /// Receives in a row that filled their buffer to the end.
    pub full_receives: u8,
}

impl Line {
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    pub fn is_idle(&self) -> bool {
        !self.sending && self.queued() == 0
    }

    /// Everything of the socket before is gone; the generation tells its completions from the next one's.
    pub fn reset(&mut self, generation: u16) {
        *self = Self {
            generation,
            ..Self::default()
        };
    }
}
