//! From bytes to a good signature.

use std::collections::BTreeSet;

use postern_policy::model::TokenAlgorithm;
use serde_json::json;

use super::super::testing::{AUDIENCE, ISSUER, Mint, NOW, claims, encode, jwks, oidc, verify};
use super::super::{KeySet, MAX_TOKEN, TokenRefusal, Unverified};

fn parsed(token: &str) -> Result<(), TokenRefusal> {
    Unverified::parse(token.as_bytes()).map(|_| ())
}

#[test]
fn a_token_of_every_algorithm_is_verified_by_its_key_alone() {
    let mints = Mint::every();
    for mint in &mints {
        let id = mint.header()["kid"].as_str().unwrap().to_owned();
        let token = mint.token(claims());
        let read = Unverified::parse(token.as_bytes()).unwrap();
        assert_eq!((read.issuer(), read.subject()), (Some(ISSUER), Some("alice")));
        assert_eq!(read.key_id(), Some(id.as_str()));
        let verified = read.verify(&mint.key_set(), &oidc()).unwrap();
        assert_eq!(
            (verified.issuer(), verified.key_id()),
            (Some(ISSUER), Some(id.as_str()))
        );
        assert_eq!(verified.expires().seconds(), NOW.seconds() + 600);
        assert_eq!(verified.claims().only("aud"), Some(AUDIENCE));
    }
}

#[test]
fn a_changed_token_is_refused() {
    for mint in Mint::every() {
        let token = mint.token(claims());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = mint.token(json!({"iss": ISSUER, "sub": "mallory", "aud": AUDIENCE, "exp": 9e9}));
        let mut bytes = super::super::decode(signature.as_bytes()).unwrap();
        bytes[10] ^= 1;
        for changed in [
            format!("{}.{signature}", other.rsplit_once('.').unwrap().0),
            format!("{signed}.{}", encode(&bytes)),
            format!("{signed}.{}", encode(&bytes[1..])),
            format!("{signed}."),
        ] {
            let refused = verify(&changed, &mint.key_set(), &oidc()).unwrap_err();
            assert_eq!(refused, TokenRefusal::SignatureInvalid);
        }
    }
}

#[test]
fn a_key_of_another_type_does_not_fit() {
    for (signs, shows) in [
        (Mint::es256("k"), Mint::es384("k")),
        (Mint::es256("k"), Mint::rsa("k", "RS256")),
        (Mint::ed25519("k"), Mint::es256("k")),
        (Mint::rsa("k", "PS384"), Mint::ed25519("k")),
    ] {
        let refused = verify(&signs.token(claims()), &shows.key_set(), &oidc()).unwrap_err();
        assert_eq!(refused, TokenRefusal::AlgorithmNotAllowed);
        let (signs, shows) = (signs.without_key_id(), shows.without_key_id());
        let refused = verify(&signs.token(claims()), &shows.key_set(), &oidc()).unwrap_err();
        assert_eq!(refused, TokenRefusal::UnknownKey);
    }
}

#[test]
fn algorithms_that_are_never_good_are_refused_before_any_key() {
    let mint = Mint::es256("k");
    for name in [
        "none", "None", "HS256", "HS384", "HS512", "ES512", "ES256K", "es256", "RSA-OAEP", "",
    ] {
        let token = mint.token_under(&json!({"alg": name}), &claims());
        assert_eq!(parsed(&token), Err(TokenRefusal::AlgorithmNotAllowed), "{name}");
    }
}

#[test]
fn an_issuer_s_algorithms_are_those_of_the_policy() {
    let mint = Mint::es256("k");
    let mut issuer = oidc();
    issuer.algorithms = BTreeSet::from([TokenAlgorithm::Rs256]);
    assert_eq!(
        mint.verified(claims(), &issuer).unwrap_err(),
        TokenRefusal::AlgorithmNotAllowed
    );
    // A token from the cache too, when the policy has changed.
    let kept = mint.verified(claims(), &oidc()).unwrap();
    assert_eq!(kept.judge(&issuer, NOW, None), Err(TokenRefusal::AlgorithmNotAllowed));
}

#[test]
fn eddsa_has_two_names() {
    let mint = Mint::ed25519("k");
    let token = mint.token_under(&json!({"alg": "Ed25519", "kid": "k"}), &claims());
    assert!(verify(&token, &mint.key_set(), &oidc()).is_ok());
}

#[test]
fn a_named_key_is_the_one_that_must_have_signed() {
    let (one, other) = (Mint::es256("one"), Mint::es256("other"));
    let set = KeySet::parse(&jwks([one.jwk(), other.jwk()])).unwrap();
    let swapped = one.token_under(&json!({"alg": "ES256", "kid": "other"}), &claims());
    assert_eq!(
        verify(&swapped, &set, &oidc()).unwrap_err(),
        TokenRefusal::SignatureInvalid
    );
    let unknown = one.token_under(&json!({"alg": "ES256", "kid": "third"}), &claims());
    assert_eq!(verify(&unknown, &set, &oidc()).unwrap_err(), TokenRefusal::UnknownKey);
    let nameless = other.token_under(&json!({"alg": "ES256"}), &claims());
    assert!(verify(&nameless, &set, &oidc()).is_ok());
}

