//! Authentication messages: what the gate asks of clients, and what servers ask of the gate.
//!
//! Only framing: what stands inside a SASL message is `identity::scram`'s.

use super::cursor::Cursor;
use super::tag::{backend, frontend};
use super::{WireError, write};

/// An Authentication message of a server (type `R`), without what it may carry for methods that we do not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    Ok,
    CleartextPassword,
    Md5Password {
        salt: [u8; 4],
    },
    /// The mechanisms offered, best first.
    Sasl(Mechanisms<'a>),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    /// Kerberos V5 (2), GSSAPI (7), GSSAPI continue (8), SSPI (9): known and never used.
    Unsupported {
        code: u32,
    },
}

impl<'a> Authentication<'a> {
    /// Decodes the body of an `R` message.
    ///
    /// # Errors
    /// `UnknownCode` for a kind that the protocol does not have; layout faults.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let decoded = match cursor.u32()? {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password { salt: cursor.array()? },
            10 => Self::Sasl(Mechanisms::decode(cursor.rest())?),
            11 => Self::SaslContinue(cursor.rest()),
            12 => Self::SaslFinal(cursor.rest()),
            code @ (2 | 7 | 8 | 9) => {
                cursor.rest();
                Self::Unsupported { code }
            }
            code => return Err(WireError::UnknownCode { code }),
        };
        cursor.finish()?;
        Ok(decoded)
    }
}

/// The list in AuthenticationSASL; checked when decoded, so that it can be walked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a> {
    body: &'a [u8],
}

impl<'a> Mechanisms<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        while !cursor.string()?.is_empty() {}
        cursor.finish()?;
        Ok(Self { body })
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut cursor = Cursor::new(self.body);
        std::iter::from_fn(move || cursor.string().ok().filter(|name| !name.is_empty()))
    }

    pub fn contains(&self, mechanism: &str) -> bool {
        self.iter().any(|name| name == mechanism.as_bytes())
    }
}

/// Appends AuthenticationOk.
pub fn encode_ok(out: &mut Vec<u8>) {
    encode(out, 0, |_| ());
}

/// Appends AuthenticationCleartextPassword. Never to a client without TLS.
pub fn encode_cleartext_password(out: &mut Vec<u8>) {
    encode(out, 3, |_| ());
}

/// Appends AuthenticationMD5Password. Scripted servers in tests send it; the gate asks no client for MD5.
pub fn encode_md5_password(out: &mut Vec<u8>, salt: [u8; 4]) {
    encode(out, 5, |out| out.extend_from_slice(&salt));
}

/// Appends AuthenticationSASL with the mechanisms offered, best first.
pub fn encode_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    encode(out, 10, |out| {
        for mechanism in mechanisms {
            write::string(out, mechanism.as_bytes());
        }
        out.push(0);
    });
}

/// Appends AuthenticationSASLContinue with a server's message of the mechanism.
pub fn encode_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    encode(out, 11, |out| out.extend_from_slice(data));
}

/// Appends AuthenticationSASLFinal.
pub fn encode_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    encode(out, 12, |out| out.extend_from_slice(data));
}

/// A client's SASLInitialResponse (type `p`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    pub mechanism: &'a [u8],
    /// `None` when the client sends nothing yet (length -1), which no mechanism of ours allows.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Decodes the body of a `p` message.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let mechanism = cursor.string()?;
        let data = match cursor.u32()? {
            u32::MAX => None,
            length => Some(cursor.bytes(length as usize)?),
        };
        cursor.finish()?;
        Ok(Self { mechanism, data })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        write::message(out, frontend::PASSWORD, |out| {
            write::string(out, self.mechanism);
            write::u32(out, self.data.map_or(u32::MAX, |data| data.len() as u32));
            out.extend_from_slice(self.data.unwrap_or_default());
        });
    }
}

/// The password in the body of a PasswordMessage (type `p`), without its zero byte. A secret: do not keep the slice.
///
/// # Errors
/// No zero byte, or bytes behind it.
pub fn decode_password(body: &[u8]) -> Result<&[u8], WireError> {
    let mut cursor = Cursor::new(body);
    let password = cursor.string()?;
    cursor.finish().map(|()| password)
}

/// Appends a PasswordMessage: a cleartext password, or an MD5 answer.
pub fn encode_password(out: &mut Vec<u8>, password: &[u8]) {
    write::message(out, frontend::PASSWORD, |out| write::string(out, password));
}

