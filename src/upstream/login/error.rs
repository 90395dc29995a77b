//! Why a login to a server failed, and what the client hears of it.

use crate::identity::scram;
use crate::wire::WireError;
use crate::wire::error::{Fields, Report, encode_fields};
use crate::wire::sqlstate::SqlState;
use crate::wire::tag::backend;

/// One reason. `Display` is for record and log; the client hears [`LoginError::encode_for_client`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server said so itself.
    #[error("{0}")]
    Server(ServerReport),
    #[error("the server broke the protocol: {0}")]
    Wire(#[from] WireError),
    #[error("the server sent message type {tag} out of turn")]
    OutOfTurn { tag: u8 },
    /// The credential does not list it.
    #[error("the server asks for {asked}, which the credential does not allow")]
    MethodNotAllowed { asked: Asked },
    #[error("the server asks for {asked}, and the credential has no password")]
    NoPassword { asked: Asked },
    #[error("a cleartext password is only sent over TLS that verifies chain and name")]
    CleartextUnprotected,
    #[error("the server offers no SASL mechanism that can be used here")]
    NoMechanism,
    #[error(transparent)]
    Scram(#[from] scram::ClientError),
    #[error("the server wants to negotiate a protocol version although it was asked for 3.0")]
    Negotiation,
    #[error("the server sent too much before it was ready")]
    TooMuch,
    #[error("the server's cancel key is not one of protocol 3.0")]
    CancelKey,
    #[error("the server is in a transaction right after login")]
    NotIdle,
    #[error("the start-up message would be longer than servers take")]
    StartupTooLong,
    #[error("a setting has a name or value that a start-up message cannot carry")]
    Setting,
    /// The caller went on after an error, or gave what was not asked for.
    #[error("the login is not at a point where this can be given")]
    Misuse,
}

/// What a server asks the gate to prove itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// AuthenticationOk without any challenge.
    Nothing,
    Password,
    Md5,
    Sasl,
    /// Kerberos, GSSAPI, SSPI: the code in the Authentication message.
    Unsupported(u32),
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("no proof at all"),
            Self::Password => f.write_str("a cleartext password"),
            Self::Md5 => f.write_str("an MD5 password"),
            Self::Sasl => f.write_str("SASL"),
            Self::Unsupported(code) => write!(f, "authentication method {code}"),
        }
    }
}

/// A server's ErrorResponse, its fields checked and kept as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerReport {
    body: Box<[u8]>,
}

impl ServerReport {
    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        Fields::decode(body).map(|_| Self { body: body.into() })
    }

    /// The fields, borrowed. They were well formed when the report was made.
    pub fn fields(&self) -> Option<Fields<'_>> {
        Fields::decode(&self.body).ok()
    }

    /// The server's SQLSTATE, if it has the shape of one.
    pub fn sqlstate(&self) -> Option<[u8; 5]> {
        self.fields()?.sqlstate()
    }

    /// Class 28: the server did not let the role in.
    pub fn is_authorization_failure(&self) -> bool {
        self.fields().is_some_and(|fields| fields.is_authorization_failure())
    }

    /// The server's message, made fit to show: what is no UTF-8 is replaced. Untrusted text all the same.
    pub fn message(&self) -> String {
        let message = self.fields().and_then(|fields| fields.message()).unwrap_or_default();
        String::from_utf8_lossy(message).into_owned()
    }
}

impl std::fmt::Display for ServerReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sqlstate = self.sqlstate().unwrap_or(*b"?????");
        write!(
            f,
            "the server refused the login: {} ({})",
            self.message().escape_debug(),
            String::from_utf8_lossy(&sqlstate)
        )
    }
}

impl std::fmt::Debug for ServerReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerReport({self})")
    }
}

/// What a client hears when the server did not accept the gate.
pub const REJECTED: &str = "the server rejected the connection";
/// What a client hears when server and gate did not understand each other.
pub const FAILED: &str = "the connection to the server failed";

impl LoginError {
    /// Appends the one ErrorResponse that the client gets. A server's own report is passed on as it came, since it may
    /// say that there is no such database or no place left; but not class 28: the client's own proof was good, so it
    /// hears 08004, and nothing of the role that the gate uses.
    pub fn encode_for_client(&self, out: &mut Vec<u8>) {
        match self {
            Self::Server(report) => report.encode_for_client(out),
            Self::MethodNotAllowed { .. }
            | Self::NoPassword { .. }
            | Self::CleartextUnprotected
            | Self::NoMechanism
            | Self::Scram(_)
            | Self::StartupTooLong
            | Self::Setting => Report::fatal(SqlState::ServerRejectedConnection, REJECTED).encode(out),
            Self::Wire(_)
            | Self::OutOfTurn { .. }
            | Self::Negotiation
            | Self::TooMuch
            | Self::CancelKey
            | Self::NotIdle
            | Self::Misuse => Report::fatal(SqlState::ConnectionFailure, FAILED).encode(out),
        }
    }

    /// Stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Server(_) => "server_refused",
            Self::Wire(_) => "server_broke_protocol",
            Self::OutOfTurn { .. } => "server_out_of_turn",
            Self::MethodNotAllowed { .. } => "server_method_not_allowed",
            Self::NoPassword { .. } => "server_password_missing",
            Self::CleartextUnprotected => "server_cleartext_unprotected",
            Self::NoMechanism => "server_no_mechanism",
            Self::Scram(error) => error.as_str(),
            Self::Negotiation => "server_negotiates",
            Self::TooMuch => "server_too_much",
            Self::CancelKey => "server_cancel_key",
            Self::NotIdle => "server_not_idle",
            Self::StartupTooLong => "server_startup_too_long",
            Self::Setting => "server_setting",
            Self::Misuse => "server_login_misuse",
        }
    }
}

impl ServerReport {
    fn encode_for_client(&self, out: &mut Vec<u8>) {
        let rejected = || Report::fatal(SqlState::ServerRejectedConnection, REJECTED);
        match self.fields() {
            Some(fields) if fields.is_authorization_failure() => rejected().encode(out),
            Some(fields) if is_presentable(&fields) => encode_fields(out, backend::ERROR_RESPONSE, fields.iter()),
            Some(_) | None => rejected().encode(out),
        }
    }
}

/// Severity, SQLSTATE and message are there: what clients rely on.
fn is_presentable(fields: &Fields<'_>) -> bool {
    fields.severity().is_some() && fields.sqlstate().is_some() && fields.message().is_some()
}
