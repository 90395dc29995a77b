//! What a server says between AuthenticationOk and the first statement: parameters, cancel key, readiness, and the
//! protocol version it will speak.

use super::cancel::checked_key;
use super::cursor::Cursor;
use super::initial::ProtocolVersion;
use super::tag::backend;
use super::{WireError, write};

/// The current value of one setting that the server reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Decodes the body of an `S` message.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let (name, value) = (cursor.string()?, cursor.string()?);
        cursor.finish().map(|()| Self { name, value })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        write::message(out, backend::PARAMETER_STATUS, |out| {
            write::string(out, self.name);
            write::string(out, self.value);
        });
    }
}

/// Process id and secret for cancelling: four bytes of secret in 3.0, up to 256 in 3.2. The secret is compared in
/// constant time and printed nowhere.
#[derive(Clone, Copy)]
pub struct BackendKeyData<'a> {
    pub process_id: u32,
    pub key: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Decodes the body of a `K` message.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let process_id = cursor.u32()?;
        let key = checked_key(cursor.rest())?;
        Ok(Self { process_id, key })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        write::message(out, backend::BACKEND_KEY_DATA, |out| {
            write::u32(out, self.process_id);
            out.extend_from_slice(self.key);
        });
    }
}

/// What the server is in when it says ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

impl TransactionStatus {
    pub fn from_byte(byte: u8) -> Result<Self, WireError> {
        match byte {
            b'I' => Ok(Self::Idle),
            b'T' => Ok(Self::InTransaction),
            b'E' => Ok(Self::Failed),
            code => Err(WireError::UnknownCode { code: u32::from(code) }),
        }
    }

    pub fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }

    /// Decodes the body of a `Z` message.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let status = Self::from_byte(cursor.u8()?)?;
        cursor.finish().map(|()| status)
    }
}

/// Appends ReadyForQuery.
pub fn encode_ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    write::message(out, backend::READY_FOR_QUERY, |out| out.push(status.as_byte()));
}

/// Appends NegotiateProtocolVersion: the version that will be spoken (whole, as PostgreSQL sends it, not only its
/// minor half) and every protocol option that is not known.
pub fn encode_negotiate_protocol_version<'a>(
    out: &mut Vec<u8>,
    spoken: ProtocolVersion,
    unknown: impl Iterator<Item = &'a [u8]> + Clone,
) {
    write::message(out, backend::NEGOTIATE_PROTOCOL_VERSION, |out| {
        write::u32(out, spoken.0);
        write::u32(out, unknown.clone().count() as u32);
        for option in unknown {
            write::string(out, option);
        }
    });
}

/// A server's NegotiateProtocolVersion. The gate asks for 3.0 without options, so it is never owed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    pub newest: ProtocolVersion,
    pub unknown: Vec<&'a [u8]>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Decodes the body of a `v` message.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let newest = ProtocolVersion(cursor.u32()?);
        let count = cursor.u32()?;
        // The count is the peer's: collecting stops at the first string that is not there, whatever it says.
        let unknown = (0..count).map(|_| cursor.string()).collect::<Result<Vec<_>, _>>()?;
        cursor.finish().map(|()| Self { newest, unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_round_trip() {
        let status = ParameterStatus {
            name: b"server_version",
            value: b"18.0",
        };
        let mut out = Vec::new();
        status.encode(&mut out);
        assert_eq!(out, b"S\0\0\0\x18server_version\x0018.0\0");
        assert_eq!(ParameterStatus::decode(&out[5..]), Ok(status));
        assert_eq!(ParameterStatus::decode(b"a\0b"), Err(WireError::MissingTerminator));
        assert_eq!(ParameterStatus::decode(b"a\0b\0c"), Err(WireError::TrailingBytes));
    }

    #[test]
    fn keys_of_every_length_round_trip() {
        for length in [4, 32, 256] {
            let key = vec![9; length];
            let mut out = Vec::new();
            BackendKeyData {
                process_id: u32::MAX,
                key: &key,
            }
            .encode(&mut out);
            let decoded = BackendKeyData::decode(&out[5..]).expect("well formed");
            assert_eq!((decoded.process_id, decoded.key), (u32::MAX, &key[..]));
        }
        assert!(BackendKeyData::decode(b"\0\0\0\x01abc").is_err());
        assert!(BackendKeyData::decode(&[0; 4 + 257]).is_err());
    }

    #[test]
    fn statuses_round_trip_and_others_are_refused() {
        for byte in 0..=u8::MAX {
            match TransactionStatus::decode(&[byte]) {
                Ok(status) => assert_eq!(status.as_byte(), byte),
                Err(error) => assert!(!b"ITE".contains(&byte) && error == WireError::UnknownCode { code: byte.into() }),
            }
        }
        assert_eq!(TransactionStatus::decode(b"II"), Err(WireError::TrailingBytes));
        let mut out = Vec::new();
        encode_ready_for_query(&mut out, TransactionStatus::Idle);
        assert_eq!(out, b"Z\0\0\0\x05I");
    }

    #[test]
    fn negotiation_carries_the_whole_version() {
        let mut out = Vec::new();
        let options: [&[u8]; 2] = [b"_pq_.a", b"_pq_.b"];
        encode_negotiate_protocol_version(&mut out, ProtocolVersion::V3_2, options.into_iter());
        assert_eq!(out, b"v\0\0\0\x1a\0\x03\0\x02\0\0\0\x02_pq_.a\0_pq_.b\0");
        let decoded = NegotiateProtocolVersion {
            newest: ProtocolVersion::V3_2,
            unknown: options.to_vec(),
        };
        assert_eq!(NegotiateProtocolVersion::decode(&out[5..]), Ok(decoded));
        assert_eq!(
            NegotiateProtocolVersion::decode(b"\0\x03\0\0\xff\xff\xff\xff"),
            Err(WireError::MissingTerminator)
        );
    }
}
