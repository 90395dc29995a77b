//! The public keys of one issuer: a JWK Set (RFC 7517), read once.
//!
//! `jsonwebtoken` has the types of a key's JSON; it would decode and parse a key again at each verification, so what a
//! signature is checked with is aws-lc-rs' parsed key, one for each algorithm that the key fits. An RSA key keeps what it
//! computes for its modulus from one verification to the next.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use postern_policy::model::TokenAlgorithm;
use serde_json::Value;

use super::{algorithm, decode};

/// Bytes of a JWK Set at most.
const MAX_SET: usize = 1024 * 1024;
/// Keys of a JWK Set at most, the skipped ones included.
const MOST_KEYS: usize = 256;
/// Bytes of an RSA modulus: 2,048 to 8,192 bits.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Members that only a private key has (RFC 7518, 6.2.2 and 6.3.2; RFC 8037, 2).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// The keys of one issuer that can check a signature, in the order in which they stood.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
}

/// Why a JWK Set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is longer than {MAX_SET} bytes")]
    TooLong,
    #[error("the key set is not a JSON object with a list of keys at `keys`")]
    Malformed,
    #[error("the key set has more than {MOST_KEYS} keys")]
    TooManyKeys,
    /// `key` counts from one.
    #[error("key {key} of the set has the member `{member}` of a private key: whoever reads the set can make tokens")]
    PrivateKey { key: usize, member: &'static str },
    #[error("none of the {skipped} keys of the set can check a signature")]
    NoUsableKey { skipped: usize },
}

impl KeySet {
    /// Keys that are not for signatures, not known or not sound are skipped and counted: an issuer may publish keys of
    /// kinds that come after us.
    pub fn parse(jwks: &[u8]) -> Result<KeySet, KeySetError> {
        let values = values_of(jwks)?;
        let total = values.len();
        let mut keys = Vec::with_capacity(total);
        for (at, value) in values.into_iter().enumerate() {
            refuse_private(at + 1, &value)?;
            keys.extend(Key::read(value));
        }
        let skipped = total - keys.len();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey { skipped });
        }
        Ok(KeySet { keys, skipped })
    }

    /// The identifiers (`kid`) of the keys that have one.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    /// Keys that can be used: one at least.
    #[expect(clippy::len_without_is_empty, reason = "a set without a usable key is an error")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Keys of the set that cannot be used.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.key_ids().any(|known| known == id)
    }

    /// What checks signatures of `algorithm`, with its identifier: keys with this one or, without one, all keys.
    pub(super) fn fitting(
        &self,
        algorithm: TokenAlgorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = (Option<&str>, &ParsedPublicKey)> {
        let named = self
            .keys
            .iter()
            .filter(move |key| id.is_none() || key.id.as_deref() == id);
        named.filter_map(move |key| Some((key.id.as_deref(), key.checks(algorithm)?)))
    }
}

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    /// Never empty.
    checks: Vec<(TokenAlgorithm, ParsedPublicKey)>,
}

impl Key {
    /// `None` for a key to be skipped.
    fn read(value: Value) -> Option<Self> {
        // `jsonwebtoken` knows fewer names of algorithms than we do.
        let only = match value.get("alg") {
            None => None,
            Some(name) => Some(algorithm::by_name(name.as_str()?)?),
        };
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if !is_for_signatures(&jwk) {
            return None;
        }
        let mut checks = checks_of(&jwk.algorithm)?;
        checks.retain(|(algorithm, _)| only.is_none_or(|only| only == *algorithm));
        let id = jwk.common.key_id.map(String::into_boxed_str);
        (!checks.is_empty()).then_some(Self { id, checks })
    }

    fn checks(&self, algorithm: TokenAlgorithm) -> Option<&ParsedPublicKey> {
        let found = self.checks.iter().find(|(fits, _)| *fits == algorithm);
        found.map(|(_, key)| key)
    }
}

fn values_of(jwks: &[u8]) -> Result<Vec<Value>, KeySetError> {
    if jwks.len() > MAX_SET {
        return Err(KeySetError::TooLong);
    }
    let mut set: Value = serde_json::from_slice(jwks).map_err(|_| KeySetError::Malformed)?;
    let Some(Value::Array(values)) = set.get_mut("keys").map(Value::take) else {
        return Err(KeySetError::Malformed);
    };
    if values.len() > MOST_KEYS {
        return Err(KeySetError::TooManyKeys);
    }
    Ok(values)
}

fn refuse_private(key: usize, value: &Value) -> Result<(), KeySetError> {
    match PRIVATE_MEMBERS.into_iter().find(|member| value.get(member).is_some()) {
        Some(member) => Err(KeySetError::PrivateKey { key, member }),
        None => Ok(()),
    }
}

/// `jwt-svid` is what SPIFFE bundles say of such keys (SPIFFE Trust Domain and Bundle, 4.2.2).
fn is_for_signatures(jwk: &Jwk) -> bool {
    let used = match &jwk.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        Some(PublicKeyUse::Other(other)) => other == "jwt-svid",
        Some(PublicKeyUse::Encryption) => false,
    };
    let operations = jwk.common.key_operations.as_ref();
    used && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// The parsed key, once for each algorithm that its type and curve allow.
fn checks_of(parameters: &AlgorithmParameters) -> Option<Vec<(TokenAlgorithm, ParsedPublicKey)>> {
    match parameters {
        AlgorithmParameters::RSA(rsa) => of_rsa(&rsa.n, &rsa.e),
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 => of_point(TokenAlgorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32, &point.x, &point.y),
            EllipticCurve::P384 => of_point(TokenAlgorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48, &point.x, &point.y),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            one(TokenAlgorithm::EdDsa, &ED25519, &decode(pair.x.as_bytes())?)
        }
        // Other curves, symmetric keys and what may come.
        _ => None,
    }
}

fn of_rsa(n: &str, e: &str) -> Option<Vec<(TokenAlgorithm, ParsedPublicKey)>> {
    let (n, e) = (decode(n.as_bytes())?, decode(e.as_bytes())?);
    let components = RsaPublicKeyComponents {
        n: without_zeros(&n),
        e: without_zeros(&e),
    };
    if !RSA_MODULUS.contains(&components.n.len()) || !is_exponent(components.e) {
        return None;
    }
    let parse = |(algorithm, parameters)| Some((algorithm, components.to_parsed_public_key(parameters).ok()?));
    algorithm::of_rsa().into_iter().map(parse).collect()
}

/// An odd number from three on: with one, anybody signs.
fn is_exponent(number: &[u8]) -> bool {
    number != [1] && number.last().is_some_and(|last| last % 2 == 1)
}

/// Some issuers put the zero of DER's sign before the number.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn of_point(
    algorithm: TokenAlgorithm,
    checks: &'static dyn VerificationAlgorithm,
    size: usize,
    x: &str,
    y: &str,
) -> Option<Vec<(TokenAlgorithm, ParsedPublicKey)>> {
    let (x, y) = (decode(x.as_bytes())?, decode(y.as_bytes())?);
    if x.len() != size || y.len() != size {
        return None;
    }
    // SEC 1, 2.3.3: four, then both coordinates.
    one(algorithm, checks, &[&[4], x.as_slice(), y.as_slice()].concat())
}

fn one(
    algorithm: TokenAlgorithm,
    checks: &'static dyn VerificationAlgorithm,
    key: &[u8],
) -> Option<Vec<(TokenAlgorithm, ParsedPublicKey)>> {
    Some(vec![(algorithm, ParsedPublicKey::new(checks, key).ok()?)])
}
