//! What can be wrong with a SCRAM conversation, in PostgreSQL's own words where it has some (`auth-scram.c`).

use std::borrow::Cow;
use std::fmt;

/// Why a client's SCRAM conversation failed. Everything but [`ScramError::ProofFailed`] says what is wrong with the
/// client's bytes and depends on them and on the transport alone, so it may be told to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed(#[from] Malformed),
    #[error("invalid message length")]
    TooLong,
    #[error("client selected an invalid SASL authentication mechanism")]
    InvalidMechanism,
    /// The type as sent, cut to 30 bytes, `?` for what is not printable.
    #[error("unsupported SCRAM channel-binding type \"{0}\"")]
    UnsupportedBinding(String),
    #[error("SCRAM channel binding negotiation error")]
    BindingNegotiation,
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    #[error("client requires an unsupported SCRAM extension")]
    MandatoryExtension,
    #[error("non-printable characters in SCRAM nonce")]
    NoncePrintable,
    #[error("SCRAM channel binding check failed")]
    BindingCheckFailed,
    #[error("unexpected SCRAM channel-binding attribute in client-final-message")]
    BindingAttribute,
    #[error("invalid SCRAM response")]
    NonceMismatch,
    /// The password was wrong or the name unknown: nobody can tell which. The caller has the words for the client
    /// (`password authentication failed for user ...`).
    #[error("SCRAM proof does not match")]
    ProofFailed,
}

impl ScramError {
    /// As PostgreSQL: 08P01, 0A000, 28000, and 28P01 for a proof that failed.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::TooLong
            | Self::InvalidMechanism
            | Self::UnsupportedBinding(_)
            | Self::NoncePrintable
            | Self::BindingAttribute
            | Self::NonceMismatch => "08P01",
            Self::AuthorizationIdentity | Self::MandatoryExtension => "0A000",
            Self::BindingNegotiation | Self::BindingCheckFailed => "28000",
            Self::ProofFailed => "28P01",
        }
    }

    /// PostgreSQL's DETAIL, where it sends one.
    pub fn detail(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Malformed(malformed) => Some(Cow::Owned(malformed.to_string())),
            Self::BindingNegotiation => Some(Cow::Borrowed(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            )),
            Self::NonceMismatch => Some(Cow::Borrowed("Nonce does not match.")),
            Self::TooLong
            | Self::InvalidMechanism
            | Self::UnsupportedBinding(_)
            | Self::AuthorizationIdentity
            | Self::MandatoryExtension
            | Self::NoncePrintable
            | Self::BindingCheckFailed
            | Self::BindingAttribute
            | Self::ProofFailed => None,
        }
    }

    /// Stable name for the record.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "scram_malformed",
            Self::TooLong => "scram_too_long",
            Self::InvalidMechanism => "scram_invalid_mechanism",
            Self::UnsupportedBinding(_) => "scram_unsupported_binding",
            Self::BindingNegotiation => "scram_binding_negotiation",
            Self::AuthorizationIdentity => "scram_authorization_identity",
            Self::MandatoryExtension => "scram_mandatory_extension",
            Self::NoncePrintable => "scram_nonce_not_printable",
            Self::BindingCheckFailed => "scram_binding_check_failed",
            Self::BindingAttribute => "scram_binding_attribute",
            Self::NonceMismatch => "scram_nonce_mismatch",
            Self::ProofFailed => "scram_proof_failed",
        }
    }
}

