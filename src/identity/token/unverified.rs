//! A token as it came: split, decoded and not believed.

use std::fmt;

use postern_policy::model::{TokenAlgorithm, TokenIssuer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::verified::{Origin, Verified};
use super::{KeySet, MAX_TOKEN, TokenRefusal, algorithm, decode, json};

/// Keys that one token is tried with at most.
const MOST_TRIED: usize = 8;

/// A compact JWS (RFC 7515, 7.1) with JSON objects for header and payload. What it says serves to find the keys it must be
/// signed with, and for nothing else.
pub struct Unverified<'a> {
    /// Header and payload as they stood, with the dot between them.
    signed: &'a [u8],
    /// What makes a token of the rest.
    signature: Zeroizing<Vec<u8>>,
    algorithm: TokenAlgorithm,
    key_id: Option<Box<str>>,
    token_type: Option<Box<str>>,
    payload: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a [u8]) -> Result<Self, TokenRefusal> {
        if token.len() > MAX_TOKEN {
            return Err(TokenRefusal::Oversize);
        }
        let parts = Parts::of(token).ok_or(TokenRefusal::Malformed)?;
        let header = object(parts.header)?;
        // An extension that must be understood: we know none (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return Err(TokenRefusal::Malformed);
        }
        let name = text(&header, "alg")?.ok_or(TokenRefusal::Malformed)?;
        Ok(Self {
            signed: parts.signed,
            algorithm: algorithm::by_name(&name).ok_or(TokenRefusal::AlgorithmNotAllowed)?,
            key_id: text(&header, "kid")?,
            token_type: text(&header, "typ")?,
            signature: decode(parts.signature)
                .map(Zeroizing::new)
                .ok_or(TokenRefusal::Malformed)?,
            payload: object(parts.payload)?,
        })
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.payload.get("iss")?.as_str()
    }

    /// `sub`: the trust domain of a JWT-SVID stands in it.
    pub fn subject(&self) -> Option<&str> {
        self.payload.get("sub")?.as_str()
    }

    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// `typ` of the header.
    pub fn token_type(&self) -> Option<&str> {
        self.token_type.as_deref()
    }

    /// Whether one of `keys` has signed the token, with an algorithm that `issuer` may use.
    pub fn verify(self, keys: &KeySet, issuer: &TokenIssuer) -> Result<Verified, TokenRefusal> {
        let key_id = self.check_signed(keys, issuer)?.map(Into::into);
        self.said(key_id)
    }

    /// What the signature must be good for. Gives the `kid` of the key that made it, whether the token names it or not: a key
    /// that is revoked by its name stays so for tokens that do not say it.
    pub(super) fn check_signed<'k>(
        &self,
        keys: &'k KeySet,
        issuer: &TokenIssuer,
    ) -> Result<Option<&'k str>, TokenRefusal> {
        if !issuer.algorithms.contains(&self.algorithm) {
            return Err(TokenRefusal::AlgorithmNotAllowed);
        }
        self.check_signature(keys)
    }

    /// What the token says, for who has checked the signature, made by the key of this identifier. [`super::Examined`] has it
    /// without, and gives it to nobody.
    pub(super) fn said(self, key_id: Option<Box<str>>) -> Result<Verified, TokenRefusal> {
        let origin = Origin {
            algorithm: self.algorithm,
            key_id,
            token_type: self.token_type,
        };
        Verified::new(origin, self.payload)
    }

    fn check_signature<'k>(&self, keys: &'k KeySet) -> Result<Option<&'k str>, TokenRefusal> {
        let id = self.key_id();
        if id.is_some_and(|id| !keys.has(id)) {
            return Err(TokenRefusal::UnknownKey);
        }
        let mut fitting = keys.fitting(self.algorithm, id).take(MOST_TRIED).peekable();
        if fitting.peek().is_none() {
            return Err(match id {
                Some(_) => TokenRefusal::AlgorithmNotAllowed,
                None => TokenRefusal::UnknownKey,
            });
        }
        fitting
            .find(|(_, key)| key.verify_sig(self.signed, &self.signature).is_ok())
            .map(|(id, _)| id)
            .ok_or(TokenRefusal::SignatureInvalid)
    }
}

/// Shows nothing that could be used as a token.
impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Unverified");
        shown.field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

struct Parts<'a> {
    signed: &'a [u8],
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Exactly three; five would be an encrypted token.
    fn of(token: &'a [u8]) -> Option<Self> {
        let mut parts = token.split(|&byte| byte == b'.');
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let signed = token.get(..header.len() + 1 + payload.len())?;
        parts.next().is_none().then_some(Self {
            signed,
            header,
            payload,
            signature,
        })
    }
}

fn object(part: &[u8]) -> Result<Map<String, Value>, TokenRefusal> {
    decode(part)
        .and_then(|text| json::object(&text))
        .ok_or(TokenRefusal::Malformed)
}

/// A member of the header that is a text if it is there.
fn text(header: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, TokenRefusal> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str().into())),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(TokenRefusal::Malformed)
        }
    }
}
