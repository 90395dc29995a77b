//! From a good signature to an assertion.

use std::collections::{BTreeMap, BTreeSet};

use postern_policy::model::{ClaimTest, Glob, TokenIssuer};
use serde_json::{Value, json};

use super::super::cache::hash as sha256;
use super::super::testing::{AUDIENCE, ISSUER, Mint, NOW, claims, claims_with, encode, oidc, svid, verify};
use super::super::{Assertion, Binding, TokenRefusal, Verified};
use crate::time::Utc;

const CERTIFICATE: [u8; 32] = [7; 32];

fn verified(claims: Value) -> Result<Verified, TokenRefusal> {
    Mint::ed25519("k").verified(claims, &oidc())
}

fn judged(claims: Value, issuer: &TokenIssuer) -> Result<Assertion, TokenRefusal> {
    verified(claims)?.judge(issuer, NOW, None)
}

fn refused(claims: Value, issuer: &TokenIssuer) -> Option<TokenRefusal> {
    judged(claims, issuer).err()
}

/// So many seconds after [`NOW`].
fn at(seconds: i64) -> Utc {
    Utc(NOW.0 + seconds * 1_000_000)
}

#[test]
fn a_good_token_stands_for_its_subject() {
    let assertion = judged(claims(), &oidc()).unwrap();
    assert_eq!(&*assertion.subject, "alice");
    assert_eq!((assertion.ends, assertion.recheck_at), (at(600), at(600)));
    assert!(!assertion.key_bound && assertion.once.is_none());
}

#[test]
fn the_issuer_is_the_policy_s_exactly() {
    for issuer in [
        json!(null),
        json!(""),
        json!("https://idp.example/"),
        json!("https://IDP.example"),
        json!("http://idp.example"),
    ] {
        let refused = refused(claims_with("iss", issuer), &oidc());
        assert_eq!(refused, Some(TokenRefusal::IssuerUnknown));
    }
}

#[test]
fn a_svid_s_subject_is_of_the_trust_domain() {
    let mut claims = claims_with("iss", json!(null));
    for (subject, expected) in [
        (json!("spiffe://corp/ns/prod/sa/billing"), None),
        (json!("spiffe://other/ns/prod"), Some(TokenRefusal::IssuerUnknown)),
        (json!("spiffe://corp.evil/a"), Some(TokenRefusal::IssuerUnknown)),
        (json!("spiffe://corp/a/../b"), Some(TokenRefusal::SubjectInvalid)),
        (json!("alice"), Some(TokenRefusal::SubjectInvalid)),
        (json!(""), Some(TokenRefusal::SubjectInvalid)),
        // As long as a SPIFFE ID may be, and a byte more.
        (json!(format!("spiffe://corp/{}", "a".repeat(2034))), None),
        (
            json!(format!("spiffe://corp/{}", "a".repeat(2035))),
            Some(TokenRefusal::SubjectInvalid),
        ),
    ] {
        claims["sub"] = subject;
        assert_eq!(refused(claims.clone(), &svid()), expected, "{claims}");
    }
    claims.as_object_mut().unwrap().remove("sub");
    assert_eq!(refused(claims, &svid()), Some(TokenRefusal::SubjectInvalid));
}

#[test]
fn one_audience_of_the_policy_is_enough() {
    for (audience, good) in [
        (json!(AUDIENCE), true),
        (json!([AUDIENCE]), true),
        (json!(["other", AUDIENCE]), true),
        (json!("other"), false),
        (json!("Postern"), false),
        (json!([]), false),
        (json!(null), false),
    ] {
        let refused = refused(claims_with("aud", audience.clone()), &oidc());
        assert_eq!(refused.is_none(), good, "{audience}");
        assert!(good || refused == Some(TokenRefusal::WrongAudience));
    }
}

