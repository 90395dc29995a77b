//! Everything that can go wrong on a link: whose fault it is, its stable name, and the alert that tells the peer.

use rustls::{CertificateError, Error as Rustls, InvalidMessage};

use super::alert::Alert;
use super::server_certificate::ServerCertificateFault;

/// Why a handshake or a link ended. Final: a machine that gave one gives the same one ever after.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The first bytes are no TLS record.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// No version, suite, group or signature scheme in common.
    #[error("the peer and we have no TLS parameters in common: {0}")]
    Incompatible(Box<str>),
    /// The client offered application protocols and `postgresql` was not among them.
    #[error("the peer offers no application protocol that we speak")]
    NoApplicationProtocol,
    /// The handshake broke a rule that rustls checks.
    #[error("the peer broke the rules of the handshake: {0}")]
    Misbehaved(Box<str>),
    /// The peer's certificate cannot be read.
    #[error("the peer's certificate is malformed: {0}")]
    CertificateMalformed(Box<str>),
    /// The peer does not hold the key of the certificate it showed.
    #[error("the peer's signature does not fit the certificate it showed")]
    KeyNotHeld,
    /// The server's certificate does not satisfy the cluster's TLS mode.
    #[error("the server's certificate is refused: {0}")]
    ServerCertificate(ServerCertificateFault),
    /// The cluster's host (or `server_name`) can be verified as neither DNS name nor address.
    #[error("{0} is neither a DNS name nor an address; set `server_name` in the cluster's `tls` table")]
    BadServerName(Box<str>),
    /// The peer gave up with this fatal alert.
    #[error("the peer ended TLS with alert {0}")]
    AlertReceived(Alert),
    /// The peer closed (close_notify) before the handshake was done.
    #[error("the peer closed during the handshake")]
    ClosedInHandshake,
    /// A record did not authenticate: garbled, replayed, out of order, or under another key.
    #[error("a record does not authenticate")]
    DecryptFailed,
    /// A record broke a rule of the record layer or of messages after the handshake.
    #[error("the peer broke the record protocol: {0}")]
    Violation(Violation),
    /// TLS 1.2 only: the key has protected as much as it safely can, and there is no way to change it.
    #[error("the connection's key has protected as much as it safely can")]
    KeysWornOut,
    /// The caller broke the contract of this room.
    #[error("the link was used wrongly: {0}")]
    Misuse(Misuse),
    /// The crypto library or the system's random source failed.
    #[error("TLS failed inside: {0}")]
    Internal(Box<str>),
}

/// What a peer did to the record protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a record is longer than 2^14 + 256 bytes")]
    RecordTooLong,
    #[error("a record's plaintext is longer than 2^14 bytes")]
    PlaintextTooLong,
    #[error("a record has no content type")]
    NoContentType,
    #[error("a record or message of this type is not allowed here")]
    UnexpectedMessage,
    #[error("a message cannot be decoded")]
    Malformed,
    #[error("too many empty records in a row")]
    EmptyRecordFlood,
    #[error("too many warning alerts")]
    WarningFlood,
    #[error("too many key updates without data between them")]
    KeyUpdateFlood,
    #[error("asked again for a renegotiation after it was refused")]
    RenegotiationFlood,
    #[error("more handshake bytes or records than the cap allows")]
    HandshakeFlood,
}

/// What our own caller did. Never reachable from a peer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    #[error("sealed before the owed answer was flushed")]
    OwedFirst,
    #[error("sealed after close_notify or a fatal alert")]
    SealedAfterClose,
    #[error("no room for header and tag around the plaintext")]
    NoRoom,
    #[error("more plaintext than one record may hold")]
    PlaintextTooLong,
    #[error("the handshake was driven on after it was done")]
    HandshakeDone,
}

/// Who has to change something for it to go better next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The other end of this link.
    Peer,
    /// Whoever configured certificates and TLS modes.
    Operator,
    Ours,
}

impl TlsError {
    /// The stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotTls => "tls_not_tls",
            Self::Incompatible(_) => "tls_incompatible",
            Self::NoApplicationProtocol => "tls_no_application_protocol",
            Self::Misbehaved(_) => "tls_misbehaved",
            Self::CertificateMalformed(_) => "tls_certificate_malformed",
            Self::KeyNotHeld => "tls_key_not_held",
            Self::ServerCertificate(fault) => fault.as_str(),
            Self::BadServerName(_) => "tls_bad_server_name",
            Self::AlertReceived(_) => "tls_alert_received",
            Self::ClosedInHandshake => "tls_closed_in_handshake",
            Self::DecryptFailed => "tls_decrypt_failed",
            Self::Violation(violation) => violation.as_str(),
            Self::KeysWornOut => "tls_keys_worn_out",
            Self::Misuse(_) => "tls_misuse",
            Self::Internal(_) => "tls_internal",
        }
    }

    pub fn fault(&self) -> Fault {
        match self {
            Self::ServerCertificate(_) | Self::BadServerName(_) => Fault::Operator,
            Self::KeysWornOut | Self::Misuse(_) | Self::Internal(_) => Fault::Ours,
            Self::NotTls
            | Self::Incompatible(_)
            | Self::NoApplicationProtocol
            | Self::Misbehaved(_)
            | Self::CertificateMalformed(_)
            | Self::KeyNotHeld
            | Self::AlertReceived(_)
            | Self::ClosedInHandshake
            | Self::DecryptFailed
            | Self::Violation(_) => Fault::Peer,
        }
    }

    /// The fatal alert that an established link owes the peer for this error; `None` where silence is right.
    /// (During the handshake rustls chooses the alert.)
    pub(super) fn alert(&self) -> Option<Alert> {
        match self {
            Self::DecryptFailed => Some(Alert::BAD_RECORD_MAC),
            Self::Violation(violation) => Some(violation.alert()),
            Self::KeysWornOut => Some(Alert::CLOSE_NOTIFY),
            Self::Internal(_) | Self::Misuse(_) => Some(Alert::INTERNAL_ERROR),
            Self::AlertReceived(_) => None,
            Self::NotTls
            | Self::Incompatible(_)
            | Self::NoApplicationProtocol
            | Self::Misbehaved(_)
            | Self::CertificateMalformed(_)
            | Self::KeyNotHeld
            | Self::ServerCertificate(_)
            | Self::BadServerName(_)
            | Self::ClosedInHandshake => None,
        }
    }
}

