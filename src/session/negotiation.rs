//! The first bytes of a connection: encryption requests, cancels, and the StartupMessage itself.
//!
//! At most one SSLRequest and one GSSENCRequest (rules of PostgreSQL's `ProcessStartupPacket`): a client that has been
//! answered once has nothing to gain from asking again.

use crate::audit::Reason;
use crate::wire::initial::{Initial, StartupMessage};

use super::attempt::TlsMode;
use super::denial::{Denial, Said};

/// What has been asked for so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Negotiation {
    /// A byte has come: the peer is no mere port probe.
    pub heard: bool,
    gss_asked: bool,
    ssl_asked: bool,
    /// TLS is up, by SSLRequest or directly.
    pub encrypted: bool,
    pub direct: bool,
}

/// What one first message leads to.
pub(super) enum Next<'a> {
    /// Answer this one byte and keep reading.
    Answer(u8),
    /// Answer `S`, then TLS.
    StartTls,
    Cancel {
        process_id: u32,
        key: &'a [u8],
    },
    Startup(StartupMessage<'a>),
    /// A start-up message in clear where the listener requires TLS: only the record wants to know what it asks for.
    InClear(StartupMessage<'a>),
}

impl Negotiation {
    /// The first byte of a TLS handshake record.
    pub const TLS_HANDSHAKE: u8 = 0x16;

    /// Whether these bytes begin TLS without an SSLRequest.
    pub fn is_direct_tls(self, input: &[u8]) -> bool {
        !self.encrypted && !self.heard && input.first() == Some(&Self::TLS_HANDSHAKE)
    }

    /// Judges one first message. `more` says that bytes stand behind it already.
    pub fn step<'a>(&mut self, message: &'a [u8], mode: TlsMode, more: bool) -> Result<Next<'a>, Denial> {
        let initial =
            Initial::decode(message).map_err(|error| Denial::protocol(format!("invalid startup packet: {error}")))?;
        match initial {
            Initial::SslRequest => self.ssl(mode, more),
            Initial::GssEncRequest => self.gss(),
            Initial::Cancel(request) => Ok(Next::Cancel {
                process_id: request.process_id,
                key: request.key,
            }),
            Initial::Startup(message) if mode == TlsMode::Require && !self.encrypted => Ok(Next::InClear(message)),
            Initial::Startup(message) => Ok(Next::Startup(message)),
            Initial::UnsupportedVersion(version) => Err(Denial {
                message: version.unsupported().into(),
                ..Denial::of(Reason::UnsupportedProtocol, Said::default())
            }),
        }
    }

    fn ssl<'a>(&mut self, mode: TlsMode, more: bool) -> Result<Next<'a>, Denial> {
        if std::mem::replace(&mut self.ssl_asked, true) || self.encrypted {
            return Err(unsupported_again());
        }
        match mode {
            TlsMode::Off => Ok(Next::Answer(b'N')),
            // Whoever put them there could not know what the client will say under TLS (CVE-2021-23214).
            TlsMode::Allow | TlsMode::Require if more => Err(Denial {
                detail: Some(
                    "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."
                        .into(),
                ),
                ..Denial::protocol("received unencrypted data after SSL request")
            }),
            TlsMode::Allow | TlsMode::Require => Ok(Next::StartTls),
        }
    }

    fn gss<'a>(&mut self) -> Result<Next<'a>, Denial> {
        if std::mem::replace(&mut self.gss_asked, true) || self.encrypted {
            return Err(unsupported_again());
        }
        Ok(Next::Answer(b'N'))
    }
}

/// PostgreSQL takes a second request for a protocol version that it does not know.
fn unsupported_again() -> Denial {
    Denial {
        message: "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2".into(),
        ..Denial::of(Reason::UnsupportedProtocol, Said::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::initial;

    fn bytes(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn gss_is_refused_with_n_and_ssl_may_follow_it() {
        let mut negotiation = Negotiation::default();
        let (gss, ssl) = (
            bytes(initial::encode_gss_enc_request),
            bytes(initial::encode_ssl_request),
        );
        assert!(matches!(
            negotiation.step(&gss, TlsMode::Require, false),
            Ok(Next::Answer(b'N'))
        ));
        assert!(matches!(
            negotiation.step(&ssl, TlsMode::Require, false),
            Ok(Next::StartTls)
        ));
        assert!(
            negotiation.step(&gss, TlsMode::Require, false).is_err(),
            "once is enough"
        );
        assert!(
            negotiation.step(&ssl, TlsMode::Require, false).is_err(),
            "once is enough"
        );
    }

    #[test]
    fn clear_bytes_behind_an_accepted_ssl_request_are_refused() {
        let ssl = bytes(initial::encode_ssl_request);
        let denial = Negotiation::default()
            .step(&ssl, TlsMode::Allow, true)
            .err()
            .expect("refused");
        assert_eq!(denial.message, "received unencrypted data after SSL request");
        assert!(matches!(
            Negotiation::default().step(&ssl, TlsMode::Off, true),
            Ok(Next::Answer(b'N'))
        ));
    }

    #[test]
    fn a_cancel_needs_no_tls() {
        let cancel = bytes(|out| {
            initial::encode_cancel(
                out,
                crate::wire::cancel::CancelRequest {
                    process_id: 7,
                    key: &[1, 2, 3, 4, 5],
                },
            )
        });
        let mut negotiation = Negotiation::default();
        match negotiation.step(&cancel, TlsMode::Require, false) {
            Ok(Next::Cancel {
                process_id: 7,
                key: [1, 2, 3, 4, 5],
            }) => {}
            _ => panic!("a cancel with a key of five bytes"),
        };
    }
}
