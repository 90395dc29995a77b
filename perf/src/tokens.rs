//! Tokens for `postern-micro`: the first use, with its signature; the same by aws-lc alone; and every later use.
//!
//! `tokens.json` has a token for each algorithm and the key to check it with, so that every run looks at the same bytes and
//! instructions can be counted (making an RSA key takes more of them than a thousand checks, and never as many as the last time).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use postern::identity::token::cache::{Cache, hash};
use postern::identity::token::{KeySet, Unverified};
use postern_issuer::{Algorithm, Claims, Key, Token, base64url, from_base64url};
use postern_policy::model::{KeySource, TokenAlgorithm, TokenForm, TokenIssuer};
use postern_policy::time::Utc;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::operations::{Once, expect};

const SIGNED: &str = include_str!("tokens.json");
const ISSUER: &str = "https://login.example.org/realms/corp";
/// When the tokens were issued, seconds since 1970.
const ISSUED: u64 = 1_795_000_000;

pub fn first_es256() -> Result<Once, Failure> {
    first("ES256")
}

pub fn first_rs256() -> Result<Once, Failure> {
    first("RS256")
}

pub fn first_eddsa() -> Result<Once, Failure> {
    first("EdDSA")
}

pub fn signature_es256() -> Result<Once, Failure> {
    signature("ES256", &ECDSA_P256_SHA256_FIXED)
}

pub fn signature_rs256() -> Result<Once, Failure> {
    signature("RS256", &RSA_PKCS1_2048_8192_SHA256)
}

pub fn signature_eddsa() -> Result<Once, Failure> {
    signature("EdDSA", &ED25519)
}

/// Hash, cache, and every check that depends on time, policy or connection.
pub fn again() -> Result<Once, Failure> {
    let case = Case::of("ES256")?;
    let verified = Unverified::parse(case.text.as_bytes())?.verify(&case.keys, &case.rules)?;
    let mut cache = Cache::new(1 << 20);
    cache.put(hash(case.text.as_bytes()), 1, 1, Arc::new(verified));
    Ok(Box::new(move || {
        let hash = hash(std::hint::black_box(case.text.as_bytes()));
        let (verified, _) = cache.get(&hash, 1).ok_or("the token is kept")?;
        let said = verified.judge(&case.rules, case.now, None)?;
        expect(&*said.subject == "alice", "alice")
    }))
}

/// A new `tokens.json`. The private keys are forgotten.
pub fn sign() -> Result<String, Failure> {
    let mut signed = Map::new();
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let key = Key::generate(algorithm, "1");
        let public = SubjectPublicKeyInfoDer::from_pem_slice(key.public_pem().as_bytes())?;
        let entry = json!({ "jwk": key.jwk(), "public": base64url(&public), "token": token(&key) });
        signed.insert(algorithm.name().to_owned(), entry);
    }
    Ok(serde_json::to_string_pretty(&signed)?)
}

fn first(algorithm: &str) -> Result<Once, Failure> {
    let case = Case::of(algorithm)?;
    Ok(Box::new(move || {
        let token = std::hint::black_box(case.text.as_bytes());
        let verified = Unverified::parse(token)?.verify(&case.keys, &case.rules)?;
        let said = verified.judge(&case.rules, case.now, None)?;
        expect(&*said.subject == "alice", "alice")
    }))
}

fn signature(algorithm: &str, checks: &'static dyn VerificationAlgorithm) -> Result<Once, Failure> {
    let case = Case::of(algorithm)?;
    let public = ParsedPublicKey::new(checks, &case.public)?;
    let (message, signature) = case.text.rsplit_once('.').ok_or("three parts")?;
    let signature = from_base64url(signature).ok_or("base64url")?;
    let message = message.as_bytes().to_vec();
    Ok(Box::new(move || {
        let verified = public.verify_sig(std::hint::black_box(&message), &signature);
        expect(verified.is_ok(), "the signature")
    }))
}

struct Case {
    text: String,
    /// SubjectPublicKeyInfo, DER.
    public: Vec<u8>,
    keys: KeySet,
    rules: TokenIssuer,
    now: Utc,
}

impl Case {
    fn of(algorithm: &str) -> Result<Self, Failure> {
        let signed: Value = serde_json::from_str(SIGNED)?;
        let entry = &signed[algorithm];
        let text = |member: &str| {
            entry[member]
                .as_str()
                .ok_or_else(|| format!("{algorithm} has no {member}"))
        };
        let jwks = json!({ "keys": [&entry["jwk"]] }).to_string();
        Ok(Self {
            text: text("token")?.to_owned(),
            public: from_base64url(text("public")?).ok_or("base64url")?,
            keys: KeySet::parse(jwks.as_bytes())?,
            rules: rules(),
            now: Utc(i64::try_from(ISSUED + 60)? * 1_000_000),
        })
    }
}

/// About 1 KB, as one of somebody in a dozen groups.
fn token(key: &Key) -> String {
    let groups: Vec<String> = (0..12).map(|number| format!("platform-group-{number:02}")).collect();
    let claims = Claims::new(ISSUER, "postern", "alice")
        .valid(ISSUED, 300)
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
