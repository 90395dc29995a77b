//! What a core keeps of one connection: two lines and the phase between them.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::audit::{Peer, SessionId};
use crate::control::credentials::Credential;
use crate::ring::socket::Address;
use crate::session::{Gate, Passage};
use crate::time::Mono;
use crate::tls::{Handshake, UpstreamTls};

use super::admission;
use super::line::{Line, Side};
use super::reference::SessionReference;

/// One connection of a core.
pub struct Connection {
    pub reference: SessionReference,
    pub client: Line,
    pub server: Line,
    pub phase: Phase,
    /// The place among "sessions at once", from the permit to the end.
    pub admission: Option<admission::Key>,
    /// Where the server connection leads, for cancels; of an errand, where it leads itself.
    pub destination: Option<Arc<Destination>>,
    /// The earliest call that stands in the timers; `Mono(u64::MAX)` when none does.
    pub wake_at: Mono,
    /// A cancel on its way: it has no place to give back.
    pub is_errand: bool,
}

/// From the first byte to the close.
#[expect(
    clippy::large_enum_variant,
    reason = "a session spends its life in relay; the other phases are boxed"
)]
pub enum Phase {
    Login(Box<Login>),
    Relay(Passage),
    /// A cancel on its way to a server; there is no client.
    Errand(Box<super::errand::Errand>),
    /// Sending what is owed, closing sockets. At the deadline the rest is dropped.
    Closing {
        deadline: Mono,
    },
}

impl Connection {
    pub fn new(reference: SessionReference, phase: Phase) -> Self {
        Self {
            reference,
            client: Line::default(),
            server: Line::default(),
            phase,
            admission: None,
            destination: None,
            wake_at: Mono(u64::MAX),
            is_errand: false,
        }
    }

    pub fn line(&mut self, side: Side) -> &mut Line {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// What is needed until the relay, and freed there.
pub struct Login {
    pub front: Front,
    pub listener: usize,
    /// Beyond the places: only to be told that there is no room.
    pub over: bool,
    pub session: SessionId,
    pub accepted: Mono,
    pub client_handshake: Option<Handshake>,
    pub server_handshake: Option<Handshake>,
    /// Plaintext of the client that the gate does not read yet: it belongs to the relay.
    pub early: Zeroizing<Vec<u8>>,
    pub destinations: Arc<[Arc<Destination>]>,
    pub credential: Option<Arc<Credential>>,
    /// The candidate to connect to once the server's slot is free.
    pub candidate: Option<usize>,
}

/// Who speaks first on this listener.
pub enum Front {
    /// A PROXY protocol header must come; what has come of it, and the proxy's own address.
    Proxy {
        held: Vec<u8>,
        proxy: Peer,
    },
    Gate(Box<Gate>),
}

/// One address of a cluster.
pub struct Destination {
    pub address: Address,
    pub server: crate::audit::ServerAddress,
    /// The name that its certificate is checked against.
    pub host: Box<str>,
    /// `None`: the cluster is reached in clear.
    pub tls: Option<Arc<UpstreamTls>>,
}
