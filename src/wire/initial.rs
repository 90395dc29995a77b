//! The untagged first message of a client: StartupMessage, SSLRequest, GSSENCRequest or CancelRequest.
//!
//! Limits are PostgreSQL's (`ProcessStartupPacket`): at most 10,000 bytes behind the length word, at least the code.

use super::cursor::Cursor;
use super::{WireError, cancel, write};

/// Greatest length word of a first message: `MAX_STARTUP_PACKET_LENGTH` (10,000) and the word itself.
pub const MAX_LENGTH: u32 = 10_004;
/// Least length word: itself and the request code.
pub const MIN_LENGTH: u32 = 8;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENC_REQUEST: u32 = 80_877_104;

/// What one first message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial<'a> {
    SslRequest,
    GssEncRequest,
    Cancel(cancel::CancelRequest<'a>),
    Startup(StartupMessage<'a>),
    /// A major version that is not 3 (or an unknown request code, which looks the same): SQLSTATE 0A000 and the text of
    /// [`ProtocolVersion`]'s `unsupported`.
    UnsupportedVersion(ProtocolVersion),
}

impl<'a> Initial<'a> {
    /// Decodes a whole first message, its length word included.
    ///
    /// # Errors
    /// When the lengths do not fit, or the request has more or fewer bytes than its kind.
    pub fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(message);
        let length = cursor.u32()?;
        check_length(length)?;
        let mut cursor = Cursor::new(
            cursor
                .bytes(length as usize - 4)
                .and_then(|body| cursor.finish().map(|()| body))?,
        );
        match cursor.u32()? {
            SSL_REQUEST => cursor.finish().map(|()| Self::SslRequest),
            GSS_ENC_REQUEST => cursor.finish().map(|()| Self::GssEncRequest),
            CANCEL_REQUEST => cancel::CancelRequest::decode(cursor.rest()).map(Self::Cancel),
            version => Ok(Self::of_version(ProtocolVersion(version), cursor.rest())),
        }
    }

    fn of_version(version: ProtocolVersion, parameters: &'a [u8]) -> Self {
        if version.major() == 3 {
            Self::Startup(StartupMessage { version, parameters })
        } else {
            Self::UnsupportedVersion(version)
        }
    }
}

/// Refuses a length word that no first message has.
pub fn check_length(length: u32) -> Result<(), WireError> {
    if length < MIN_LENGTH {
        return Err(WireError::LengthTooSmall {
            length,
            least: MIN_LENGTH,
        });
    }
    if length > MAX_LENGTH {
        return Err(WireError::LengthTooLarge {
            length,
            most: MAX_LENGTH,
        });
    }
    Ok(())
}

/// A protocol version as it stands on the wire: major in the upper half, minor in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion(pub u32);

impl ProtocolVersion {
    pub const V3_0: Self = Self(3 << 16);
    /// The newest that is spoken here (PostgreSQL 18).
    pub const V3_2: Self = Self(3 << 16 | 2);

    pub fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub fn minor(self) -> u16 {
        self.0 as u16
    }

    /// What is spoken with a client that asked for this: no more than 3.2. 3.1 was never used, and is taken at its word
    /// as PostgreSQL does: it differs from 3.0 in nothing.
    pub fn spoken(self) -> Self {
        self.min(Self::V3_2)
    }

    /// Cancel keys of more than four bytes came with 3.2.
    pub fn has_long_cancel_keys(self) -> bool {
        self >= Self::V3_2
    }

    /// PostgreSQL's words for a version that it does not speak (0A000).
    pub fn unsupported(self) -> String {
        format!(
            "unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
            self.major(),
            self.minor()
        )
    }
}

/// A StartupMessage of major version 3, its parameters not yet looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    pub version: ProtocolVersion,
    parameters: &'a [u8],
}

