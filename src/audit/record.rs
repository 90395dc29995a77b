//! What is recorded, as types. Pure: no clock, no file; `encode` gives it its form.
//!
//! No type here may carry a secret: no password, no token, no key, no statement text, no value of a start-up setting.

use std::sync::Arc;

use core::net::SocketAddr;

use super::reason::{EndReason, Outcome, Reason};
use super::session_id::SessionId;
use super::text::PeerText;
use crate::time::Utc;

/// A name that the policy or the configuration wrote (an identity, a grant, a listener). Shared, never a peer's choice.
pub type Name = Arc<str>;

/// One line of the record.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Attempt(Box<Attempt>),
    End(Box<End>),
    Policy(Box<Policy>),
    Process(Box<Process>),
    /// What the writer says about the record itself.
    Audit(Box<Audit>),
}

/// One connection that tried to get in. Exactly one for each connection, whatever became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// When the outcome was known.
    pub at: Utc,
    pub session: SessionId,
    pub outcome: Outcome,
    pub reason: Reason,
    pub listener: Option<Name>,
    pub peer: Peer,
    /// The proxy that spoke for `peer` in a PROXY protocol header.
    pub proxy: Option<Peer>,
    pub tls: Option<TlsFacts>,
    /// SHA-256 of the client certificate that the handshake took, accepted by the policy or not.
    pub certificate: Option<[u8; 32]>,
    /// What the client said of itself. Nothing of it is verified.
    pub asked: Asked,
    /// Who it was found to be. Set also where the decision was no.
    pub identity: Option<Name>,
    /// What was proven. Empty until a proof is good.
    pub proofs: Proofs,
    /// What a provider says, once its signature, or its own connection, vouches for that.
    pub assertion: Option<Box<Assertion>>,
    /// The authentication rule that named the method.
    pub rule: Option<Name>,
    pub grant: Option<Name>,
    /// The deny rule, where one decided.
    pub deny: Option<Name>,
    pub role: Option<Name>,
    pub cluster: Option<Name>,
    /// Known here only when the server answered before the outcome; the end record has it in any case.
    pub server: Option<Server>,
    pub server_error: Option<ServerError>,
    /// What the reason cannot say, in words: what failed in the TLS handshake, a webhook's own reason, why a provider could not be
    /// asked.
    pub detail: Option<Box<str>>,
    /// SQLSTATE of the error that the client was told.
    pub sqlstate: Option<[u8; 5]>,
    /// For a cancel: the session that it meant.
    pub target: Option<SessionId>,
    pub policy: Option<PolicyId>,
    pub micros: Micros,
}

impl Attempt {
    /// An attempt of which nothing is known but where it came from.
    pub fn new(at: Utc, session: SessionId, peer: Peer, outcome: Outcome, reason: Reason) -> Self {
        Self {
            at,
            session,
            outcome,
            reason,
            listener: None,
            peer,
            proxy: None,
            tls: None,
            certificate: None,
            asked: Asked::default(),
            identity: None,
            proofs: Proofs::default(),
            assertion: None,
            rule: None,
            grant: None,
            deny: None,
            role: None,
            cluster: None,
            server: None,
            server_error: None,
            detail: None,
            sqlstate: None,
            target: None,
            policy: None,
            micros: Micros::default(),
        }
    }

    /// Whether a stranger could have caused it. Such records share a byte budget and are aggregated beyond it. A revoked token
    /// is signed and has not expired: whoever floods the gate does not hide that it was used.
    pub fn is_before_proof(&self) -> bool {
        self.proofs == Proofs::default() && self.reason != Reason::TokenRevoked
    }
}

/// A permitted attempt that has closed. Exactly one for each permitted attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub at: Utc,
    pub session: SessionId,
    pub how: EndReason,
    pub identity: Option<Name>,
    pub grant: Option<Name>,
    pub role: Option<Name>,
    pub cluster: Option<Name>,
    pub server: Option<Server>,
    /// The FATAL error with which the server ended the session, or refused the login.
    pub server_error: Option<ServerError>,
    /// Why there was no login at the server, in words, where the server has not said so itself.
    pub detail: Option<Box<str>>,
    /// SQLSTATE of the error that the gate itself sent last.
    pub sqlstate: Option<[u8; 5]>,
    /// Microseconds in the server's login, connecting included.
    pub upstream_micros: Option<u64>,
    /// Microseconds from the permit to the close.
    pub duration_micros: u64,
    pub from_client: Traffic,
    pub from_server: Traffic,
    /// Transactions that ended, explicit or implicit, well or badly; a lone Sync is none.
    pub transactions: u64,
}

impl End {
    /// An end without figures.
    pub fn new(at: Utc, session: SessionId, how: EndReason) -> Self {
        Self {
            at,
            session,
            how,
            identity: None,
            grant: None,
            role: None,
            cluster: None,
            server: None,
            server_error: None,
            detail: None,
            sqlstate: None,
            upstream_micros: None,
            duration_micros: 0,
            from_client: Traffic::default(),
            from_server: Traffic::default(),
            transactions: 0,
        }
    }
}