/// Appends a SASLResponse: its body is the mechanism's message and nothing else.
pub fn encode_sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    write::message(out, frontend::PASSWORD, |out| out.extend_from_slice(data));
}

fn encode(out: &mut Vec<u8>, code: u32, rest: impl FnOnce(&mut Vec<u8>)) {
    write::message(out, backend::AUTHENTICATION, |out| {
        write::u32(out, code);
        rest(out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn servers_requests_are_the_inverse_of_ours() {
        let decode = |message: &[u8]| Authentication::decode(&message[5..]).map(|found| format!("{found:?}"));
        let same = |message: Vec<u8>, expected: Authentication<'_>| {
            assert_eq!(decode(&message), Ok(format!("{expected:?}")));
        };
        same(encoded(encode_ok), Authentication::Ok);
        same(encoded(encode_cleartext_password), Authentication::CleartextPassword);
        same(
            encoded(|out| encode_md5_password(out, *b"salt")),
            Authentication::Md5Password { salt: *b"salt" },
        );
        same(
            encoded(|out| encode_sasl_continue(out, b"r=x")),
            Authentication::SaslContinue(b"r=x"),
        );
        same(
            encoded(|out| encode_sasl_final(out, b"v=x")),
            Authentication::SaslFinal(b"v=x"),
        );
        assert_eq!(encoded(encode_ok), b"R\0\0\0\x08\0\0\0\0");
    }

    #[test]
    fn mechanisms_are_listed_in_order() {
        let message = encoded(|out| encode_sasl(out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
        let Ok(Authentication::Sasl(mechanisms)) = Authentication::decode(&message[5..]) else {
            panic!("not SASL")
        };
        let names: Vec<_> = mechanisms.iter().collect();
        assert_eq!(names, [&b"SCRAM-SHA-256-PLUS"[..], b"SCRAM-SHA-256"]);
        assert!(mechanisms.contains("SCRAM-SHA-256") && !mechanisms.contains("SCRAM"));
    }

    #[test]
    fn broken_requests_are_refused() {
        let broken: [(&[u8], WireError); 7] = [
            (b"\0\0\0", WireError::Truncated),
            (b"\0\0\0\0x", WireError::TrailingBytes),
            (b"\0\0\0\x05sal", WireError::Truncated),
            (b"\0\0\0\x05salt!", WireError::TrailingBytes),
            (b"\0\0\0\x0aSCRAM", WireError::MissingTerminator),
            (b"\0\0\0\x0aSCRAM\0\0x", WireError::TrailingBytes),
            (b"\0\0\0\x0d", WireError::UnknownCode { code: 13 }),
        ];
        for (body, error) in broken {
            assert_eq!(Authentication::decode(body), Err(error), "{body:?}");
        }
        assert_eq!(
            Authentication::decode(b"\0\0\0\x07"),
            Ok(Authentication::Unsupported { code: 7 })
        );
        assert_eq!(
            Authentication::decode(b"\0\0\0\x08token"),
            Ok(Authentication::Unsupported { code: 8 })
        );
    }

    #[test]
    fn initial_responses_round_trip() {
        for data in [None, Some(&b""[..]), Some(&b"n,,n=,r=abc"[..])] {
            let response = SaslInitialResponse {
                mechanism: b"SCRAM-SHA-256",
                data,
            };
            let message = encoded(|out| response.encode(out));
            assert_eq!(SaslInitialResponse::decode(&message[5..]), Ok(response));
        }
        let broken: [(&[u8], WireError); 5] = [
            (b"SCRAM", WireError::MissingTerminator),
            (b"SCRAM\0\0\0", WireError::Truncated),
            (b"SCRAM\0\0\0\0\x02x", WireError::Truncated),
            (b"SCRAM\0\0\0\0\x02xyz", WireError::TrailingBytes),
            (b"SCRAM\0\xff\xff\xff\xfe", WireError::Truncated),
        ];
        for (body, error) in broken {
            assert_eq!(SaslInitialResponse::decode(body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn passwords_have_one_terminator_at_their_end() {
        let message = encoded(|out| encode_password(out, b"secret"));
        assert_eq!(decode_password(&message[5..]), Ok(&b"secret"[..]));
        assert_eq!(decode_password(b"secret"), Err(WireError::MissingTerminator));
        assert_eq!(decode_password(b"sec\0ret\0"), Err(WireError::TrailingBytes));
        assert_eq!(
            encoded(|out| encode_sasl_response(out, b"c=biws")),
            b"p\0\0\0\x0ac=biws"
        );
    }
}
