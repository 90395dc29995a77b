//! What is known of a connection that is trying to get in, gathered as it becomes known.

use core::net::IpAddr;

use postern_policy::authenticate::Source;
use rustls_pki_types::CertificateDer;

use crate::audit::{Asked, Attempt, Micros, Name, Outcome, Peer, PeerText, PolicyId, Reason, SessionId, TlsFacts};
use crate::in_force::InForce;
use crate::time::{Mono, Utc};
use crate::wire::parameters::{Replication, StartupParameters};
use crate::wire::sqlstate::SqlState;

/// Where a connection arrived and what holds for everyone who arrives there.
#[derive(Debug, Clone)]
pub struct Entrance {
    pub session: SessionId,
    pub listener: Name,
    pub tls: TlsMode,
    pub peer: Peer,
    /// The proxy that named `peer` in a PROXY protocol header.
    pub proxy: Option<Peer>,
    pub accepted: Mono,
    /// From accept to the complete StartupMessage, milliseconds.
    pub startup_timeout: u64,
    /// From the StartupMessage to the proof, milliseconds.
    pub authentication_timeout: u64,
    /// Whoever comes is turned away for this reason once it has said who it is.
    pub refusing: Option<Reason>,
}

impl Entrance {
    pub fn source(&self) -> Source {
        match self.peer {
            Peer::Ip(address) => Source::Ip(address.ip().to_canonical()),
            Peer::Unix { .. } => Source::Unix,
        }
    }

    /// As PostgreSQL shows it in errors: an address, or `[local]`.
    pub fn host(&self) -> String {
        match self.peer {
            Peer::Ip(address) => address.ip().to_canonical().to_string(),
            Peer::Unix { .. } => "[local]".to_owned(),
        }
    }

    /// The address, where there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix { .. } => None,
        }
    }
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// SSLRequest is answered `N`; direct TLS is refused.
    Off,
    Allow,
    /// A StartupMessage in clear is refused; a CancelRequest in clear is not.
    Require,
}

/// What a finished TLS handshake with a client has shown.
#[derive(Debug, Clone)]
pub struct ClientTls {
    pub facts: TlsFacts,
    /// ALPN `postgresql` was agreed on. Direct TLS needs it.
    pub alpn: bool,
    /// As sent, leaf first; empty when the client has no certificate. The handshake showed that the client holds the key.
    pub chain: Vec<CertificateDer<'static>>,
    /// `tls-server-end-point` of the certificate that this handshake sent.
    pub end_point: Option<Box<[u8]>>,
}

/// The attempt record in the making, and the moments its figures are made of.
pub(super) struct Draft {
    attempt: Box<Attempt>,
    accepted: Mono,
    proof_asked: Option<Mono>,
}

impl Draft {
    pub(super) fn new(entrance: &Entrance) -> Self {
        let mut attempt = Box::new(Attempt::new(
            Utc(0),
            entrance.session,
            entrance.peer,
            Outcome::Abandoned,
            Reason::ClientClosed,
        ));
        attempt.listener = Some(entrance.listener.clone());
        attempt.proxy = entrance.proxy;
        Self {
            attempt,
            accepted: entrance.accepted,
            proof_asked: None,
        }
    }

    pub(super) fn tls(&mut self, facts: TlsFacts, micros: u64) {
        self.attempt.tls = Some(facts);
        self.attempt.micros.tls = Some(micros);
    }

    pub(super) fn asked(&mut self, parameters: &StartupParameters) {
        self.attempt.asked = Asked {
            user: Some(PeerText::from(parameters.user())),
            database: Some(PeerText::from(parameters.database())),
            application_name: parameters.application_name().map(PeerText::from),
            settings: parameters
                .settings()
                .iter()
                .map(|setting| PeerText::from(setting.name.as_str()))
                .collect(),
            replication: parameters.replication() != Replication::No,
        };
    }

    pub(super) fn proof_asked(&mut self, now: Mono) {
        self.proof_asked = Some(now);
    }

    pub(super) fn proof_given(&mut self, now: Mono) {
        self.attempt.micros.proof = self.proof_asked.map(|asked| now.micros_since(asked));
    }

    pub(super) fn policy(&mut self, in_force: &InForce) {
        let snapshot = &in_force.snapshot;
        self.attempt.policy = Some(PolicyId {
            generation: snapshot.generation(),
            hash: *snapshot.hash(),
        });
    }

    pub(super) fn fill(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    pub(super) fn micros(&mut self) -> &mut Micros {
        &mut self.attempt.micros
    }

    /// The finished record. The draft is used up: an attempt has one record.
    pub(super) fn finish(
        &mut self,
        utc: Utc,
        now: Mono,
        outcome: Outcome,
        reason: Reason,
        sqlstate: Option<SqlState>,
    ) -> Box<Attempt> {
        let attempt = &mut self.attempt;
        attempt.at = utc;
        attempt.outcome = outcome;
        attempt.reason = reason;
        attempt.sqlstate = sqlstate.map(SqlState::bytes);
        attempt.micros.total = Some(now.micros_since(self.accepted));
        attempt.clone()
    }
}
