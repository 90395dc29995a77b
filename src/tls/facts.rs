//! What a finished handshake established, for the decision, the channel binding and the record.

use rustls::{CipherSuite, ProtocolVersion};
use rustls_pki_types::CertificateDer;

/// What is known once a handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeFacts {
    pub version: Version,
    /// The suite's IANA name.
    pub cipher: &'static str,
    /// No full handshake: the certificates are those of the first one, and are judged again all the same.
    pub resumed: bool,
    /// The peers agreed on `postgresql` as application protocol.
    pub alpn: bool,
    /// As the peer sent it, leaf first; empty when it sent none. The peer holds the leaf's key; nothing else is checked
    /// of a client's.
    pub peer_chain: Vec<CertificateDer<'static>>,
    /// Towards a server: it asked for a client certificate (CertificateRequest, RFC 8446 4.3.2), and the role's was sent.
    pub certificate_shown: bool,
    /// `tls-server-end-point` (RFC 5929) of the server's certificate in this handshake: ours towards a client, its own
    /// towards a server. `None` where the binding is not defined (Ed25519).
    pub end_point: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    #[default]
    Tls12,
    Tls13,
}

impl Version {
    /// As OpenSSL and `pg_stat_ssl` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    pub(super) fn of(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }
}

/// The IANA name; `unknown` cannot happen with the suites we offer (a test goes through them).
pub(super) fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_we_offer_has_a_name() {
        for suite in rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES {
            assert_ne!(cipher_name(suite.suite()), "unknown", "{suite:?}");
        }
    }
}
