//! Check by check is the same judgement, and no word of it is the token.

use proptest::prelude::*;
use serde_json::json;

use super::super::testing::{Mint, NOW, claims, claims_with, encode, oidc, svid, verify};
use super::super::{Examined, Signature, TokenRefusal, Unverified, checks, shown};
use super::properties::{demanding, mint, value};

const CERTIFICATE: [u8; 32] = [7; 32];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_first_refusal_is_the_judgement(
        dates in (-100_i64..800, prop::option::of(-400_i64..100), prop::option::of(-100_i64..100)),
        a in value(),
        texts in prop::collection::btree_map("(iss|sub|aud|jti)", "(|https://idp\\.example|alice|postern|spiffe://corp/x)", 0..3),
        bound in prop::option::of(6_u8..9), shown in any::<bool>(), which in 0_usize..3,
    ) {
        let mut payload = claims();
        let (exp, iat, nbf) = dates;
        payload["exp"] = json!(NOW.seconds() + exp);
        payload["jti"] = json!("one");
        payload["a"] = a;
        if let Some(iat) = iat { payload["iat"] = json!(NOW.seconds() + iat); }
        if let Some(nbf) = nbf { payload["nbf"] = json!(NOW.seconds() + nbf); }
        if let Some(bound) = bound { payload["cnf"] = json!({"x5t#S256": encode(&[bound; 32])}); }
        for (name, text) in texts { payload[name] = json!(text); }
        let issuer = [oidc(), demanding(), svid()].into_iter().nth(which).unwrap();
        let certificate = shown.then_some(&CERTIFICATE);
        let (mint, keys) = mint();
        let token = verify(&mint.token(payload), keys, &issuer).unwrap();
        let first = checks(&token, &issuer, NOW, certificate).into_iter().find_map(|check| check.refusal);
        prop_assert_eq!(first, token.judge(&issuer, NOW, certificate).err());
    }
}

#[test]
fn each_check_says_what_it_wanted_and_got() {
    let (mint, keys) = mint();
    let issuer = demanding();
    let payload = claims_with("aud", json!(["other", "x".repeat(300)]));
    let token = verify(&mint.token(payload), keys, &issuer).unwrap();
    let checks = checks(&token, &issuer, NOW, None);
    let about: Vec<&str> = checks.iter().map(|check| check.about.as_str()).collect();
    assert_eq!(
        about,
        [
            "iss",
            "alg",
            "typ",
            "aud",
            "exp",
            "nbf",
            "iat",
            "max_age",
            "claim a",
            "subject sub",
            "cnf",
            "jti"
        ]
    );
    let audience = &checks[3];
    assert_eq!(
        (audience.wanted.as_str(), audience.refusal),
        ("`postern`", Some(TokenRefusal::WrongAudience))
    );
    assert!(audience.got.starts_with("`other`, `xxx") && audience.got.len() < 250);
    assert_eq!(checks[4].got, "2026-11-23T08:10:00Z, holds for 630s more");
    assert_eq!(
        (checks[7].got.as_str(), checks[7].refusal),
        ("no iat", Some(TokenRefusal::ClaimMissing))
    );
}

#[test]
fn claims_are_shown_whatever_the_signature_is_worth() {
    let (mint, other) = (Mint::ed25519("k"), Mint::ed25519("k"));
    let (issuer, text) = (oidc(), mint.token(claims()));
    for (keys, expected) in [
        (Some(mint.key_set()), Signature::Good),
        (
            Some(other.key_set()),
            Signature::Refused(TokenRefusal::SignatureInvalid),
        ),
        (None, Signature::Unchecked),
    ] {
        let token = Unverified::parse(text.as_bytes()).unwrap();
        let examined = Examined::of(token, keys.as_ref().map(|keys| (keys, &issuer))).unwrap();
        assert_eq!(examined.signature(), expected);
        assert!(examined.claims().any(|claim| claim == ("sub", "alice")));
        assert!(
            examined
                .checks(&issuer, NOW, None)
                .iter()
                .all(|check| check.refusal.is_none())
        );
        assert_eq!(
            examined.verified().err(),
            (expected != Signature::Good).then_some(expected)
        );
    }
}

#[test]
fn without_claims_the_refusal_is_the_gates() {
    let (mint, other) = (Mint::ed25519("k"), Mint::ed25519("k"));
    let text = mint.token(claims_with("exp", json!(null)));
    for keys in [mint.key_set(), other.key_set()] {
        let token = Unverified::parse(text.as_bytes()).unwrap();
        let examined = Examined::of(token, Some((&keys, &oidc()))).err();
        assert_eq!(examined, verify(&text, &keys, &oidc()).err());
    }
}

#[test]
fn a_text_does_nothing_to_a_terminal() {
    assert_eq!(shown("a\u{1b}[2J\n"), "`a\\u{1b}[2J\\n`");
    assert_eq!(shown(&"\u{e9}".repeat(201)), format!("`{}`...", "\u{e9}".repeat(200)));
}
