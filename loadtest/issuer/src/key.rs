//! A private key that signs tokens, and the public JWK of it (RFC 7517, RFC 7518, RFC 8037).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::encoding::{base64url, pem};

pub struct Key {
    algorithm: Algorithm,
    kid: String,
    private: Private,
}

enum Private {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(Box<EcdsaKeyPair>, &'static str),
    Ed(Box<Ed25519KeyPair>),
}

impl Key {
    pub fn generate(algorithm: Algorithm, kid: &str) -> Self {
        let private = match shape(algorithm) {
            Shape::Rsa(encoding) => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
                Private::Rsa(Box::new(pair), encoding)
            }
            Shape::Ec(signing, curve) => {
                Private::Ec(Box::new(EcdsaKeyPair::generate(signing).expect("an EC key")), curve)
            }
            Shape::Ed => Private::Ed(Box::new(Ed25519KeyPair::generate().expect("an Ed25519 key"))),
        };
        Self::new(algorithm, kid, private)
    }

    /// Of what [`Key::to_pem`] gave, or of any PKCS#8 PEM with a key fit for the algorithm.
    pub fn from_pem(algorithm: Algorithm, kid: &str, pem: &[u8]) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        let der = der.secret_pkcs8_der();
        let private = match shape(algorithm) {
            Shape::Rsa(encoding) => RsaKeyPair::from_pkcs8(der).map(|pair| Private::Rsa(Box::new(pair), encoding)),
            Shape::Ec(signing, curve) => {
                EcdsaKeyPair::from_pkcs8(signing, der).map(|pair| Private::Ec(Box::new(pair), curve))
            }
            Shape::Ed => Ed25519KeyPair::from_pkcs8(der).map(|pair| Private::Ed(Box::new(pair))),
        };
        let private = private.map_err(|error| format!("not a key for {algorithm}: {error}"))?;
        Ok(Self::new(algorithm, kid, private))
    }

    fn new(algorithm: Algorithm, kid: &str, private: Private) -> Self {
        Self {
            algorithm,
            kid: kid.to_owned(),
            private,
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The signature as a JWS has it: that of an EC key is the two numbers, not DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .expect("room for a signature");
                signature
            }
            Private::Ec(pair, _) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key, with `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public_parameters();
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm.name());
        jwk["use"] = json!("sig");
        jwk
    }

    fn public_parameters(&self) -> Value {
        match &self.private {
            Private::Rsa(pair, _) => {
                let [modulus, exponent] = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)})
            }
            Private::Ec(pair, curve) => {
                // The uncompressed point: 4, x, y.
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Private::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())}),
        }
    }

    /// The private key, PKCS#8.
    pub fn to_pem(&self) -> String {
        let der = match &self.private {
            Private::Rsa(pair, _) => AsDer::<Pkcs8V1Der>::as_der(&**pair).expect("PKCS#8").as_ref().to_vec(),
            Private::Ec(pair, _) => pair.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec(),
            Private::Ed(pair) => pair.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec(),
        };
        pem("PRIVATE KEY", &der)
    }

    /// The public key as a `SubjectPublicKeyInfo`: what careless code takes for the secret of an HMAC.
    pub fn public_pem(&self) -> String {
        let der = match &self.private {
            Private::Rsa(pair, _) => AsDer::<PublicKeyX509Der>::as_der(pair.public_key()),
            Private::Ec(pair, _) => AsDer::<PublicKeyX509Der>::as_der(pair.public_key()),
            Private::Ed(pair) => AsDer::<PublicKeyX509Der>::as_der(pair.public_key()),
        };
        pem("PUBLIC KEY", der.expect("a public key").as_ref())
    }
}

/// Shows no secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.algorithm, self.kid)
    }
}

enum Shape {
    Rsa(&'static dyn RsaEncoding),
    Ec(&'static EcdsaSigningAlgorithm, &'static str),
    Ed,
}

fn shape(algorithm: Algorithm) -> Shape {
    match algorithm {
        Algorithm::Rs256 => Shape::Rsa(&RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Shape::Rsa(&RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Shape::Rsa(&RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Shape::Rsa(&RSA_PSS_SHA256),
        Algorithm::Ps384 => Shape::Rsa(&RSA_PSS_SHA384),
        Algorithm::Ps512 => Shape::Rsa(&RSA_PSS_SHA512),
        Algorithm::Es256 => Shape::Ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        Algorithm::Es384 => Shape::Ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        Algorithm::EdDsa => Shape::Ed,
    }
}

/// Modulus and exponent of a DER `RSAPublicKey`, without the zero that keeps a number positive.
fn rsa_numbers(der: &[u8]) -> [&[u8]; 2] {
    let (sequence, _) = der_content(der);
    let (modulus, rest) = der_content(sequence);
    let (exponent, _) = der_content(rest);
    [modulus, exponent].map(|number| number.strip_prefix(&[0]).unwrap_or(number))
}

/// The content of the first DER element, and what follows it.
fn der_content(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let head = 2 + usize::from(long & 0x7f);
            (
                head,
                der[2..head].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            )
        }
    };
    der[head..].split_at(length)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;
    use crate::encoding::from_base64url;

    /// By the public numbers of the JWK and nothing else.
    fn verifies(jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
        let number = |name: &str| from_base64url(jwk[name].as_str().expect(name)).expect(name);
        let rsa = |parameters: &'static RsaParameters| {
            let (n, e) = (number("n"), number("e"));
            RsaPublicKeyComponents { n, e }
                .verify(parameters, message, signature)
                .is_ok()
        };
        let plain = |algorithm: &'static dyn VerificationAlgorithm, point: Vec<u8>| {
            UnparsedPublicKey::new(algorithm, point)
                .verify(message, signature)
                .is_ok()
        };
        let point = || [vec![4], number("x"), number("y")].concat();
        match jwk["alg"].as_str().expect("alg") {
            "RS256" => rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => rsa(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => rsa(&RSA_PSS_2048_8192_SHA256),
            "PS384" => rsa(&RSA_PSS_2048_8192_SHA384),
            "PS512" => rsa(&RSA_PSS_2048_8192_SHA512),
            "ES256" => plain(&ECDSA_P256_SHA256_FIXED, point()),
            "ES384" => plain(&ECDSA_P384_SHA384_FIXED, point()),
            "EdDSA" => plain(&ED25519, number("x")),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_a_key_signs_its_jwk_verifies_and_no_other() {
        for algorithm in Algorithm::ALL {
            let key = Key::generate(algorithm, "one");
            let signature = key.sign(b"message");
            assert!(verifies(&key.jwk(), b"message", &signature), "{algorithm}");
            assert!(!verifies(&key.jwk(), b"another", &signature), "{algorithm}");
            let other = Key::generate(algorithm, "one");
            assert!(!verifies(&other.jwk(), b"message", &signature), "{algorithm}");
        }
    }

    #[test]
    fn a_key_comes_back_out_of_its_pem() {
        for algorithm in Algorithm::ALL {
            let key = Key::generate(algorithm, "kept");
            let again = Key::from_pem(algorithm, "kept", key.to_pem().as_bytes()).expect("a key");
            assert_eq!(again.jwk(), key.jwk());
            assert!(verifies(&key.jwk(), b"message", &again.sign(b"message")));
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let pem = Key::generate(Algorithm::Es256, "ec").to_pem();
        for algorithm in [Algorithm::Rs256, Algorithm::Es384, Algorithm::EdDsa] {
            Key::from_pem(algorithm, "x", pem.as_bytes()).expect_err("another kind");
        }
        Key::from_pem(Algorithm::Es256, "x", b"nothing").expect_err("no PEM");
    }

    #[test]
    fn a_jwk_says_what_it_is_for_and_holds_nothing_private() {
        let jwk = Key::generate(Algorithm::Rs256, "k").jwk();
        let names: Vec<&str> = jwk.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!((&jwk["e"], &jwk["use"]), (&json!("AQAB"), &json!("sig")));
        assert_eq!(from_base64url(jwk["n"].as_str().expect("n")).expect("n").len(), 256);
    }

    #[test]
    fn it_shows_no_secret() {
        let key = Key::generate(Algorithm::EdDsa, "k");
        assert_eq!(format!("{key:?}"), "Key(EdDSA k)");
    }
}