/// The details of `malformed SCRAM message`, word for word as PostgreSQL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("The message is empty.")]
    Empty,
    #[error("Message length does not match input length.")]
    EmbeddedNul,
    #[error("The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.")]
    BindingMissing,
    #[error(
        "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data."
    )]
    BindingUnasked,
    #[error("Comma expected, but found character \"{}\".", Shown(*.0))]
    CommaExpected(u8),
    #[error("Unexpected channel-binding flag \"{}\".", Shown(*.0))]
    BindingFlag(u8),
    #[error("Unexpected attribute \"{}\" in client-first-message.", Shown(*.0))]
    UnexpectedAttribute(u8),
    #[error("Expected attribute \"{}\" but found \"{}\".", char::from(*.expected), Shown(*.found))]
    ExpectedAttribute { expected: u8, found: u8 },
    #[error("Expected character \"=\" for attribute \"{}\".", char::from(*.0))]
    ExpectedEquals(u8),
    #[error("Attribute expected, but found end of string.")]
    EndOfString,
    #[error("Attribute expected, but found invalid character \"{}\".", Shown(*.0))]
    InvalidAttribute(u8),
    #[error("Malformed proof in client-final-message.")]
    Proof,
    #[error("Garbage found at the end of client-final-message.")]
    Garbage,
}

/// Why a server's SCRAM conversation failed. The server is as untrusted as a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("the server sent a malformed SCRAM message: {0}")]
    Malformed(#[from] Malformed),
    #[error("the server sent a SCRAM message that is too long")]
    TooLong,
    #[error("the server requires a SCRAM extension that is not supported")]
    MandatoryExtension,
    #[error("the server's SCRAM nonce does not extend ours")]
    NonceMismatch,
    #[error("the server's SCRAM salt is empty or not base64")]
    Salt,
    #[error("the server's SCRAM iteration count is not a positive number")]
    Iterations,
    #[error("the server asks for {asked} SCRAM iterations, more than the {most} allowed")]
    TooManyIterations { asked: u32, most: u32 },
    #[error("the server's SCRAM message has garbage at its end")]
    Garbage,
    /// `e=` of server-final, cut to 30 bytes, `?` for what is not printable.
    #[error("the server refused the SCRAM exchange: {0}")]
    Refused(String),
    #[error("the server's SCRAM signature is not base64 of 32 bytes")]
    SignatureMalformed,
    #[error("the server's SCRAM signature is wrong: it does not know the password")]
    SignatureMismatch,
}

impl ClientError {
    /// Stable name for the record.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "server_scram_malformed",
            Self::TooLong => "server_scram_too_long",
            Self::MandatoryExtension => "server_scram_mandatory_extension",
            Self::NonceMismatch => "server_scram_nonce_mismatch",
            Self::Salt => "server_scram_salt",
            Self::Iterations => "server_scram_iterations",
            Self::TooManyIterations { .. } => "server_scram_too_many_iterations",
            Self::Garbage => "server_scram_garbage",
            Self::Refused(_) => "server_scram_refused",
            Self::SignatureMalformed => "server_scram_signature_malformed",
            Self::SignatureMismatch => "server_scram_signature_mismatch",
        }
    }
}

/// A peer's text made fit to show: at most 30 bytes, `?` for what is not printable (PostgreSQL's `sanitize_str`).
pub(super) fn shown(bytes: &[u8]) -> String {
    let printable = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    bytes.iter().take(30).map(printable).collect()
}

/// One byte of a peer made fit to show (PostgreSQL's `sanitize_char`).
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            byte if byte.is_ascii_graphic() => write!(f, "'{}'", char::from(byte)),
            byte => write!(f, "0x{byte:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_read_as_postgresql_s() {
        assert_eq!(
            Malformed::CommaExpected(b'x').to_string(),
            "Comma expected, but found character \"'x'\"."
        );
        assert_eq!(
            Malformed::BindingFlag(0).to_string(),
            "Unexpected channel-binding flag \"0x00\"."
        );
        let expected = Malformed::ExpectedAttribute {
            expected: b'r',
            found: 0xff,
        };
        assert_eq!(expected.to_string(), "Expected attribute \"r\" but found \"0xff\".");
        assert_eq!(
            ScramError::BindingNegotiation.detail().as_deref(),
            Some(
                "The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding."
            )
        );
    }

    #[test]
    fn a_peer_s_text_is_cut_and_printable() {
        assert_eq!(shown(b"tls-\x1b[2Junique"), "tls-?[2Junique");
        assert_eq!(shown(&[b'a'; 100]).len(), 30);
    }
}
