//! The one way into a core from another thread: a bounded queue and an eventfd.
//!
//! Senders never block, and only the first of a burst makes a system call. What may be sent is a closed set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::audit::{Reason, SessionId};
use crate::control::messages::Notice;
use crate::core::reference::SessionReference;
use crate::ring::{Errno, EventFd};

/// What another thread may tell a core.
pub enum Message {
    /// The permit record of a session is written, or could not be.
    Recorded {
        session: SessionReference,
        written: bool,
    },
    Control(Notice),
    /// Cancel what `target`, a session of the core that is told, is running; answer to `requester`.
    Cancel {
        target: SessionReference,
        requester: SessionReference,
    },
    /// What became of the cancel that `requester`, a connection of the core that is told, asked for.
    CancelDone {
        requester: SessionReference,
        reason: Reason,
        /// The session that the request meant, where one was found.
        target: Option<SessionId>,
    },
}

/// One core's inbox; clones share it.
#[derive(Clone)]
pub struct Inbox(Arc<Shared>);

struct Shared {
    queue: ArrayQueue<Message>,
    signalled: AtomicBool,
    event: Arc<EventFd>,
}

impl Inbox {
    /// `places`: messages that may wait.
    pub fn new(places: usize) -> Result<Self, Errno> {
        let event = Arc::new(EventFd::new()?);
        Ok(Self(Arc::new(Shared {
            queue: ArrayQueue::new(places),
            signalled: AtomicBool::new(false),
            event,
        })))
    }

    /// Gives the message back when the inbox is full.
    pub fn send(&self, message: Message) -> Result<(), Message> {
        self.0.queue.push(message)?;
        if !self.0.signalled.swap(true, Ordering::AcqRel) {
            self.0.event.signal();
        }
        Ok(())
    }

    /// The event that the core's ring watches.
    pub fn event(&self) -> &Arc<EventFd> {
        &self.0.event
    }

    /// Called by the core once it has woken, before it empties the inbox: what is sent from here on wakes it again.
    pub fn awake(&self) {
        self.0.signalled.store(false, Ordering::Release);
    }

    pub fn receive(&self) -> Option<Message> {
        self.0.queue.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32) -> Message {
        Message::Recorded {
            session: SessionReference {
                core: 0,
                index,
                generation: 1,
            },
            written: true,
        }
    }

    #[test]
    fn messages_come_in_order_and_a_full_inbox_gives_them_back() {
        let inbox = Inbox::new(2).expect("an eventfd");
        assert!(inbox.send(message(1)).is_ok());
        assert!(inbox.send(message(2)).is_ok());
        assert!(inbox.send(message(3)).is_err());
        inbox.awake();
        let indexes: Vec<_> = std::iter::from_fn(|| inbox.receive())
            .map(|message| match message {
                Message::Recorded { session, .. } => session.index,
                Message::Control(_) | Message::Cancel { .. } | Message::CancelDone { .. } => u32::MAX,
            })
            .collect();
        assert_eq!(indexes, [1, 2]);
    }
}
