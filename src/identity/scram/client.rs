//! The end that faces servers: [`begin`], then server-first, then the keys (derived elsewhere: PBKDF2 is slow), then
//! server-final. A server's messages are as untrusted as a client's.

use std::ops::Range;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cursor::{Cursor, is_printable};
use super::error::{ClientError, Malformed, shown};
use super::keys::{Keys, hmac_sha256, xor};
use super::verifier::positive;
use super::{MAX_MESSAGE, NONCE_BYTES, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, bound_attribute, decode, decode_32, encode};

/// How this login is bound to the server's TLS certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// No TLS, or a certificate without an end point: gs2 flag `n`.
    None,
    /// We could, and the server did not offer PLUS: gs2 flag `y`, so that a server that did offer it notices.
    NotOffered,
    /// PLUS, bound to the hash of the certificate received (RFC 5929, section 4.1).
    EndPoint(&'a [u8]),
}

impl Binding<'_> {
    /// The mechanism to name in SASLInitialResponse.
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::None | Self::NotOffered => SCRAM_SHA_256,
            Self::EndPoint(_) => SCRAM_SHA_256_PLUS,
        }
    }

    fn gs2_header(self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn attribute(self) -> String {
        match self {
            Self::None => "biws".to_owned(),
            Self::NotOffered => "eSws".to_owned(),
            Self::EndPoint(end_point) => bound_attribute(end_point),
        }
    }
}

/// Appends client-first to `out`. The name in it is empty, as libpq's: PostgreSQL takes that of StartupMessage.
pub fn begin(binding: Binding<'_>, nonce: [u8; NONCE_BYTES], out: &mut Vec<u8>) -> ExpectServerFirst {
    begin_with(binding, "", &encode(&nonce), out)
}

/// [`begin`] with name and nonce as text, so that published examples can be replayed.
pub(super) fn begin_with(binding: Binding<'_>, name: &str, nonce: &str, out: &mut Vec<u8>) -> ExpectServerFirst {
    let conversation = format!("n={name},r={nonce}").into_bytes();
    out.extend_from_slice(binding.gs2_header().as_bytes());
    out.extend_from_slice(&conversation);
    let nonce_from = conversation.len() - nonce.len();
    ExpectServerFirst {
        conversation,
        nonce_from,
        binding: binding.attribute(),
    }
}

/// Client-first is sent; server-first must come.
pub struct ExpectServerFirst {
    /// client-first-bare.
    conversation: Vec<u8>,
    /// Where our nonce begins in `conversation`; it ends with it.
    nonce_from: usize,
    /// The value of `c=`.
    binding: String,
}

impl ExpectServerFirst {
    /// Reads server-first. `most_iterations` caps what a server may make us compute.
    pub fn handle(self, server_first: &[u8], most_iterations: u32) -> Result<NeedKeys, ClientError> {
        let Self {
            mut conversation,
            nonce_from,
            binding,
        } = self;
        let first = ServerFirst::read(server_first)?;
        match first.nonce.strip_prefix(&conversation[nonce_from..]) {
            Some(theirs) if !theirs.is_empty() && is_printable(theirs) => {}
            Some(_) | None => return Err(ClientError::NonceMismatch),
        }
        if first.iterations > most_iterations {
            return Err(ClientError::TooManyIterations {
                asked: first.iterations,
                most: most_iterations,
            });
        }
        conversation.extend_from_slice(b",r=");
        let nonce_from = conversation.len();
        // server-first begins with `r=` and the nonce: `read` has seen to it.
        conversation.extend_from_slice(server_first.strip_prefix(b"r=").unwrap_or_default());
        let nonce = nonce_from..nonce_from + first.nonce.len();
        Ok(NeedKeys {
            salt: first.salt,
            iterations: first.iterations,
            conversation,
            nonce,
            binding,
        })
    }
}

/// Server-first is read; the keys for its salt and iterations are needed.
pub struct NeedKeys {
    pub salt: Vec<u8>,
    /// From 1 to the cap given.
    pub iterations: u32,
    /// client-first-bare, a comma, server-first.
    conversation: Vec<u8>,
    nonce: Range<usize>,
    binding: String,
}

impl NeedKeys {
    /// Appends client-final to `out`. `keys` are those of [`super::derive`] for this salt and these iterations.
    pub fn proceed(self, keys: &Keys, out: &mut Vec<u8>) -> ExpectServerFinal {
        let Self {
            mut conversation,
            nonce,
            binding,
            ..
        } = self;
        let from = conversation.len() + 1;
        let nonce = conversation[nonce].to_vec();
        for part in [&b",c="[..], binding.as_bytes(), b",r=", &nonce] {
            conversation.extend_from_slice(part);
        }
        let client_signature = hmac_sha256(&keys.stored_key(), &[&conversation]);
        let proof = xor(keys.client_key(), &client_signature);
        out.extend_from_slice(&conversation[from..]);
        out.extend_from_slice(b",p=");
        out.extend_from_slice(encode(&*proof).as_bytes());
        ExpectServerFinal {
            signature: Zeroizing::new(hmac_sha256(keys.server_key(), &[&conversation])),
        }
    }
}

/// Client-final is sent; server-final must come and show that the server knows the password too.
pub struct ExpectServerFinal {
    signature: Zeroizing<[u8; 32]>,
}

impl ExpectServerFinal {
    pub fn handle(self, server_final: &[u8]) -> Result<(), ClientError> {
        let mut cursor = open(server_final)?;
        if cursor.peek() == b'e' {
            return Err(ClientError::Refused(shown(cursor.value_of(b'e')?)));
        }
        let signature = decode_32(cursor.value_of(b'v')?).ok_or(ClientError::SignatureMalformed)?;
        if !cursor.at_end() {
            return Err(ClientError::Garbage);
        }
        if bool::from(signature.ct_eq(&*self.signature)) {
            Ok(())
        } else {
            Err(ClientError::SignatureMismatch)
        }
    }
}

struct ServerFirst<'a> {
    nonce: &'a [u8],
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn read(message: &'a [u8]) -> Result<Self, ClientError> {
        let mut cursor = open(message)?;
        if cursor.peek() == b'm' {
            return Err(ClientError::MandatoryExtension);
        }
        let nonce = cursor.value_of(b'r')?;
        let salt = decode(cursor.value_of(b's')?)
            .filter(|salt| !salt.is_empty())
            .ok_or(ClientError::Salt)?;
        let iterations = positive(cursor.value_of(b'i')?).ok_or(ClientError::Iterations)?;
        if !cursor.at_end() {
            return Err(ClientError::Garbage);
        }
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

fn open(message: &[u8]) -> Result<Cursor<'_>, ClientError> {
    if message.len() > MAX_MESSAGE {
        return Err(ClientError::TooLong);
    }
    Cursor::new(message).map_err(|malformed: Malformed| malformed.into())
}
