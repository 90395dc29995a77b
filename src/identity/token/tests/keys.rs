//! Key sets: what is used, what is skipped, what makes the whole set an error.

use serde_json::{Value, json};

use super::super::testing::{Mint, encode, jwks, oidc, verify};
use super::super::{KeySet, KeySetError, TokenRefusal, testing::claims};

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

#[test]
fn a_set_of_every_kind_of_key_is_used_whole() {
    let mints = Mint::every();
    let set = KeySet::parse(&jwks(mints.iter().map(Mint::jwk))).unwrap();
    assert_eq!((set.len(), set.skipped()), (9, 0));
    let ids: Vec<&str> = set.key_ids().collect();
    assert_eq!(
        ids,
        [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"
        ]
    );
}

#[test]
fn keys_that_cannot_check_a_signature_are_skipped() {
    let good = Mint::es256("good").jwk();
    let rsa = Mint::rsa("rsa", "RS256").jwk();
    let ed = Mint::ed25519("ed").jwk();
    for other in [
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "new", "x": "AAAA"}),
        json!({}),
        json!("key"),
        json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
        with(good.clone(), "use", json!("enc")),
        with(good.clone(), "use", json!("x509-svid")),
        with(good.clone(), "use", json!(1)),
        with(good.clone(), "key_ops", json!(["sign", "encrypt"])),
        with(good.clone(), "crv", json!("P-521")),
        with(good.clone(), "crv", json!("P-384")),
        with(good.clone(), "crv", json!("secp256k1")),
        with(good.clone(), "alg", json!("ES384")),
        with(good.clone(), "alg", json!("none")),
        with(good.clone(), "alg", json!("HS256")),
        with(good.clone(), "alg", json!(null)),
        with(good.clone(), "y", good["x"].clone()),
        with(good.clone(), "x", json!(format!("{}=", good["x"].as_str().unwrap()))),
        with(good.clone(), "kid", json!(7)),
        with(rsa.clone(), "alg", json!("RSA-OAEP")),
        with(rsa.clone(), "n", json!(encode(&[0xff; 255]))),
        with(rsa.clone(), "n", json!(encode(&[&[0][..], &[0xff; 255]].concat()))),
        with(rsa.clone(), "n", json!(encode(&[0xff; 1025]))),
        with(rsa.clone(), "e", json!("")),
        with(rsa.clone(), "e", json!("AA")),
        with(rsa.clone(), "e", json!("AQ")),
        with(rsa.clone(), "e", json!("AQAA")),
        with(ed.clone(), "crv", json!("Ed448")),
        with(ed.clone(), "crv", json!("X25519")),
        with(ed.clone(), "x", json!(encode(&[1; 31]))),
    ] {
        let shown = other.to_string();
        let set = KeySet::parse(&jwks([other.clone(), good.clone()])).unwrap();
        assert_eq!((set.len(), set.skipped()), (1, 1), "{shown}");
        assert_eq!(set.key_ids().collect::<Vec<_>>(), ["good"]);
        let alone = KeySet::parse(&jwks([other]));
        assert_eq!(alone.unwrap_err(), KeySetError::NoUsableKey { skipped: 1 }, "{shown}");
    }
}

#[test]
fn what_a_key_says_of_its_use_may_allow_signatures() {
    let mint = Mint::es256("good");
    for (name, value) in [
        ("use", json!("sig")),
        ("use", json!("jwt-svid")),
        ("key_ops", json!(["verify"])),
        ("key_ops", json!(["sign", "verify"])),
        ("alg", json!("ES256")),
        ("x5t", json!("AAAA")),
        ("of-tomorrow", json!({"a": 1})),
    ] {
        let set = KeySet::parse(&jwks([with(mint.jwk(), name, value)])).unwrap();
        assert_eq!(set.skipped(), 0, "{name}");
    }
    let named = with(Mint::ed25519("ed").jwk(), "alg", json!("Ed25519"));
    assert_eq!(KeySet::parse(&jwks([named])).unwrap().len(), 1);
}

#[test]
fn a_zero_before_the_modulus_does_no_harm() {
    let mint = Mint::rsa("rsa", "RS256");
    let n = super::super::decode(mint.jwk()["n"].as_str().unwrap().as_bytes()).unwrap();
    let jwk = with(mint.jwk(), "n", json!(encode(&[&[0][..], &n].concat())));
    let set = KeySet::parse(&jwks([jwk])).unwrap();
    assert!(verify(&mint.token(claims()), &set, &oidc()).is_ok());
}

#[test]
fn an_rsa_key_with_an_algorithm_checks_that_one_alone() {
    let mint = Mint::rsa("rsa", "PS256");
    let set = KeySet::parse(&jwks([with(mint.jwk(), "alg", json!("RS256"))])).unwrap();
    let refused = verify(&mint.token(claims()), &set, &oidc()).unwrap_err();
    assert_eq!(refused, TokenRefusal::AlgorithmNotAllowed);
    assert!(verify(&Mint::rsa("rsa", "RS256").token(claims()), &set, &oidc()).is_ok());
}

#[test]
fn a_private_key_makes_the_set_an_error() {
    let good = Mint::es256("good").jwk();
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let set = jwks([good.clone(), with(good.clone(), member, json!("AAAA"))]);
        assert_eq!(
            KeySet::parse(&set).unwrap_err(),
            KeySetError::PrivateKey { key: 2, member }
        );
    }
}

#[test]
fn what_is_no_set_is_an_error() {
    for text in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]", "null", "7"] {
        let error = KeySet::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, KeySetError::Malformed, "{text}");
    }
    let none = KeySet::parse(b"{\"keys\":[]}").unwrap_err();
    assert_eq!(none, KeySetError::NoUsableKey { skipped: 0 });
}

#[test]
fn a_set_has_its_bounds() {
    let good = Mint::es256("good").jwk();
    let most = KeySet::parse(&jwks(vec![good.clone(); 256])).unwrap();
    assert_eq!(most.len(), 256);
    let more = KeySet::parse(&jwks(vec![good.clone(); 257])).unwrap_err();
    assert_eq!(more, KeySetError::TooManyKeys);
    let mut padded = jwks([good]);
    padded.resize(1024 * 1024, b' ');
    assert!(KeySet::parse(&padded).is_ok());
    padded.push(b' ');
    assert_eq!(KeySet::parse(&padded).unwrap_err(), KeySetError::TooLong);
}
