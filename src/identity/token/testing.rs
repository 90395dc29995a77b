//! Issuers, keys and tokens for tests. Tokens are good at [`NOW`] for [`oidc`] unless they are made otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use postern_policy::model::{KeySource, TokenAlgorithm, TokenForm, TokenIssuer};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use super::{KeySet, TokenRefusal, Unverified, Verified};
use crate::time::Utc;

/// The 23rd of November 2026, 08:00 UTC.
pub const NOW: Utc = Utc(1_795_420_800_000_000);
pub const ISSUER: &str = "https://idp.example";
pub const AUDIENCE: &str = "postern";

/// Every algorithm there is.
pub const ALGORITHMS: [TokenAlgorithm; 9] = [
    TokenAlgorithm::Rs256,
    TokenAlgorithm::Rs384,
    TokenAlgorithm::Rs512,
    TokenAlgorithm::Ps256,
    TokenAlgorithm::Ps384,
    TokenAlgorithm::Ps512,
    TokenAlgorithm::Es256,
    TokenAlgorithm::Es384,
    TokenAlgorithm::EdDsa,
];

/// A key with its private half.
pub struct Mint {
    key_id: Option<String>,
    algorithm: &'static str,
    signer: Signer,
}

enum Signer {
    Rsa(&'static RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(&'static str, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Mint {
    pub fn es256(key_id: &str) -> Self {
        Self::ecdsa(key_id, "ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn es384(key_id: &str) -> Self {
        Self::ecdsa(key_id, "ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    pub fn ed25519(key_id: &str) -> Self {
        Self::new(key_id, "EdDSA", Signer::Ed25519(Ed25519KeyPair::generate().unwrap()))
    }

    /// The same Ed25519 key, and so the same tokens, at each run.
    pub fn fixed(key_id: &str) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        Self::new(key_id, "EdDSA", Signer::Ed25519(key))
    }

    /// All of them have the same key: it takes long to make one.
    pub fn rsa(key_id: &str, algorithm: &'static str) -> Self {
        static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
        let encoding: &'static dyn RsaEncoding = match algorithm {
            "RS256" => &RSA_PKCS1_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            "PS256" => &RSA_PSS_SHA256,
            "PS384" => &RSA_PSS_SHA384,
            "PS512" => &RSA_PSS_SHA512,
            other => panic!("{other} is not for RSA"),
        };
        let key = KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        Self::new(key_id, algorithm, Signer::Rsa(key, encoding))
    }

    /// One of every algorithm, with its name as identifier.
    pub fn every() -> Vec<Self> {
        let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
        let mut mints: Vec<Self> = rsa.into_iter().map(|name| Self::rsa(name, name)).collect();
        mints.extend([Self::es256("ES256"), Self::es384("ES384"), Self::ed25519("EdDSA")]);
        mints
    }

    /// Neither its tokens nor its key say which key it is.
    pub fn without_key_id(self) -> Self {
        Self { key_id: None, ..self }
    }

    /// The public key, with no `alg` and no `use`.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.signer {
            Signer::Rsa(key, _) => rsa_jwk(key.public_key().as_ref()),
            Signer::Ecdsa(curve, key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Signer::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())})
            }
        };
        if let Some(id) = &self.key_id {
            jwk["kid"] = json!(id);
        }
        jwk
    }

    /// A JWK Set of this one key.
    pub fn jwks(&self) -> Vec<u8> {
        jwks([self.jwk()])
    }

    pub fn key_set(&self) -> KeySet {
        KeySet::parse(&self.jwks()).unwrap()
    }

    pub fn header(&self) -> Value {
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        header
    }

    pub fn token(&self, claims: Value) -> String {
        self.token_under(&self.header(), &claims)
    }

    pub fn token_under(&self, header: &Value, claims: &Value) -> String {
        self.token_of_text(&header.to_string(), &claims.to_string())
    }

    /// A token of any two texts, signed all the same.
    pub fn token_of_text(&self, header: &str, payload: &str) -> String {
        self.token_of_bytes(header.as_bytes(), payload.as_bytes())
    }

    pub fn token_of_bytes(&self, header: &[u8], payload: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A token of these claims that is verified with this key.
    pub fn verified(&self, claims: Value, issuer: &TokenIssuer) -> Result<Verified, TokenRefusal> {
        verify(&self.token(claims), &self.key_set(), issuer)
    }

    fn ecdsa(
        key_id: &str,
        algorithm: &'static str,
        curve: &'static str,
        signing: &'static EcdsaSigningAlgorithm,
    ) -> Self {
        let key = EcdsaKeyPair::generate(signing).unwrap();
        Self::new(key_id, algorithm, Signer::Ecdsa(curve, key))
    }

    fn new(key_id: &str, algorithm: &'static str, signer: Signer) -> Self {
        Self {
            key_id: Some(key_id.to_owned()),
            algorithm,
            signer,
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Signer::Ecdsa(_, key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

pub fn jwks(keys: impl IntoIterator<Item = Value>) -> Vec<u8> {
    let keys: Vec<Value> = keys.into_iter().collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// An OpenID Connect issuer that allows everything it can.
pub fn oidc() -> TokenIssuer {
    TokenIssuer {
        form: TokenForm::Oidc {
            issuer: ISSUER.to_owned(),
        },
        audiences: BTreeSet::from([AUDIENCE.to_owned()]),
        keys: KeySource::Discovery,
        algorithms: BTreeSet::from(ALGORITHMS),
        types: BTreeSet::new(),
        clock_skew: 0,
        max_age: None,
        required_claims: BTreeMap::new(),
        subject_claim: "sub".to_owned(),
        groups_claim: None,
        one_time: false,
        scope: "openid".to_owned(),
        roots: Vec::new(),
        refresh: 300,
        keys_max_age: 3600,
    }
}

/// An issuer of JWT-SVIDs for the trust domain `corp`.
pub fn svid() -> TokenIssuer {
    let trust_domains = BTreeSet::from(["corp".to_owned()]);
    TokenIssuer {
        form: TokenForm::JwtSvid { trust_domains },
        ..oidc()
    }
}

/// Claims that [`oidc`] accepts for ten minutes from [`NOW`].
pub fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "exp": NOW.seconds() + 600})
}

/// [`claims`] with one of them set, or taken away by null.
pub fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims.as_object_mut().unwrap().insert(name.to_owned(), value),
    };
    claims
}

pub fn verify(token: &str, keys: &KeySet, issuer: &TokenIssuer) -> Result<Verified, TokenRefusal> {
    Unverified::parse(token.as_bytes())?.verify(keys, issuer)
}

pub fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The key's DER is PKCS #1: modulus and exponent.
fn rsa_jwk(der: &[u8]) -> Value {
    let (_, key) = RSAPublicKey::from_der(der).unwrap();
    let number = |bytes: &[u8]| encode(&bytes[bytes.iter().take_while(|&&byte| byte == 0).count()..]);
    json!({"kty": "RSA", "n": number(key.modulus), "e": number(key.exponent)})
}
