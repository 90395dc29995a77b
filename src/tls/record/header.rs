//! The five bytes in front of every record (RFC 8446 5.1).

use crate::tls::error::Violation;

pub(in crate::tls) const HEADER: usize = 5;

/// 2^14 + 256: the longest body of a protected record (RFC 8446 5.2). TLS 1.2 allows more, but no suite we have needs it.
pub(in crate::tls) const MAX_BODY: usize = 16_384 + 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    ApplicationData = 23,
}

impl ContentType {
    pub(in crate::tls) fn of(byte: u8) -> Option<Self> {
        match byte {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) struct Header {
    pub(in crate::tls) content: ContentType,
    /// Bytes behind the header.
    pub(in crate::tls) body: usize,
}

impl Header {
    /// `None`: fewer than five bytes.
    pub(in crate::tls) fn parse(bytes: &[u8]) -> Option<Result<Self, Violation>> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        Some(Self::decode(header))
    }

    fn decode(&[content, major, _minor, high, low]: &[u8; HEADER]) -> Result<Self, Violation> {
        let content = ContentType::of(content).ok_or(Violation::UnexpectedMessage)?;
        if major != 3 {
            return Err(Violation::Malformed);
        }
        let body = usize::from(u16::from_be_bytes([high, low]));
        if body > MAX_BODY {
            return Err(Violation::RecordTooLong);
        }
        Ok(Self { content, body })
    }

    /// Header and body.
    pub(in crate::tls) fn total(self) -> usize {
        HEADER + self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_up_to_the_limit_pass_and_one_more_does_not() {
        let at = |body: u16| {
            let [high, low] = body.to_be_bytes();
            Header::parse(&[23, 3, 3, high, low, 0xff])
        };
        assert_eq!(at(16_640).unwrap().unwrap().total(), 16_645);
        assert_eq!(at(16_641), Some(Err(Violation::RecordTooLong)));
        assert_eq!(Header::parse(&[23, 3, 3, 0]), None);
        assert_eq!(
            Header::parse(&[24, 3, 3, 0, 1]),
            Some(Err(Violation::UnexpectedMessage))
        );
        assert_eq!(Header::parse(&[23, 2, 3, 0, 1]), Some(Err(Violation::Malformed)));
    }
}
