//! PostgreSQL protocol 3.0 and 3.2: framing, start-up, authentication, errors. Pure, in place, no IO.
//!
//! Decoders borrow from the bytes they are given and refuse what does not fit to the last byte; encoders append to a
//! `Vec<u8>` and never fail. Nothing here decides who may do what: that is `session` with `identity` and the policy.
//!
//! - [`initial`]: what a client may send first (StartupMessage, SSLRequest, GSSENCRequest, CancelRequest);
//! - [`parameters`]: a StartupMessage's pairs decoded as PostgreSQL does, then guarded;
//! - [`assemble`]: whole messages out of chunks, for the phases before relay;
//! - [`frame`]: follows message headers over arbitrary chunks during relay, keeping five bytes;
//! - [`count`]: messages by type, and transactions;
//! - [`authentication`], [`backend`], [`error`], [`cancel`], [`proxy_protocol`]: one codec each.
//!
//! Source of all layouts: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

pub mod assemble;
pub mod authentication;
pub mod backend;
pub mod cancel;
pub mod count;
pub mod error;
pub mod frame;
pub mod fuzz;
pub mod initial;
pub mod parameters;
pub mod proxy_protocol;
pub mod sqlstate;
pub mod tag;

mod cursor;
mod write;

/// Bytes that are not the protocol, as far as one decoder can tell. The session knows whose fault it is and which
/// SQLSTATE it becomes (08P01 towards clients).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// The length word is smaller than the fixed part of the message.
    #[error("message length {length} is below the least possible {least}")]
    LengthTooSmall { length: u32, least: u32 },
    /// The length word exceeds what this phase takes.
    #[error("message length {length} is above the {most} that are accepted here")]
    LengthTooLarge { length: u32, most: u32 },
    /// A type byte that does not exist, goes the other way or comes out of turn.
    #[error("message type {tag} is not expected here")]
    UnexpectedMessage { tag: u8 },
    /// A field runs over the end of its message.
    #[error("message ends in the middle of a field")]
    Truncated,
    /// Bytes behind the last field.
    #[error("message has bytes behind its last field")]
    TrailingBytes,
    /// A string without its zero byte.
    #[error("string without its terminator")]
    MissingTerminator,
    /// A code (authentication kind, transaction status) that the protocol does not have.
    #[error("code {code} does not exist")]
    UnknownCode { code: u32 },
}

impl WireError {
    /// Stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::LengthTooSmall { .. } => "length_too_small",
            Self::LengthTooLarge { .. } => "length_too_large",
            Self::UnexpectedMessage { .. } => "unexpected_message",
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing_bytes",
            Self::MissingTerminator => "missing_terminator",
            Self::UnknownCode { .. } => "unknown_code",
        }
    }

    /// What a client hears (08P01), in PostgreSQL's words for the same fault.
    pub fn client_text(&self) -> String {
        match self {
            Self::UnexpectedMessage { tag } => format!("invalid frontend message type {tag}"),
            Self::LengthTooSmall { .. } | Self::LengthTooLarge { .. } => "invalid message length".to_owned(),
            Self::Truncated => "insufficient data left in message".to_owned(),
            Self::MissingTerminator => "invalid string in message".to_owned(),
            Self::TrailingBytes | Self::UnknownCode { .. } => "invalid message format".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_told_as_postgresql_does() {
        let told = WireError::UnexpectedMessage { tag: b'p' }.client_text();
        assert_eq!(told, "invalid frontend message type 112");
    }
}