impl<'a> StartupMessage<'a> {
    /// The pairs in the order sent. The last item is an error when the layout is broken: PostgreSQL's text for that is
    /// [`LAYOUT`], 08P01.
    pub fn parameters(&self) -> Pairs<'a> {
        Pairs {
            cursor: Some(Cursor::new(self.parameters)),
        }
    }

    /// The protocol options (`_pq_.*`) the client asks for. We know none, so each belongs in NegotiateProtocolVersion.
    pub fn protocol_options(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.parameters()
            .map_while(Result::ok)
            .map(|(name, _)| name)
            .filter(|name| name.starts_with(PROTOCOL_OPTION))
    }

    /// Whether a NegotiateProtocolVersion is owed before authentication starts.
    pub fn must_negotiate(&self) -> bool {
        self.version > ProtocolVersion::V3_2 || self.protocol_options().next().is_some()
    }
}

/// Names of protocol options begin with this, in exactly this case.
pub const PROTOCOL_OPTION: &[u8] = b"_pq_.";

/// PostgreSQL's words for a StartupMessage whose pairs do not end where the message does (08P01).
pub const LAYOUT: &str = "invalid startup packet layout: expected terminator as last byte";

/// Name and value of one parameter, neither with its zero byte.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// Iterates over the parameters of a StartupMessage.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    /// `None` once the terminator or an error was met.
    cursor: Option<Cursor<'a>>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut cursor = self.cursor.take()?;
        match pair(&mut cursor) {
            Ok(None) => cursor.finish().err().map(Err),
            Ok(Some(pair)) => {
                self.cursor = Some(cursor);
                Some(Ok(pair))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

fn pair<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Pair<'a>>, WireError> {
    let name = cursor.string()?;
    if name.is_empty() {
        return Ok(None);
    }
    Ok(Some((name, cursor.string()?)))
}

/// Appends a StartupMessage.
pub fn encode_startup<'a>(out: &mut Vec<u8>, version: ProtocolVersion, pairs: impl IntoIterator<Item = Pair<'a>>) {
    write::initial(out, |out| {
        write::u32(out, version.0);
        for (name, value) in pairs {
            write::string(out, name);
            write::string(out, value);
        }
        out.push(0);
    });
}

/// Appends an SSLRequest.
pub fn encode_ssl_request(out: &mut Vec<u8>) {
    write::initial(out, |out| write::u32(out, SSL_REQUEST));
}

/// Appends a GSSENCRequest. Only tests and the load generator send one.
pub fn encode_gss_enc_request(out: &mut Vec<u8>) {
    write::initial(out, |out| write::u32(out, GSS_ENC_REQUEST));
}

