//! What cores and control say to each other: two closed sets.
//!
//! A core asks through [`Requests`], which never blocks. Control answers, and announces what every core must know, through
//! [`Cores`], a handle to the cores' inboxes. What a core can simply read (the policy in force, credentials, addresses,
//! listener certificates) stands in [`Published`](super::Published) and is never sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::client_keys::DeriveFault;
use super::credentials::Credential;
use crate::audit::Ticket;
use crate::identity::scram::Keys;
use crate::identity::webhook::Answer;
use crate::metrics::Latencies;

/// What a core asks of control.
pub enum Request {
    /// Answered by [`Notice::ClientKeys`]. Ask only after [`Credential::client_keys`] had none: the derivation is slow.
    DeriveClientKeys {
        credential: Arc<Credential>,
        salt: Box<[u8]>,
        iterations: u32,
        ticket: Ticket,
    },
    /// A server refused `credential`: has its file changed? Answered by [`Notice::CredentialRead`] once the table is
    /// current. However many ask, the files are read once.
    ReadCredential {
        cluster: Box<str>,
        role: Box<str>,
        /// [`Credential::version`] of the one that was refused.
        refused: u64,
        ticket: Ticket,
    },
    /// The filled set that [`Notice::ExchangeLatencies`] asked for.
    Latencies { core: u16, filled: Box<Latencies> },
}

/// What control tells a core.
pub enum Notice {
    /// Another policy is in force; living sessions are to be checked again.
    PolicyChanged,
    ClientKeys {
        ticket: Ticket,
        keys: Result<Arc<Keys>, DeriveFault>,
    },
    /// The credentials table is current again; `changed` says whether the role's credential is another one now.
    CredentialRead {
        ticket: Ticket,
        changed: bool,
    },
    /// The keys of the issuer that the attempt waits for are as new as they will be for now.
    KeysFetched {
        ticket: Ticket,
        /// The issuer was asked for the occasion, and has answered.
        asked: bool,
    },
    Answer {
        ticket: Ticket,
        answer: Box<Answer>,
    },
    /// Swap this empty set in and send the filled one back.
    ExchangeLatencies(Box<Latencies>),
    /// Stop accepting, let transactions finish, and be gone within `deadline`.
    Drain {
        deadline: Duration,
    },
    /// Stop now.
    Stop,
}

/// Puts a notice into one core's inbox; gives it back when the inbox is full.
pub type Tell = Box<dyn Fn(u16, Notice) -> Result<(), Notice> + Send + Sync>;

/// The cores' inboxes, as control sees them.
pub struct Cores {
    count: u16,
    tell: Tell,
    lost: AtomicU64,
}

/// How long control waits for room in a core's inbox before it gives a notice up.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);

impl Cores {
    pub fn new(count: u16, tell: Tell) -> Self {
        Self {
            count,
            tell,
            lost: AtomicU64::new(0),
        }
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    /// Tells one core, waiting a little for room. False if the notice could not be delivered: that core has stopped
    /// taking messages, and its sessions end by their own deadlines. Not for the runtime's thread: it sleeps.
    pub fn tell(&self, core: u16, notice: Notice) -> bool {
        let mut notice = notice;
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            match (self.tell)(core, notice) {
                Ok(()) => return true,
                Err(back) => notice = back,
            }
            std::thread::sleep(PAUSE);
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(core, "core takes no messages; a notice to it is lost");
        false
    }

    /// Tells one core if it has room now.
    pub fn try_tell(&self, core: u16, notice: Notice) -> bool {
        (self.tell)(core, notice).is_ok()
    }

    /// Tells every core; answers with those that could not be told.
    pub fn tell_all(&self, notice: impl Fn() -> Notice) -> Vec<u16> {
        (0..self.count).filter(|core| !self.tell(*core, notice())).collect()
    }

    /// Notices that no room was found for.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A core's handle to control; clones share one bounded queue.
#[derive(Clone)]
pub struct Requests(SyncSender<Request>);

/// Control cannot take a request now: its queue is full, or it has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("control takes no requests")]
pub struct Busy;

impl Requests {
    /// `places`: requests that may wait.
    pub fn channel(places: usize) -> (Self, Receiver<Request>) {
        let (sender, receiver) = sync_channel(places);
        (Self(sender), receiver)
    }

    /// Never blocks.
    pub fn ask(&self, request: Request) -> Result<(), Busy> {
        self.0.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
        })
    }
}
