//! Tokens with a good signature and any content, from a corpus: who is let in must be by a second, plain reading of the JSON.

use postern_fuzzing::{Entry, Marks, drive};
use serde_json::{Value, json};

use super::super::testing::{AUDIENCE, ISSUER, Mint, NOW, claims, encode, verify};
use super::super::{Assertion, KeySet, TokenRefusal, fuzz};
use super::properties::demanding;

const CERTIFICATE: [u8; 32] = [7; 32];

/// Every way a token can end here.
const MARKS: [&str; 15] = [
    "let_in",
    "let_in_bound",
    "token_malformed",
    "token_algorithm_not_allowed",
    "token_issuer_unknown",
    "token_unknown_key",
    "token_wrong_audience",
    "token_expired",
    "token_not_yet_valid",
    "token_too_old",
    "token_claim_missing",
    "token_subject_invalid",
    "token_id_missing",
    "token_binding_unsupported",
    "token_binding_mismatch",
];

#[test]
fn driven_from_the_corpus() {
    let mint = Mint::fixed("k");
    let keys = mint.key_set();
    drive("token", &MARKS, generated, |data, marks| run(&mint, &keys, data, marks));
}

/// The bytes are header and payload, parted by a newline; they are signed here.
fn run(mint: &Mint, keys: &KeySet, data: &[u8], marks: &mut Marks) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (header, payload) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let token = mint.token_of_bytes(header, payload);
    let judged = verify(&token, keys, &demanding()).and_then(|it| it.judge(&demanding(), NOW, Some(&CERTIFICATE)));
    match judged {
        Ok(assertion) => {
            check(header, payload, &assertion);
            marks.reach(if assertion.key_bound { "let_in_bound" } else { "let_in" });
        }
        Err(refusal) => {
            assert_ne!(refusal, TokenRefusal::SignatureInvalid);
            marks.reach(refusal.as_str());
        }
    }
    fuzz::fuzz_payload(payload, &demanding(), NOW);
    fuzz::fuzz_key_set(payload);
}

/// What [`demanding`] asks for, written down once more.
fn check(header: &[u8], payload: &[u8], assertion: &Assertion) {
    let [header, payload]: [Value; 2] = [header, payload].map(|text| serde_json::from_slice(text).unwrap());
    assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
    assert!(header.get("crit").is_none() && header.get("kid").is_none_or(|id| id == "k"));
    assert_eq!(payload["iss"], ISSUER);
    let audience = &payload["aud"];
    let listed = audience
        .as_array()
        .is_some_and(|list| list.iter().any(|one| one == AUDIENCE));
    assert!(audience == AUDIENCE || listed);
    let now = NOW.seconds() as f64;
    let seconds = |name: &str| payload[name].as_f64().unwrap();
    assert!(seconds("exp") + 30.0 > now);
    assert!(seconds("iat") - 30.0 <= now && seconds("iat") + 330.0 > now);
    assert!(payload.get("nbf").is_none() || seconds("nbf") - 30.0 <= now);
    assert!(
        payload["a"]
            .to_string()
            .contains(|byte: char| byte.is_ascii_alphanumeric() || byte == '"')
    );
    assert_eq!(payload["sub"], &*assertion.subject);
    assert!(payload["jti"].as_str().is_some_and(|id| !id.is_empty()) && assertion.once.is_some());
    match payload.get("cnf") {
        None => assert!(!assertion.key_bound),
        Some(confirmation) => {
            assert!(assertion.key_bound && *confirmation == json!({"x5t#S256": encode(&CERTIFICATE)}));
        }
    }
}

/// A good token, and one for each way it may be refused.
fn generated() -> Vec<Entry> {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims["iat"] = json!(NOW.seconds());
        claims["jti"] = json!("one");
        claims["a"] = json!(["x", {"b": ["dba", "dev"]}]);
        claims[name] = value;
        claims
    };
    let now = NOW.seconds();
    let header = json!({"alg": "EdDSA", "kid": "k", "typ": "JWT"});
    let payloads = [
        ("good", with("nbf", json!(now))),
        ("bound", with("cnf", json!({"x5t#S256": encode(&CERTIFICATE)}))),
        ("bound-otherwise", with("cnf", json!({"x5t#S256": encode(&[8; 32])}))),
        ("bound-unsupported", with("cnf", json!({"jkt": encode(&CERTIFICATE)}))),
        (
            "bound-further",
            with("cnf", json!({"x5t#S256": encode(&CERTIFICATE), "jkt": "x"})),
        ),
        ("issuer", with("iss", json!("https://other.example"))),
        ("audience", with("aud", json!(["other", "another"]))),
        ("audiences", with("aud", json!(["other", AUDIENCE]))),
        ("expired", with("exp", json!(now - 30))),
        ("future", with("nbf", json!(now + 31))),
        ("old", with("iat", json!(now - 330))),
        ("claim", with("a", json!([]))),
        ("subject", with("sub", json!(""))),
        ("identifier", with("jti", json!(""))),
        ("type", with("sub", json!(["alice"]))),
        ("fraction", with("exp", json!(now as f64 + 0.5))),
    ];
    let headers = [
        ("algorithm", json!({"alg": "none"})),
        ("key", json!({"alg": "EdDSA", "kid": "other"})),
        ("nameless", json!({"alg": "Ed25519"})),
        ("critical", json!({"alg": "EdDSA", "crit": ["exp"]})),
    ];
    let of_payload = payloads.map(|(name, payload)| (name, format!("{header}\n{payload}")));
    let of_header = headers.map(|(name, header)| (name, format!("{header}\n{}", with("nbf", json!(now)))));
    let entries = of_payload.into_iter().chain(of_header);
    entries
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect()
}