#[test]
fn both_keys_of_one_name_are_tried() {
    let (one, other) = (Mint::es256("same"), Mint::es256("same"));
    let set = KeySet::parse(&jwks([one.jwk(), other.jwk()])).unwrap();
    assert_eq!(set.len(), 2);
    assert!(verify(&one.token(claims()), &set, &oidc()).is_ok());
    assert!(verify(&other.token(claims()), &set, &oidc()).is_ok());
}

#[test]
fn eight_keys_are_tried_for_a_token_without_a_name() {
    let mints: Vec<Mint> = (0..9).map(|_| Mint::ed25519("").without_key_id()).collect();
    // Keys that do not fit do not count.
    let others = (0..9).map(|_| Mint::es256("").jwk());
    let set = KeySet::parse(&jwks(others.chain(mints.iter().map(Mint::jwk)))).unwrap();
    assert!(verify(&mints[7].token(claims()), &set, &oidc()).is_ok());
    let refused = verify(&mints[8].token(claims()), &set, &oidc()).unwrap_err();
    assert_eq!(refused, TokenRefusal::SignatureInvalid);
}

#[test]
fn what_is_no_signed_token_is_malformed() {
    let mint = Mint::es256("k");
    let good = mint.token(claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let header = mint.header().to_string();
    let payload = claims().to_string();
    let mut broken = vec![
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        signed.to_owned(),
        format!("{good}."),
        format!("{good}.a.b"),
        format!("{good}="),
        format!("{good} "),
        format!("{good}\n"),
        format!(" {good}"),
        good.replacen('.', "=.", 1),
        format!("{signed}.+/+/"),
        // Two bits are left over.
        format!("{signed}.AB"),
    ];
    let of_text = |header: &str, payload: &str| mint.token_of_text(header, payload);
    broken.extend([
        of_text("", &payload),
        of_text("[]", &payload),
        of_text("\"ES256\"", &payload),
        of_text(&format!("{header}{header}"), &payload),
        of_text("{\"typ\":\"JWT\"}", &payload),
        of_text("{\"alg\":null}", &payload),
        of_text("{\"alg\":[\"ES256\"]}", &payload),
        of_text("{\"alg\":\"ES256\",\"alg\":\"ES256\"}", &payload),
        of_text("{\"alg\":\"none\",\"alg\":\"ES256\"}", &payload),
        of_text("{\"alg\":\"ES256\",\"kid\":7}", &payload),
        of_text("{\"alg\":\"ES256\",\"typ\":{}}", &payload),
        of_text("{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}", &payload),
        of_text("{\"alg\":\"ES256\",\"crit\":[]}", &payload),
        of_text("{\"alg\":\"ES256\",\"crit\":null}", &payload),
        of_text("{\"alg\":\"ES256\",\"b64\":false,\"crit\":[\"b64\"]}", &payload),
        of_text(&header, ""),
        of_text(&header, "[]"),
        of_text(&header, "{\"sub\":\"alice\",\"sub\":\"root\"}"),
        of_text(&header, "{\"sub\":\"alice\",\"s\\u0075b\":\"root\"}"),
        of_text(&header, &format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200))),
        of_text(&header, &good),
    ]);
    for token in broken {
        assert_eq!(parsed(&token), Err(TokenRefusal::Malformed), "{token}");
    }
    assert_eq!(
        Unverified::parse(b"\xff.\xff.\xff").unwrap_err(),
        TokenRefusal::Malformed
    );
}

#[test]
fn a_header_that_names_a_key_s_place_is_not_asked() {
    let (mint, mallory) = (Mint::es256("k"), Mint::es256("k"));
    let header = json!({
        "alg": "ES256", "kid": "k", "jwk": mallory.jwk(), "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/certificate", "x5c": ["AAAA"],
    });
    let refused = verify(&mallory.token_under(&header, &claims()), &mint.key_set(), &oidc()).unwrap_err();
    assert_eq!(refused, TokenRefusal::SignatureInvalid);
    assert!(verify(&mint.token_under(&header, &claims()), &mint.key_set(), &oidc()).is_ok());
}

#[test]
fn the_length_has_its_bound() {
    let mint = Mint::ed25519("k");
    let sized = |length: usize| mint.token(super::super::testing::claims_with("pad", json!("x".repeat(length))));
    let base = sized(0).len();
    // Four characters for three bytes.
    let fitting = sized((MAX_TOKEN - base - 4) / 4 * 3);
    assert!(fitting.len() > MAX_TOKEN - 16 && fitting.len() <= MAX_TOKEN);
    assert!(verify(&fitting, &mint.key_set(), &oidc()).is_ok());
    assert_eq!(parsed(&"x".repeat(MAX_TOKEN)), Err(TokenRefusal::Malformed));
    assert_eq!(parsed(&"x".repeat(MAX_TOKEN + 1)), Err(TokenRefusal::Oversize));
}

#[test]
fn a_token_s_text_cannot_be_printed() {
    let mint = Mint::es256("secret-key-id");
    let token = mint.token(claims());
    let read = Unverified::parse(token.as_bytes()).unwrap();
    assert_eq!(format!("{read:?}"), "Unverified { algorithm: Es256, .. }");
    let shown = format!("{:?}", read.verify(&mint.key_set(), &oidc()).unwrap());
    assert!(!shown.contains("alice") && !shown.contains(ISSUER), "{shown}");
}
