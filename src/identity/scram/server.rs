//! The end that faces clients: [`begin`] answers client-first, [`ExpectClientFinal::finish`] judges client-final.
//!
//! Follows PostgreSQL's `auth-scram.c` check by check. The name inside SCRAM is ignored, as PostgreSQL does. Where a
//! client sends SASLInitialResponse without data, the caller answers with an empty SASLContinue and calls [`begin`] with
//! what comes next.

use std::ops::Range;

use postern_policy::identity::ScramVerifierView;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::cursor::{Cursor, is_printable};
use super::error::{Malformed, ScramError, shown};
use super::keys::{hmac_sha256, sha256, xor};
use super::{
    END_POINT, MAX_MESSAGE, NONCE_BYTES, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, bound_attribute, decode_32, encode,
};

/// What this connection can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// No TLS, or TLS with a certificate that has no `tls-server-end-point`: PLUS is not offered.
    None,
    /// PLUS is offered. `end_point` is the hash of the certificate sent in this handshake (RFC 5929, section 4.1).
    Offered { end_point: &'a [u8] },
}

/// The mechanisms to offer, in PostgreSQL's order.
pub fn mechanisms(binding: Binding<'_>) -> &'static [&'static str] {
    match binding {
        Binding::None => &[SCRAM_SHA_256],
        Binding::Offered { .. } => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
    }
}

/// What the proof is checked against: a verifier's copy, or a mock that runs to its end and never matches.
pub struct Against {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Zeroizing<[u8; 32]>,
    server_key: Zeroizing<[u8; 32]>,
    doomed: bool,
}

impl Against {
    /// `found` is the verifier of `name`, if there is one; the mock shows `rule_iterations`. Does the same work either way.
    /// The same unknown name meets the same salt for as long as `gate_secret` stays.
    pub fn of(found: Option<ScramVerifierView<'_>>, name: &str, gate_secret: &[u8; 32], rule_iterations: u32) -> Self {
        let salt = mock_salt(gate_secret, name);
        let mock = ScramVerifierView {
            iterations: rule_iterations,
            salt: &salt,
            stored_key: &[0; 32],
            server_key: &[0; 32],
        };
        let doomed = found.is_none();
        let ScramVerifierView {
            iterations,
            salt,
            stored_key,
            server_key,
        } = found.unwrap_or(mock);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Zeroizing::new(*stored_key),
            server_key: Zeroizing::new(*server_key),
            doomed,
        }
    }

    #[cfg(test)]
    pub(super) fn doom(&mut self) {
        self.doomed = true;
    }
}

/// The salt shown for a name without a verifier: as long as PostgreSQL's, the same on every core and after a restart.
pub fn mock_salt(gate_secret: &[u8; 32], name: &str) -> [u8; 16] {
    let long = hmac_sha256(gate_secret, &[b"postern mock salt\0", name.as_bytes()]);
    std::array::from_fn(|at| long[at])
}

/// Reads client-first and appends server-first to `out`. `mechanism` is the client's choice; `nonce` fresh random bytes.
pub fn begin(
    mechanism: &[u8],
    client_first: &[u8],
    against: Against,
    binding: Binding<'_>,
    nonce: [u8; NONCE_BYTES],
    out: &mut Vec<u8>,
) -> Result<ExpectClientFinal, ScramError> {
    begin_with(
        mechanism,
        client_first,
        against,
        binding,
        encode(&nonce).as_bytes(),
        out,
    )
}

/// [`begin`] with our part of the nonce as text, so that published examples can be replayed.
pub(super) fn begin_with(
    mechanism: &[u8],
    client_first: &[u8],
    against: Against,
    binding: Binding<'_>,
    nonce: &[u8],
    out: &mut Vec<u8>,
) -> Result<ExpectClientFinal, ScramError> {
    let chosen = Chosen::by(mechanism, binding)?;
    let first = ClientFirst::read(client_first, chosen, binding)?;
    let mut conversation = first.bare.to_vec();
    conversation.extend_from_slice(b",r=");
    let nonce_from = conversation.len();
    let server_first_from = nonce_from - "r=".len();
    conversation.extend_from_slice(first.nonce);
    conversation.extend_from_slice(nonce);
    let nonce = nonce_from..conversation.len();
    let cost = format!(",s={},i={}", encode(&against.salt), against.iterations);
    conversation.extend_from_slice(cost.as_bytes());
    out.extend_from_slice(&conversation[server_first_from..]);
    Ok(ExpectClientFinal {
        against,
        conversation,
        nonce,
        bound: first.bound,
    })
}