/// Appends a CancelRequest.
pub fn encode_cancel(out: &mut Vec<u8>, request: cancel::CancelRequest<'_>) {
    write::initial(out, |out| {
        write::u32(out, CANCEL_REQUEST);
        request.encode_body(out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(version: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write::initial(&mut out, |out| {
            write::u32(out, version);
            out.extend_from_slice(body);
        });
        out
    }

    fn pairs(message: &[u8]) -> Vec<Result<Pair<'_>, WireError>> {
        match Initial::decode(message) {
            Ok(Initial::Startup(startup)) => startup.parameters().collect(),
            other => panic!("not a StartupMessage: {other:?}"),
        }
    }

    #[test]
    fn requests_are_told_apart() {
        let mut out = Vec::new();
        encode_ssl_request(&mut out);
        assert_eq!(out, [0, 0, 0, 8, 4, 210, 22, 47]);
        assert_eq!(Initial::decode(&out), Ok(Initial::SslRequest));
        out.clear();
        encode_gss_enc_request(&mut out);
        assert_eq!(out, [0, 0, 0, 8, 4, 210, 22, 48]);
        assert_eq!(Initial::decode(&out), Ok(Initial::GssEncRequest));
    }

    #[test]
    fn requests_with_extra_bytes_are_refused() {
        for code in [SSL_REQUEST, GSS_ENC_REQUEST] {
            assert_eq!(Initial::decode(&startup(code, b"x")), Err(WireError::TrailingBytes));
        }
    }

    #[test]
    fn cancel_keys_have_any_length_from_4_to_256() {
        for length in [4, 5, 32, 255, 256] {
            let key = vec![7; length];
            let request = cancel::CancelRequest {
                process_id: 77,
                key: &key,
            };
            let mut out = Vec::new();
            encode_cancel(&mut out, request);
            assert_eq!(Initial::decode(&out), Ok(Initial::Cancel(request)));
        }
        for length in [0, 3, 257] {
            let body = vec![0; 4 + length];
            assert!(
                Initial::decode(&startup(CANCEL_REQUEST, &body)).is_err(),
                "key of {length} bytes"
            );
        }
    }

    #[test]
    fn lengths_at_the_edges() {
        assert_eq!(
            Initial::decode(&[0, 0, 0, 7, 0, 3, 0]),
            Err(WireError::LengthTooSmall { length: 7, least: 8 })
        );
        let value = vec![b'x'; 10_000 - 4 - 6 - 1];
        let message = startup(3 << 16, &[&b"user\0"[..], &value, b"\0\0"].concat());
        assert_eq!(message.len(), 10_004);
        assert_eq!(pairs(&message), [Ok((&b"user"[..], &value[..]))]);
        let longer = startup(3 << 16, &vec![0; 9_997]);
        assert_eq!(
            Initial::decode(&longer),
            Err(WireError::LengthTooLarge {
                length: 10_005,
                most: MAX_LENGTH
            })
        );
        assert_eq!(Initial::decode(&message[..9_000]), Err(WireError::Truncated));
        assert_eq!(
            Initial::decode(&[&message[..], b"x"].concat()),
            Err(WireError::TrailingBytes)
        );
    }

    #[test]
    fn pairs_end_with_the_message() {
        let message = startup(3 << 16, b"user\0alice\0database\0\0\0");
        assert_eq!(
            pairs(&message),
            [Ok((&b"user"[..], &b"alice"[..])), Ok((&b"database"[..], &b""[..]))]
        );
        let broken: [(&[u8], WireError); 4] = [
            (b"", WireError::MissingTerminator),
            (b"user\0alice\0", WireError::MissingTerminator),
            (b"user\0alic", WireError::MissingTerminator),
            (b"\0user\0alice\0\0", WireError::TrailingBytes),
        ];
        for (body, error) in broken {
            assert_eq!(pairs(&startup(3 << 16, body)).last(), Some(&Err(error)), "{body:?}");
        }
    }

    #[test]
    fn versions_are_negotiated_as_postgresql_does() {
        let negotiation = |version: u32, body: &[u8]| match Initial::decode(&startup(version, body)) {
            Ok(Initial::Startup(message)) => (message.must_negotiate(), message.version.spoken()),
            other => panic!("not a StartupMessage: {other:?}"),
        };
        let plain = b"user\0a\0\0";
        let with_option = b"user\0a\0_pq_.x\0on\0\0";
        assert_eq!(negotiation(3 << 16, plain), (false, ProtocolVersion::V3_0));
        assert_eq!(negotiation(3 << 16, with_option), (true, ProtocolVersion::V3_0));
        assert_eq!(negotiation(3 << 16 | 1, plain), (false, ProtocolVersion(3 << 16 | 1)));
        assert_eq!(negotiation(3 << 16 | 2, plain), (false, ProtocolVersion::V3_2));
        assert_eq!(negotiation(3 << 16 | 2, with_option), (true, ProtocolVersion::V3_2));
        assert_eq!(negotiation(3 << 16 | 3, plain), (true, ProtocolVersion::V3_2));
        assert_eq!(negotiation(3 << 16 | 9999, plain), (true, ProtocolVersion::V3_2));
    }

    #[test]
    fn other_majors_are_named() {
        for (version, text) in [
            (2 << 16, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"),
            (
                4 << 16 | 7,
                "unsupported frontend protocol 4.7: server supports 3.0 to 3.2",
            ),
            (0, "unsupported frontend protocol 0.0: server supports 3.0 to 3.2"),
        ] {
            let message = startup(version, b"");
            assert_eq!(
                Initial::decode(&message),
                Ok(Initial::UnsupportedVersion(ProtocolVersion(version)))
            );
            assert_eq!(ProtocolVersion(version).unsupported(), text);
        }
    }

    #[test]
    fn encoding_is_the_inverse_of_decoding() {
        let sent: [(&[u8], &[u8]); 2] = [(b"user", b"alice"), (b"application_name", b"psql")];
        let mut out = Vec::new();
        encode_startup(&mut out, ProtocolVersion::V3_0, sent);
        assert_eq!(pairs(&out), sent.map(Ok));
    }
}
