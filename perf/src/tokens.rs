//! Tokens for `postern-micro`: the first use, with its signature; the same by aws-lc alone; and every later use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use postern::identity::token::cache::{Cache, hash};
use postern::identity::token::{KeySet, Unverified};
use postern_issuer::{Algorithm, Claims, Key, Token, from_base64url, now};
use postern_policy::model::{KeySource, TokenAlgorithm, TokenForm, TokenIssuer};
use postern_policy::time::Utc;

use crate::Failure;
use crate::operations::{Once, expect};

const ISSUER: &str = "https://login.example.org/realms/corp";

pub fn first_es256() -> Result<Once, Failure> {
    first(Algorithm::Es256)
}

pub fn first_rs256() -> Result<Once, Failure> {
    first(Algorithm::Rs256)
}

pub fn first_eddsa() -> Result<Once, Failure> {
    first(Algorithm::EdDsa)
}

pub fn signature_es256() -> Result<Once, Failure> {
    signature(Algorithm::Es256)
}

pub fn signature_rs256() -> Result<Once, Failure> {
    signature(Algorithm::Rs256)
}

pub fn signature_eddsa() -> Result<Once, Failure> {
    signature(Algorithm::EdDsa)
}

/// Hash, cache, and every check that depends on time, policy or connection.
pub fn again() -> Result<Once, Failure> {
    let case = Case::new(Algorithm::Es256)?;
    let verified = Unverified::parse(case.text.as_bytes())?.verify(&case.keys, &case.rules)?;
    let mut cache = Cache::new(1 << 20);
    cache.put(hash(case.text.as_bytes()), 1, 1, Arc::new(verified));
    Ok(Box::new(move || {
        let hash = hash(std::hint::black_box(case.text.as_bytes()));
        let verified = cache.get(&hash, 1, 1).ok_or("the token is kept")?;
        let said = verified.judge(&case.rules, case.now, None)?;
        expect(&*said.subject == "alice", "alice")
    }))
}

fn first(algorithm: Algorithm) -> Result<Once, Failure> {
    let case = Case::new(algorithm)?;
    Ok(Box::new(move || {
        let token = std::hint::black_box(case.text.as_bytes());
        let verified = Unverified::parse(token)?.verify(&case.keys, &case.rules)?;
        let said = verified.judge(&case.rules, case.now, None)?;
        expect(&*said.subject == "alice", "alice")
    }))
}

fn signature(algorithm: Algorithm) -> Result<Once, Failure> {
    let key = Key::generate(algorithm, "1");
    let jwk = key.jwk();
    let part = |name: &str| jwk[name].as_str().and_then(from_base64url).ok_or("a member of the key");
    let public = match algorithm {
        Algorithm::Es256 => {
            let point = [vec![4], part("x")?, part("y")?].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)?
        }
        Algorithm::EdDsa => ParsedPublicKey::new(&ED25519, part("x")?)?,
        _ => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der(&key.public_pem())?)?,
    };
    let text = token(&key);
    let (message, signature) = text.rsplit_once('.').ok_or("three parts")?;
    let signature = from_base64url(signature).ok_or("base64url")?;
    let message = message.as_bytes().to_vec();
    Ok(Box::new(move || {
        let verified = public.verify_sig(std::hint::black_box(&message), &signature);
        expect(verified.is_ok(), "the signature")
    }))
}

struct Case {
    text: String,
    keys: KeySet,
    rules: TokenIssuer,
    now: Utc,
}

impl Case {
    fn new(algorithm: Algorithm) -> Result<Self, Failure> {
        let key = Key::generate(algorithm, "1");
        let jwks = format!("{{\"keys\":[{}]}}", key.jwk());
        Ok(Self {
            text: token(&key),
            keys: KeySet::parse(jwks.as_bytes())?,
            rules: rules(),
            now: Utc(i64::try_from(now())? * 1_000_000),
        })
    }
}

/// About 1 KB, as one of somebody in a dozen groups.
fn token(key: &Key) -> String {
    let groups: Vec<String> = (0..12).map(|number| format!("platform-group-{number:02}")).collect();
    let claims = Claims::new(ISSUER, "postern", "alice")
        .with("groups", groups)
        .with("email", "alice@example.org")
        .with("preferred_username", "alice");
    Token::new(key, claims).text()
}

fn rules() -> TokenIssuer {
    TokenIssuer {
        form: TokenForm::Oidc {
            issuer: ISSUER.to_owned(),
        },
        audiences: BTreeSet::from(["postern".to_owned()]),
        keys: KeySource::Discovery,
        algorithms: BTreeSet::from([TokenAlgorithm::Rs256, TokenAlgorithm::Es256, TokenAlgorithm::EdDsa]),
        types: BTreeSet::new(),
        clock_skew: 30,
        max_age: Some(3_600),
        required_claims: BTreeMap::new(),
        subject_claim: "sub".to_owned(),
        groups_claim: Some("groups".to_owned()),
        one_time: false,
        scope: String::new(),
        roots: Vec::new(),
        refresh: 300,
        keys_max_age: 86_400,
    }
}

/// The SubjectPublicKeyInfo in a PEM.
fn der(pem: &str) -> Result<Vec<u8>, Failure> {
    use rustls::pki_types::SubjectPublicKeyInfoDer;
    use rustls::pki_types::pem::PemObject;
    Ok(SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())?.to_vec())
}