/// Server-first is sent; client-final must come.
pub struct ExpectClientFinal {
    against: Against,
    /// client-first-bare, a comma, server-first: the beginning of AuthMessage.
    conversation: Vec<u8>,
    /// Where the whole nonce stands in `conversation`.
    nonce: Range<usize>,
    bound: Bound,
}

impl ExpectClientFinal {
    /// Judges client-final; when it proves the password, appends server-final to `out`.
    pub fn finish(self, client_final: &[u8], out: &mut Vec<u8>) -> Result<Verified, ScramError> {
        let last = ClientFinal::read(client_final, &self.bound)?;
        if !bool::from(last.nonce.ct_eq(&self.conversation[self.nonce.clone()])) {
            return Err(ScramError::NonceMismatch);
        }
        let said: [&[u8]; 3] = [&self.conversation, b",", last.without_proof];
        // A mock does all the work too and is told apart only here, without a branch of its own.
        let matches = self.proves(&last.proof, &said) & !Choice::from(u8::from(self.against.doomed));
        if !bool::from(matches) {
            return Err(ScramError::ProofFailed);
        }
        let signature = hmac_sha256(&*self.against.server_key, &said);
        out.extend_from_slice(b"v=");
        out.extend_from_slice(encode(&signature).as_bytes());
        Ok(Verified {
            channel_bound: matches!(self.bound, Bound::To(_)),
        })
    }

    /// RFC 5802, section 3: ClientKey = ClientProof XOR ClientSignature, and its hash is StoredKey.
    fn proves(&self, proof: &[u8; 32], said: &[&[u8]]) -> Choice {
        let client_signature = hmac_sha256(&*self.against.stored_key, said);
        let client_key = xor(proof, &client_signature);
        sha256(&*client_key).ct_eq(&*self.against.stored_key)
    }
}

/// The client has proved that it knows the password. Only [`ExpectClientFinal::finish`] makes one.
#[derive(Debug)]
pub struct Verified {
    channel_bound: bool,
}

impl Verified {
    /// Whether the proof was bound to this TLS connection (SCRAM-SHA-256-PLUS).
    pub fn channel_bound(&self) -> bool {
        self.channel_bound
    }
}

/// The mechanism the client chose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Plain,
    Plus,
}

impl Chosen {
    fn by(mechanism: &[u8], binding: Binding<'_>) -> Result<Self, ScramError> {
        let plus_offered = matches!(binding, Binding::Offered { .. });
        if mechanism == SCRAM_SHA_256.as_bytes() {
            Ok(Self::Plain)
        } else if mechanism == SCRAM_SHA_256_PLUS.as_bytes() && plus_offered {
            Ok(Self::Plus)
        } else {
            Err(ScramError::InvalidMechanism)
        }
    }
}

/// What `c=` of client-final must say.
enum Bound {
    /// gs2 flag `n`.
    No,
    /// gs2 flag `y`.
    NotOffered,
    /// gs2 flag `p`: base64 of the header and the end point.
    To(String),
}

struct ClientFirst<'a> {
    bare: &'a [u8],
    nonce: &'a [u8],
    bound: Bound,
}

