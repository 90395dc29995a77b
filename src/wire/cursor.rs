//! Reads the fields of one message, borrowed, front to back.

use super::WireError;

/// What is left of a message's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*field)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    /// A string up to its zero byte, which is consumed and not returned.
    pub(super) fn string(&mut self) -> Result<&'a [u8], WireError> {
        let end = memchr::memchr(0, self.rest).ok_or(WireError::MissingTerminator)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Refuses bytes behind the last field.
    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::TrailingBytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_refuses_what_is_left() {
        let mut cursor = Cursor::new(b"\x01\x00\x02\x00\x00\x00\x03ab\0cd!");
        assert_eq!((cursor.u8(), cursor.u16(), cursor.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(cursor.string(), Ok(&b"ab"[..]));
        assert_eq!(cursor.bytes(2), Ok(&b"cd"[..]));
        assert_eq!(cursor.finish(), Err(WireError::TrailingBytes));
        assert_eq!(cursor.string(), Err(WireError::MissingTerminator));
        assert_eq!(cursor.u16(), Err(WireError::Truncated));
        assert_eq!(cursor.bytes(2), Err(WireError::Truncated));
        assert_eq!(cursor.rest(), b"!");
        assert_eq!(cursor.finish(), Ok(()));
    }
}