impl Violation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RecordTooLong => "tls_record_too_long",
            Self::PlaintextTooLong => "tls_plaintext_too_long",
            Self::NoContentType => "tls_no_content_type",
            Self::UnexpectedMessage => "tls_unexpected_message",
            Self::Malformed => "tls_malformed",
            Self::EmptyRecordFlood => "tls_empty_record_flood",
            Self::WarningFlood => "tls_warning_flood",
            Self::KeyUpdateFlood => "tls_key_update_flood",
            Self::RenegotiationFlood => "tls_renegotiation_flood",
            Self::HandshakeFlood => "tls_handshake_flood",
        }
    }

    fn alert(self) -> Alert {
        match self {
            Self::RecordTooLong | Self::PlaintextTooLong => Alert::RECORD_OVERFLOW,
            Self::Malformed => Alert::DECODE_ERROR,
            Self::NoContentType
            | Self::UnexpectedMessage
            | Self::EmptyRecordFlood
            | Self::WarningFlood
            | Self::KeyUpdateFlood
            | Self::RenegotiationFlood
            | Self::HandshakeFlood => Alert::UNEXPECTED_MESSAGE,
        }
    }
}

impl From<Violation> for TlsError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Misuse> for TlsError {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

/// rustls' errors are an open set; ours is closed. What has no name of its own becomes [`TlsError::Misbehaved`] or
/// [`TlsError::Internal`] with rustls' words.
impl From<Rustls> for TlsError {
    fn from(error: Rustls) -> Self {
        let words = || error.to_string().into_boxed_str();
        match &error {
            Rustls::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                Self::NotTls
            }
            Rustls::PeerSentOversizedRecord | Rustls::InvalidMessage(InvalidMessage::MessageTooLarge) => {
                Violation::RecordTooLong.into()
            }
            Rustls::PeerIncompatible(_) => Self::Incompatible(words()),
            Rustls::NoApplicationProtocol => Self::NoApplicationProtocol,
            Rustls::AlertReceived(alert) => Self::AlertReceived(Alert(u8::from(*alert))),
            Rustls::DecryptError => Self::DecryptFailed,
            Rustls::InvalidCertificate(fault) => from_certificate_error(fault),
            Rustls::General(_)
            | Rustls::FailedToGetCurrentTime
            | Rustls::FailedToGetRandomBytes
            | Rustls::EncryptError
            | Rustls::HandshakeNotComplete
            | Rustls::BadMaxFragmentSize
            | Rustls::InconsistentKeys(_)
            | Rustls::Other(_) => Self::Internal(words()),
            _ => Self::Misbehaved(words()),
        }
    }
}

fn from_certificate_error(fault: &CertificateError) -> TlsError {
    match fault {
        CertificateError::BadSignature => TlsError::KeyNotHeld,
        CertificateError::Other(other) => match other.0.downcast_ref::<ServerCertificateFault>() {
            Some(fault) => TlsError::ServerCertificate(fault.clone()),
            None => TlsError::CertificateMalformed(other.to_string().into_boxed_str()),
        },
        other => TlsError::CertificateMalformed(other.to_string().into_boxed_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_garbled_record_is_the_peers_fault_and_owes_bad_record_mac() {
        let error = TlsError::from(Rustls::DecryptError);
        assert_eq!((error.as_str(), error.fault()), ("tls_decrypt_failed", Fault::Peer));
        assert_eq!(error.alert(), Some(Alert::BAD_RECORD_MAC));
    }

    #[test]
    fn nothing_is_sent_in_answer_to_an_alert() {
        assert_eq!(TlsError::AlertReceived(Alert(48)).alert(), None);
        assert_eq!(
            TlsError::AlertReceived(Alert(48)).to_string(),
            "the peer ended TLS with alert unknown_ca (48)"
        );
    }

    #[test]
    fn plain_http_is_not_tls() {
        let error = Rustls::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(TlsError::from(error), TlsError::NotTls);
    }
}