impl<'a> ClientFirst<'a> {
    fn read(message: &'a [u8], chosen: Chosen, binding: Binding<'_>) -> Result<Self, ScramError> {
        let mut cursor = open(message)?;
        let bound = read_gs2_flag(&mut cursor, chosen, binding)?;
        match cursor.peek() {
            b'a' => return Err(ScramError::AuthorizationIdentity),
            b',' => cursor.skip(),
            other => return Err(Malformed::UnexpectedAttribute(other).into()),
        }
        let bare = cursor.rest();
        if cursor.peek() == b'm' {
            return Err(ScramError::MandatoryExtension);
        }
        cursor.value_of(b'n')?;
        let nonce = cursor.value_of(b'r')?;
        if !is_printable(nonce) {
            return Err(ScramError::NoncePrintable);
        }
        while !cursor.at_end() {
            cursor.any()?;
        }
        Ok(Self { bare, nonce, bound })
    }
}

fn read_gs2_flag(cursor: &mut Cursor<'_>, chosen: Chosen, binding: Binding<'_>) -> Result<Bound, ScramError> {
    match (cursor.peek(), chosen, binding) {
        (b'n' | b'y', Chosen::Plus, _) => Err(Malformed::BindingMissing.into()),
        (b'n', Chosen::Plain, _) => skip_flag(cursor).map(|()| Bound::No),
        // Somebody in between has taken PLUS out of the list.
        (b'y', Chosen::Plain, Binding::Offered { .. }) => Err(ScramError::BindingNegotiation),
        (b'y', Chosen::Plain, Binding::None) => skip_flag(cursor).map(|()| Bound::NotOffered),
        (b'p', Chosen::Plus, Binding::Offered { end_point }) => {
            let kind = cursor.value_of(b'p')?;
            if kind != END_POINT.as_bytes() {
                return Err(ScramError::UnsupportedBinding(shown(kind)));
            }
            Ok(Bound::To(bound_attribute(end_point)))
        }
        (b'p', Chosen::Plain, _) | (b'p', Chosen::Plus, Binding::None) => Err(Malformed::BindingUnasked.into()),
        (other, _, _) => Err(Malformed::BindingFlag(other).into()),
    }
}

/// The flag itself and its comma.
fn skip_flag(cursor: &mut Cursor<'_>) -> Result<(), ScramError> {
    cursor.skip();
    match cursor.peek() {
        b',' => {
            cursor.skip();
            Ok(())
        }
        other => Err(Malformed::CommaExpected(other).into()),
    }
}

struct ClientFinal<'a> {
    nonce: &'a [u8],
    proof: Zeroizing<[u8; 32]>,
    without_proof: &'a [u8],
}

impl<'a> ClientFinal<'a> {
    fn read(message: &'a [u8], bound: &Bound) -> Result<Self, ScramError> {
        let mut cursor = open(message)?;
        check_binding(cursor.value_of(b'c')?, bound)?;
        let nonce = cursor.value_of(b'r')?;
        // Optional extensions may stand before the proof; they are part of AuthMessage.
        let (before_proof, proof) = loop {
            let before = message.len() - cursor.rest().len();
            let (name, value) = cursor.any()?;
            if name == b'p' {
                break (before, value);
            }
        };
        let proof = decode_32(proof).map(Zeroizing::new).ok_or(Malformed::Proof)?;
        if !cursor.at_end() {
            return Err(Malformed::Garbage.into());
        }
        // At least `c=,r=,` stands before the proof, so its comma is there.
        let without_proof = message.get(..before_proof.saturating_sub(1)).unwrap_or_default();
        Ok(Self {
            nonce,
            proof,
            without_proof,
        })
    }
}

fn check_binding(sent: &[u8], bound: &Bound) -> Result<(), ScramError> {
    let (expected, otherwise) = match bound {
        Bound::No => ("biws", ScramError::BindingAttribute),
        Bound::NotOffered => ("eSws", ScramError::BindingAttribute),
        Bound::To(expected) => (expected.as_str(), ScramError::BindingCheckFailed),
    };
    if bool::from(sent.ct_eq(expected.as_bytes())) {
        Ok(())
    } else {
        Err(otherwise)
    }
}

fn open(message: &[u8]) -> Result<Cursor<'_>, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::TooLong);
    }
    Ok(Cursor::new(message)?)
}
