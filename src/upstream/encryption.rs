//! The one byte a server sends after SSLRequest. Every TLS mode of a cluster requires TLS, so there is one good answer.

use crate::wire::initial::encode_ssl_request;

/// What the bytes received so far mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing has come yet.
    Awaited,
    /// The server takes TLS, and said nothing in clear behind it: the handshake may begin.
    Accepted,
}

/// Why TLS to the server cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EncryptionFault {
    #[error("the server does not offer TLS")]
    Declined,
    /// Whoever is on the path could put them there; they would be read as if they had come through TLS.
    #[error("the server sent bytes in clear behind its answer to SSLRequest")]
    BytesBehindAnswer,
    /// The start of an ErrorResponse. Its text came in clear and is not shown.
    #[error("the server answered SSLRequest with an error")]
    ErrorResponse,
    #[error("the server answered SSLRequest with byte {0:#04x}")]
    Unknown(u8),
}

impl EncryptionFault {
    /// Stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Declined => "server_tls_declined",
            Self::BytesBehindAnswer => "server_tls_bytes_behind_answer",
            Self::ErrorResponse => "server_tls_error_response",
            Self::Unknown(_) => "server_tls_unknown_answer",
        }
    }
}

/// Appends the SSLRequest. Nothing may follow it until the answer is there.
pub fn request(out: &mut Vec<u8>) {
    encode_ssl_request(out);
}

/// Judges everything the server has sent since [`request`].
pub fn answer(received: &[u8]) -> Result<Answer, EncryptionFault> {
    match received {
        [] => Ok(Answer::Awaited),
        [b'S'] => Ok(Answer::Accepted),
        [b'S', ..] => Err(EncryptionFault::BytesBehindAnswer),
        [b'N', ..] => Err(EncryptionFault::Declined),
        [b'E', ..] => Err(EncryptionFault::ErrorResponse),
        [other, ..] => Err(EncryptionFault::Unknown(*other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_and_nothing_behind_it() {
        assert_eq!(answer(b""), Ok(Answer::Awaited));
        assert_eq!(answer(b"S"), Ok(Answer::Accepted));
        assert_eq!(answer(b"S\x16"), Err(EncryptionFault::BytesBehindAnswer));
        assert_eq!(answer(b"SS"), Err(EncryptionFault::BytesBehindAnswer));
    }

    #[test]
    fn everything_else_ends_the_attempt() {
        assert_eq!(answer(b"N"), Err(EncryptionFault::Declined));
        assert_eq!(answer(b"E\0\0\0\x10SFATAL\0"), Err(EncryptionFault::ErrorResponse));
        for byte in (0..=u8::MAX).filter(|byte| !b"SNE".contains(byte)) {
            assert_eq!(answer(&[byte]), Err(EncryptionFault::Unknown(byte)));
        }
    }
}
