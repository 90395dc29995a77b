//! Reading `a=value,b=value` exactly as PostgreSQL does (`read_attr_value`, `read_any_attr` of `auth-scram.c`).

use super::error::Malformed;

/// What is left of one message. The end reads as NUL, which no message holds: [`Cursor::new`] has checked.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Refuses an empty message and one with a NUL inside.
    pub(super) fn new(message: &'a [u8]) -> Result<Self, Malformed> {
        if message.is_empty() {
            return Err(Malformed::Empty);
        }
        if message.contains(&0) {
            return Err(Malformed::EmbeddedNul);
        }
        Ok(Self { rest: message })
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, not taken; NUL at the end.
    pub(super) fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    /// Takes one byte; nothing at the end.
    pub(super) fn skip(&mut self) {
        self.rest = self.rest.split_first().map_or(&[], |(_, rest)| rest);
    }

    /// The value of the attribute that must come next, and its comma, if there is one.
    pub(super) fn value_of(&mut self, expected: u8) -> Result<&'a [u8], Malformed> {
        let found = self.peek();
        if found != expected {
            return Err(Malformed::ExpectedAttribute { expected, found });
        }
        self.value_after(expected)
    }

    /// Name and value of whatever attribute comes next, and its comma, if there is one.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let name = self.peek();
        if name == 0 {
            return Err(Malformed::EndOfString);
        }
        if !name.is_ascii_alphabetic() {
            return Err(Malformed::InvalidAttribute(name));
        }
        Ok((name, self.value_after(name)?))
    }

    fn value_after(&mut self, name: u8) -> Result<&'a [u8], Malformed> {
        self.skip();
        if self.peek() != b'=' {
            return Err(Malformed::ExpectedEquals(name));
        }
        self.skip();
        let end = memchr::memchr(b',', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip();
        Ok(value)
    }
}

/// Whether a nonce has only the characters that RFC 5802 allows in one (printable ASCII without the comma).
pub(super) fn is_printable(nonce: &[u8]) -> bool {
    nonce.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_one_by_one() {
        let mut cursor = Cursor::new(b"n=,r=a=b,x=").unwrap();
        assert_eq!(cursor.value_of(b'n'), Ok(&b""[..]));
        assert_eq!(cursor.value_of(b'r'), Ok(&b"a=b"[..]));
        assert_eq!(cursor.any(), Ok((b'x', &b""[..])));
        assert_eq!(cursor.any(), Err(Malformed::EndOfString));
        assert!(cursor.at_end());
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        assert_eq!(Cursor::new(b"").err(), Some(Malformed::Empty));
        assert_eq!(Cursor::new(b"n\0").err(), Some(Malformed::EmbeddedNul));
        assert_eq!(
            Cursor::new(b"1=").unwrap().any(),
            Err(Malformed::InvalidAttribute(b'1'))
        );
        assert_eq!(Cursor::new(b"n").unwrap().any(), Err(Malformed::ExpectedEquals(b'n')));
        let expected = Malformed::ExpectedAttribute {
            expected: b'r',
            found: b'n',
        };
        assert_eq!(Cursor::new(b"n=").unwrap().value_of(b'r'), Err(expected));
    }

    #[test]
    fn a_nonce_is_printable_without_comma() {
        assert!(is_printable(b"!~abc=/+"));
        assert!(!is_printable(b"a,b") && !is_printable(b"a b") && !is_printable("é".as_bytes()));
    }
}