#[test]
fn registered_claims_of_another_type_are_malformed() {
    for (name, value) in [
        ("iss", json!([ISSUER])),
        ("sub", json!(7)),
        ("sub", json!(["alice"])),
        ("jti", json!({"a": "b"})),
        ("aud", json!(7)),
        ("aud", json!({"postern": AUDIENCE})),
        ("aud", json!([[AUDIENCE]])),
        ("aud", json!([AUDIENCE, 7])),
        ("exp", json!("1795420900")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!(-0.5)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(253_402_300_800_i64)),
        ("nbf", json!(i64::MIN)),
        ("nbf", json!([1])),
        ("iat", json!(true)),
        ("iat", json!(1e12)),
    ] {
        let refused = verified(claims_with(name, value.clone())).unwrap_err();
        assert_eq!(refused, TokenRefusal::Malformed, "{name} {value}");
    }
    // Null is not the same as absent.
    let mint = Mint::ed25519("k");
    for name in ["iss", "aud", "sub", "jti", "exp", "nbf", "iat"] {
        let payload = claims_with(name, json!(null)).to_string();
        let payload = payload.replacen('{', &format!("{{\"{name}\":null,"), 1);
        let token = mint.token_of_text(&mint.header().to_string(), &payload);
        let refused = verify(&token, &mint.key_set(), &oidc()).unwrap_err();
        assert_eq!(refused, TokenRefusal::Malformed, "{payload}");
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    let refused = verified(claims_with("exp", json!(null))).unwrap_err();
    assert_eq!(refused, TokenRefusal::ClaimMissing);
}

#[test]
fn a_token_ends_with_the_second_it_names() {
    let token = verified(claims()).unwrap();
    let skewed = TokenIssuer {
        clock_skew: 30,
        ..oidc()
    };
    let refused = |issuer: &TokenIssuer, now: Utc| token.judge(issuer, now, None).err();
    assert_eq!(refused(&oidc(), Utc(at(600).0 - 1)), None);
    assert_eq!(refused(&oidc(), at(600)), Some(TokenRefusal::Expired));
    assert_eq!(refused(&skewed, Utc(at(630).0 - 1)), None);
    assert_eq!(refused(&skewed, at(630)), Some(TokenRefusal::Expired));
    let late = token.judge(&skewed, at(610), None).unwrap();
    assert_eq!((late.ends, late.recheck_at), (at(630), at(630)));
    assert_eq!(refused(&oidc(), Utc(i64::MAX)), Some(TokenRefusal::Expired));
    assert_eq!(refused(&oidc(), Utc(i64::MIN)), None);
}

#[test]
fn dates_may_have_a_fraction() {
    let token = verified(claims_with("exp", json!(NOW.seconds() as f64 + 0.5))).unwrap();
    assert_eq!(token.expires(), Utc(NOW.0 + 500_000));
    assert!(token.judge(&oidc(), Utc(NOW.0 + 499_999), None).is_ok());
    let far = verified(claims_with("exp", json!(253_402_300_799.0))).unwrap();
    assert_eq!(far.expires(), Utc(253_402_300_799_000_000));
}

#[test]
fn a_token_from_the_future_waits() {
    let skewed = TokenIssuer {
        clock_skew: 30,
        ..oidc()
    };
    for name in ["nbf", "iat"] {
        let token = verified(claims_with(name, json!(NOW.seconds() + 60))).unwrap();
        let refused = |issuer: &TokenIssuer, now: Utc| token.judge(issuer, now, None).err();
        assert_eq!(refused(&oidc(), Utc(at(60).0 - 1)), Some(TokenRefusal::NotYetValid));
        assert_eq!(refused(&oidc(), at(60)), None);
        assert_eq!(refused(&skewed, Utc(at(30).0 - 1)), Some(TokenRefusal::NotYetValid));
        assert_eq!(refused(&skewed, at(30)), None);
    }
}

#[test]
fn a_token_is_too_old_at_its_age_whatever_its_end() {
    let issuer = TokenIssuer {
        max_age: Some(60),
        clock_skew: 10,
        ..oidc()
    };
    assert_eq!(refused(claims(), &issuer), Some(TokenRefusal::ClaimMissing));
    let token = verified(claims_with("iat", json!(NOW.seconds()))).unwrap();
    assert_eq!(token.issued_at(), Some(NOW));
    assert_eq!(token.judge(&issuer, NOW, None).unwrap().recheck_at, at(70));
    assert!(token.judge(&issuer, Utc(at(70).0 - 1), None).is_ok());
    assert_eq!(token.judge(&issuer, at(70), None), Err(TokenRefusal::TooOld));
    let long = TokenIssuer {
        max_age: Some(u32::MAX),
        ..issuer
    };
    assert_eq!(token.judge(&long, NOW, None).unwrap().recheck_at, at(610));
}

#[test]
fn the_type_is_compared_without_case_and_prefix() {
    let mint = Mint::ed25519("k");
    let with_type = |typ: Value, types: &[&str]| {
        let mut header = mint.header();
        match typ {
            Value::Null => header.as_object_mut().unwrap().remove("typ"),
            typ => header.as_object_mut().unwrap().insert("typ".to_owned(), typ),
        };
        let issuer = TokenIssuer {
            types: types.iter().map(|&name| name.to_owned()).collect(),
            ..oidc()
        };
        let token = mint.token_under(&header, &claims());
        let verified = verify(&token, &mint.key_set(), &issuer);
        verified.unwrap().judge(&issuer, NOW, None).err()
    };
    for (typ, types) in [
        (json!("at+jwt"), &["at+jwt"][..]),
        (json!("application/AT+JWT"), &["at+jwt"]),
        (json!("at+jwt"), &["JWT", "Application/at+jwt"]),
        (json!("anything"), &[]),
        (json!(null), &[]),
    ] {
        assert_eq!(with_type(typ.clone(), types), None, "{typ} {types:?}");
    }
    for (typ, types) in [
        (json!("JWT"), &["at+jwt"][..]),
        (json!(null), &["at+jwt"]),
        (json!(""), &["at+jwt"]),
        (json!("text/at+jwt"), &["at+jwt"]),
        (json!("application/x/at+jwt"), &["x/at+jwt"]),
    ] {
        assert_eq!(
            with_type(typ.clone(), types),
            Some(TokenRefusal::TypeNotAllowed),
            "{typ} {types:?}"
        );
    }
}

#[test]
fn required_claims_are_required() {
    let glob = |pattern: &str| Glob(pattern.to_owned());
    let issuer = TokenIssuer {
        required_claims: BTreeMap::from([
            ("email_verified".to_owned(), ClaimTest::Is(glob("true"))),
            (
                "realm_access.roles".to_owned(),
                ClaimTest::HasOneOf(vec![glob("dba"), glob("db-*")]),
            ),
        ]),
        ..oidc()
    };
    let with = |verified: Value, roles: Value| {
        let mut claims = claims_with("email_verified", verified);
        claims["realm_access"] = json!({ "roles": roles });
        refused(claims, &issuer)
    };
    assert_eq!(with(json!(true), json!(["user", "db-read"])), None);
    assert_eq!(with(json!("true"), json!("dba")), None);
    let missing = Some(TokenRefusal::ClaimMissing);
    assert_eq!(with(json!(false), json!(["dba"])), missing);
    assert_eq!(with(json!(null), json!(["dba"])), missing);
    assert_eq!(with(json!([true, true]), json!(["dba"])), missing);
    assert_eq!(with(json!(true), json!(["user"])), missing);
    assert_eq!(with(json!(true), json!([])), missing);
    assert_eq!(with(json!(true), json!([{"name": "dba"}])), missing);
}

#[test]
fn the_subject_is_one_printable_name() {
    let issuer = TokenIssuer {
        subject_claim: "who.name".to_owned(),
        ..oidc()
    };
    let named = |name: Value| judged(claims_with("who", json!({ "name": name })), &issuer).map(|it| it.subject);
    assert_eq!(named(json!("bob")).as_deref(), Ok("bob"));
    assert_eq!(named(json!(1234)).as_deref(), Ok("1234"));
    assert_eq!(named(json!("é".repeat(127))).as_deref(), Ok(&*"é".repeat(127)));
    for bad in [
        json!(""),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("a\u{7f}"),
        json!("a\u{85}"),
        json!("é".repeat(128)),
        json!(["a", "b"]),
        json!([]),
        json!({}),
        json!(null),
        // Others would look the same.
        json!(18_446_744_073_709_551_617.0),
    ] {
        assert_eq!(named(bad.clone()), Err(TokenRefusal::SubjectInvalid), "{bad}");
    }
}

#[test]
fn groups_are_those_of_their_claim() {
    let mut issuer = oidc();
    let token = verified(claims_with("groups", json!(["dba", "dev"]))).unwrap();
    assert_eq!(token.groups(&issuer).count(), 0);
    issuer.groups_claim = Some("groups".to_owned());
    assert_eq!(token.groups(&issuer).collect::<Vec<_>>(), ["dba", "dev"]);
}

#[test]
fn a_bound_token_needs_its_certificate() {
    let bound = claims_with("cnf", json!({"x5t#S256": encode(&CERTIFICATE)}));
    let token = verified(bound).unwrap();
    assert_eq!(*token.binding(), Binding::Certificate(CERTIFICATE));
    assert!(token.judge(&oidc(), NOW, Some(&CERTIFICATE)).unwrap().key_bound);
    let refused = |certificate| token.judge(&oidc(), NOW, certificate).err();
    assert_eq!(refused(None), Some(TokenRefusal::BindingMissing));
    assert_eq!(refused(Some(&[8; 32])), Some(TokenRefusal::BindingMismatch));
    let free = verified(claims())
        .unwrap()
        .judge(&oidc(), NOW, Some(&CERTIFICATE))
        .unwrap();
    assert!(!free.key_bound);
}

#[test]
fn a_binding_that_cannot_be_enforced_is_refused() {
    let thumbprint = encode(&CERTIFICATE);
    let mut bindings = vec![
        json!({}),
        json!([]),
        json!("x5t#S256"),
        json!(7),
        json!({"jkt": thumbprint}),
        json!({"jwk": {"kty": "EC"}}),
        json!({"kid": "k"}),
        json!({"x5t#S256": thumbprint, "jkt": thumbprint}),
        json!({"x5t#S256": thumbprint, "of-tomorrow": null}),
        json!({"x5t#s256": thumbprint}),
        json!({"x5t#S256": null}),
        json!({"x5t#S256": [thumbprint]}),
        json!({"x5t#S256": encode(&[7; 31])}),
        json!({"x5t#S256": encode(&[7; 33])}),
    ];
    bindings.push(json!({"x5t#S256": format!("{thumbprint}=")}));
    for binding in bindings {
        let token = verified(claims_with("cnf", binding.clone())).unwrap();
        for certificate in [None, Some(&CERTIFICATE)] {
            let refused = token.judge(&oidc(), NOW, certificate).err();
            assert_eq!(refused, Some(TokenRefusal::BindingUnsupported), "{binding}");
        }
    }
    let mint = Mint::ed25519("k");
    let payload = claims().to_string().replacen('{', "{\"cnf\":null,", 1);
    let token = mint.token_of_text(&mint.header().to_string(), &payload);
    let null = verify(&token, &mint.key_set(), &oidc()).unwrap();
    assert_eq!(null.judge(&oidc(), NOW, None), Err(TokenRefusal::BindingUnsupported));
}

#[test]
fn a_token_that_counts_once_has_a_mark() {
    let issuer = TokenIssuer {
        one_time: true,
        clock_skew: 5,
        ..oidc()
    };
    let once = |id: &str, issuer: &TokenIssuer| judged(claims_with("jti", json!(id)), issuer).unwrap().once.unwrap();
    let mark = once("a", &issuer);
    assert_eq!(mark.until, at(900));
    let aged = TokenIssuer {
        max_age: Some(1),
        ..issuer.clone()
    };
    let young = json!({"jti": "a", "iat": NOW.seconds()});
    let mut of_now = claims();
    of_now
        .as_object_mut()
        .unwrap()
        .extend(young.as_object().unwrap().clone());
    assert_eq!(judged(of_now, &aged).unwrap().once.unwrap(), mark);
    let input = [&19_u64.to_be_bytes()[..], ISSUER.as_bytes(), b"a"].concat();
    assert_eq!(mark.id, sha256(&input));
    assert_eq!(mark, once("a", &issuer));
    assert_ne!(mark.id, once("b", &issuer).id);
    assert_eq!(refused(claims(), &issuer), Some(TokenRefusal::TokenIdMissing));
    assert_eq!(
        refused(claims_with("jti", json!("")), &issuer),
        Some(TokenRefusal::TokenIdMissing)
    );
    assert_eq!(judged(claims_with("jti", json!("a")), &oidc()).unwrap().once, None);
}

#[test]
fn a_svid_s_mark_is_of_its_trust_domain() {
    let mut issuer = svid();
    issuer.one_time = true;
    if let postern_policy::model::TokenForm::JwtSvid { trust_domains } = &mut issuer.form {
        *trust_domains = BTreeSet::from(["corp".to_owned(), "other".to_owned()]);
    }
    let mark = |subject: &str| {
        let mut claims = claims_with("jti", json!("a"));
        claims["sub"] = json!(subject);
        judged(claims, &issuer).unwrap().once.unwrap().id
    };
    assert_eq!(mark("spiffe://corp/a"), mark("spiffe://corp/b"));
    assert_ne!(mark("spiffe://corp/a"), mark("spiffe://other/a"));
}

#[test]
fn claims_have_their_bounds() {
    let values = |count: usize| verified(claims_with("list", json!(vec![1; count]))).err();
    assert_eq!(values(1024 - 4), None);
    assert_eq!(values(1024 - 3), Some(TokenRefusal::TooManyClaims));
    let nested = |depth: usize| {
        let value = (0..depth).fold(json!("x"), |inner, _| json!([inner]));
        verified(claims_with("nested", value)).err()
    };
    assert_eq!(nested(8), None);
    assert_eq!(nested(9), Some(TokenRefusal::TooManyClaims));
    // A long name is repeated for each element.
    let named = |length: usize| verified(claims_with(&"n".repeat(length), json!(vec![1; 1000]))).err();
    assert_eq!(named(200), None);
    assert_eq!(named(300), Some(TokenRefusal::TooManyClaims));
}