/// Where a connection came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An IPv4-mapped address is shown as IPv4.
    Ip(SocketAddr),
    /// A Unix socket; the kernel's word on the process, where it was asked.
    Unix { process: Option<u32>, uid: Option<u32> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFacts {
    pub version: TlsVersion,
    /// The registered name (`TLS_AES_256_GCM_SHA384`).
    pub cipher: &'static str,
    pub resumed: bool,
    /// TLS from the first byte, without an SSLRequest.
    pub direct: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl TlsVersion {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// What a client said of itself in its start-up message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub user: Option<PeerText>,
    pub database: Option<PeerText>,
    pub application_name: Option<PeerText>,
    /// Names of the settings sent, in `options` or beside it; never their values. At most
    /// [`PEER_NAMES_CAP`](super::text::PEER_NAMES_CAP) are written.
    pub settings: Vec<PeerText>,
    /// Asked for a replication connection.
    pub replication: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proofs {
    pub certificate: bool,
    pub scram: Option<ScramProof>,
    pub token: Option<TokenProof>,
    pub webhook: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenProof {
    Bearer,
    /// Bound to the client's certificate (RFC 8705, section 3).
    Bound,
}

/// What a token or a webhook says of its subject: who says it, and by what it can be found at the provider. Never the
/// token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    pub provider: Name,
    pub subject: Option<PeerText>,
    /// `jti`.
    pub token_id: Option<PeerText>,
    /// `kid`.
    pub key_id: Option<PeerText>,
    /// When the token ends.
    pub expires: Option<Utc>,
    /// By name: the revocation that it falls under.
    pub revocation: Option<Name>,
}

impl Assertion {
    pub fn by(provider: Name) -> Self {
        Self {
            provider,
            subject: None,
            token_id: None,
            key_id: None,
            expires: None,
            revocation: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramProof {
    /// SCRAM-SHA-256
    Plain,
    /// SCRAM-SHA-256-PLUS: bound to this TLS channel.
    Plus,
}

/// The server connection of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub address: ServerAddress,
    /// From BackendKeyData.
    pub process: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerAddress {
    Ip(SocketAddr),
    /// Path of the socket, as the policy wrote it.
    Unix(Name),
}

/// What a server said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    pub sqlstate: Option<[u8; 5]>,
    pub message: PeerText,
}

/// The snapshot that was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyId {
    pub generation: u64,
    pub hash: [u8; 32],
}

/// Microseconds spent in each phase, as far as it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Micros {
    pub tls: Option<u64>,
    pub proof: Option<u64>,
    pub decision: Option<u64>,
    pub upstream: Option<u64>,
    /// From accept to the outcome.
    pub total: Option<u64>,
}

/// What came from one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Plaintext bytes of relayed messages.
    pub bytes: u64,
    /// Message type and how many of it came; each type at most once, only those that came.
    pub messages: Box<[(u8, u64)]>,
}

/// What happened to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    Loaded {
        at: Utc,
        policy: PolicyId,
        identities: u64,
        grants: u64,
    },
    /// Nothing changed: `serving` is still in force (none at start).
    Rejected {
        at: Utc,
        serving: Option<PolicyId>,
        faults: Vec<PolicyFault>,
    },
}

/// One fault of a rejected policy. The record has at most [`POLICY_FAULTS_CAP`] of them and says how many there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    pub file: String,
    /// Line and column, from 1; zero where a fault belongs to no place.
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl From<&postern_policy::fault::Fault> for PolicyFault {
    fn from(fault: &postern_policy::fault::Fault) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            file: fault.file.clone(),
            line: number(fault.line),
            column: number(fault.column),
            message: fault.message.clone(),
        }
    }
}

/// Faults of one rejected policy that are written.
pub const POLICY_FAULTS_CAP: usize = 50;

/// What happened to the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    Started {
        at: Utc,
        /// The first part of this process's session ids.
        process: u64,
        pid: u32,
        version: &'static str,
        cores: u16,
        listeners: Vec<Name>,
    },
    Stopped {
        at: Utc,
        /// `signal`, or what else made it stop.
        why: StopReason,
        /// Sessions ended by the drain.
        sessions_ended: u64,
    },
    /// Certificates, keys or client CAs of listeners were read again.
    ListenersReloaded {
        at: Utc,
        listeners: Vec<Name>,
        faults: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    Signal,
    /// A fault that the gate could not serve on with; the operator's log has it.
    Fault,
}

impl StopReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Fault => "fault",
        }
    }
}

/// What the writer says about the record itself. Only the writer makes these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// The file did not end with a whole line when it was opened; the torn line has been ended.
    TornTail { at: Utc, bytes: u64 },
    /// The file before this one is now called `previous`; `deleted` was the oldest one.
    Rotated {
        at: Utc,
        previous: String,
        deleted: Option<String>,
    },
    /// Records did not fit anywhere while writing failed or fell behind, and are gone.
    Dropped { at: Utc, since: Utc, counts: Dropped },
    /// Writing works again after a failure.
    Resumed {
        at: Utc,
        since: Utc,
        error: String,
        refused: u64,
    },
    /// Attempts beyond the budget, counted instead of written one by one.
    AttemptsAggregated {
        at: Utc,
        since: Utc,
        counts: Vec<(Outcome, Reason, u64)>,
    },
}

/// Records that are gone, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Permit records; only with `on_failure = "drop"`.
    pub permits: u64,
    pub ends: u64,
    pub others: u64,
}

impl Dropped {
    pub fn total(self) -> u64 {
        self.permits + self.ends + self.others
    }
}
