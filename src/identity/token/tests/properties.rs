//! What holds for any claims and any bytes.

use std::sync::OnceLock;

use postern_policy::attributes::Attributes;
use postern_policy::model::{ClaimTest, Glob, TokenIssuer};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{Mint, NOW, claims, encode, oidc};
use super::super::{KeySet, TokenRefusal, claims, fuzz};

/// A key for all cases.
pub fn mint() -> &'static (Mint, KeySet) {
    static MINT: OnceLock<(Mint, KeySet)> = OnceLock::new();
    MINT.get_or_init(|| {
        let mint = Mint::ed25519("k");
        let keys = mint.key_set();
        (mint, keys)
    })
}

/// A policy in which everything that can be asked is.
pub fn demanding() -> TokenIssuer {
    let any = ClaimTest::HasOneOf(vec![Glob("*".to_owned())]);
    TokenIssuer {
        clock_skew: 30,
        max_age: Some(300),
        required_claims: [("a".to_owned(), any)].into(),
        groups_claim: Some("a.b".to_owned()),
        one_time: true,
        ..oidc()
    }
}

pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

/// The values under a path, found the slow way.
fn values_at(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().flat_map(|element| values_at(element, path)).collect(),
        Value::Object(object) => {
            let (name, rest) = path.split_once('.').unwrap_or((path, ""));
            object
                .get(name)
                .filter(|_| !path.is_empty())
                .map_or_else(Vec::new, |member| values_at(member, rest))
        }
        Value::Null => Vec::new(),
        _ if !path.is_empty() => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
    }
}

fn flat(claims: &Value) -> Attributes {
    claims::flatten(claims.as_object().unwrap().clone()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_claim_is_found_at_its_path(claims in prop::collection::btree_map("[a-c]", value(), 0..4), path in "[a-c](\\.[a-c]){0,3}") {
        let claims = json!(claims);
        let flat = flat(&claims);
        let found: Vec<&str> = flat.values(&path).collect();
        prop_assert_eq!(&found, &values_at(&claims, &path));
        let pattern = Glob("a*".to_owned());
        let is = found.len() == 1 && found[0].starts_with('a');
        prop_assert_eq!(ClaimTest::Is(pattern.clone()).holds(&path, &flat), is);
        let one = found.iter().any(|value| value.starts_with('a'));
        prop_assert_eq!(ClaimTest::HasOneOf(vec![pattern]).holds(&path, &flat), one);
    }

    #[test]
    fn any_bytes_get_an_answer(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, keys) = mint();
        fuzz::fuzz_token(&data, keys, &oidc());
        fuzz::fuzz_payload(&data, &oidc(), NOW);
        fuzz::fuzz_key_set(&data);
    }

    #[test]
    fn nearly_right_tokens_get_an_answer(
        header in "\\{\"alg\":\"(ES256|EdDSA|none)\"(,\"(kid|typ|crit|alg)\":(\"k\"|7|\\[\\]))?\\}",
        payload in "\\{(\"(iss|sub|aud|exp)\":(\"[a-z]{16}\"|[0-9]{1,20}))?(,\"(cnf|a)\":[\\[\\{][\\]\\}])?\\}",
        signature in "[A-Za-z0-9_-]{84,88}",
    ) {
        let (_, keys) = mint();
        let token = format!("{}.{}.{signature}", encode(header.as_bytes()), encode(payload.as_bytes()));
        fuzz::fuzz_token(token.as_bytes(), keys, &oidc());
    }

    #[test]
    fn any_payload_gets_the_same_answer_until_it_is_to_be_asked_again(
        exp in -100_i64..800, iat in prop::option::of(-400_i64..100), nbf in prop::option::of(-100_i64..100),
        a in value(), bound in any::<bool>(), demands in any::<bool>(),
    ) {
        let mut payload = claims();
        payload["exp"] = json!(NOW.seconds() + exp);
        payload["jti"] = json!("one");
        payload["a"] = a;
        if let Some(iat) = iat { payload["iat"] = json!(NOW.seconds() + iat); }
        if let Some(nbf) = nbf { payload["nbf"] = json!(NOW.seconds() + nbf); }
        if bound { payload["cnf"] = json!({"x5t#S256": encode(&[7; 32])}); }
        let issuer = if demands { demanding() } else { oidc() };
        fuzz::fuzz_payload(payload.to_string().as_bytes(), &issuer, NOW);
    }

    #[test]
    fn one_changed_byte_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (mint, keys) = mint();
        let mut token = mint.token(claims()).into_bytes();
        let at = at.index(token.len());
        prop_assume!(token[at] != byte);
        token[at] = byte;
        fuzz::fuzz_token(&token, keys, &oidc());
    }
}

#[test]
fn a_flat_list_is_as_long_as_the_claims() {
    let flat = flat(&json!({"a": [1, [2, {"b": true}], null, {"b": "x", "c": {}}], "d.e": -1.5}));
    let pairs: Vec<(&str, &str)> = flat.iter().collect();
    assert_eq!(
        pairs,
        [("a", "1"), ("a", "2"), ("a.b", "true"), ("a.b", "x"), ("d.e", "-1.5")]
    );
    for ambiguous in [
        json!({"a": {"b": 1}, "a.b": 2}),
        json!({"a": {"c": 1}, "a.b": 2}),
        json!({"a": [{"b": 1}], "a.b": 2}),
        json!({"x": [{"a.b": {"d": 1}, "a.b.c": 2}]}),
    ] {
        let refused = claims::flatten(ambiguous.as_object().unwrap().clone());
        assert_eq!(refused, Err(TokenRefusal::Malformed), "{ambiguous}");
    }
    let plain = json!({"https://example.org/tenant": "acme", "a": 1, "a.b": 2, "x": {"a.b": 3}});
    assert!(claims::flatten(plain.as_object().unwrap().clone()).is_ok());
    let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
    let refused = claims::flatten(deep.as_object().unwrap().clone());
    assert_eq!(refused, Err(TokenRefusal::TooManyClaims));
}
