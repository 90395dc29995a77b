//! JWK Sets of any content, from a corpus: no key checks a signature that a second, plain reading of the set has no key for.

use postern_fuzzing::{Entry, Marks, drive};
use postern_policy::model::TokenAlgorithm;
use serde_json::{Value, json};

use super::super::testing::{ALGORITHMS, Mint, jwks};
use super::super::{KeySet, KeySetError, fuzz};

const MARKS: [&str; 10] = [
    "rsa",
    "p256",
    "p384",
    "ed25519",
    "named",
    "skipped",
    "malformed",
    "too_many",
    "private",
    "no_usable_key",
];

#[test]
fn driven_from_the_corpus() {
    drive("key-set", &MARKS, generated, run);
}

fn run(data: &[u8], marks: &mut Marks) {
    fuzz::fuzz_key_set(data);
    match KeySet::parse(data) {
        Ok(set) => {
            let value: Value = serde_json::from_slice(data).expect("it was JSON");
            check(value["keys"].as_array().expect("a list"), &set, marks);
        }
        Err(fault) => marks.reach(match fault {
            KeySetError::TooLong | KeySetError::Malformed => "malformed",
            KeySetError::TooManyKeys => "too_many",
            KeySetError::PrivateKey { .. } => "private",
            KeySetError::NoUsableKey { .. } => "no_usable_key",
        }),
    }
}

fn check(keys: &[Value], set: &KeySet, marks: &mut Marks) {
    assert!(keys.len() <= 256 && set.len() + set.skipped() == keys.len());
    assert!(
        keys.iter()
            .all(|key| key.get("d").is_none() && key.get("oth").is_none())
    );
    for id in set.key_ids() {
        marks.reach("named");
        assert!(keys.iter().any(|key| key["kid"] == id), "{id}");
    }
    if set.skipped() > 0 {
        marks.reach("skipped");
    }
    for algorithm in ALGORITHMS {
        let (kind, curve, names, mark) = needs(algorithm);
        let fits = |key: &&Value| {
            let curve_fits = curve.is_none_or(|curve| key["crv"] == curve);
            let named = key.get("alg").is_none_or(|name| names.iter().any(|one| name == one));
            key["kty"] == kind && curve_fits && named && key["use"] != "enc"
        };
        let checked = set.fitting(algorithm, None).count();
        assert!(checked <= keys.iter().filter(fits).count(), "{algorithm:?}");
        if checked > 0 {
            marks.reach(mark);
        }
    }
}

/// Type, curve and names that a key for it has (RFC 7518, 3.1; RFC 8037; RFC 9864).
fn needs(
    algorithm: TokenAlgorithm,
) -> (
    &'static str,
    Option<&'static str>,
    &'static [&'static str],
    &'static str,
) {
    match algorithm {
        TokenAlgorithm::Rs256 => ("RSA", None, &["RS256"], "rsa"),
        TokenAlgorithm::Rs384 => ("RSA", None, &["RS384"], "rsa"),
        TokenAlgorithm::Rs512 => ("RSA", None, &["RS512"], "rsa"),
        TokenAlgorithm::Ps256 => ("RSA", None, &["PS256"], "rsa"),
        TokenAlgorithm::Ps384 => ("RSA", None, &["PS384"], "rsa"),
        TokenAlgorithm::Ps512 => ("RSA", None, &["PS512"], "rsa"),
        TokenAlgorithm::Es256 => ("EC", Some("P-256"), &["ES256"], "p256"),
        TokenAlgorithm::Es384 => ("EC", Some("P-384"), &["ES384"], "p384"),
        TokenAlgorithm::EdDsa => ("OKP", Some("Ed25519"), &["EdDSA", "Ed25519"], "ed25519"),
    }
}

/// Sets with a key of each kind, alone and together, and one for each way a set may be none.
fn generated() -> Vec<Entry> {
    let key = Mint::fixed("k").jwk();
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        jwks([key])
    };
    let every: Vec<Value> = Mint::every().iter().map(Mint::jwk).collect();
    let mut entries = vec![
        ("every", jwks(every.iter().take(4).cloned())),
        ("nameless", jwks([Mint::fixed("k").without_key_id().jwk()])),
        ("encryption", jwks([with_use(&key, "enc"), key.clone()])),
        ("operations", with("key_ops", json!(["verify"]))),
        (
            "symmetric",
            jwks([json!({"kty": "oct", "k": "AAAA", "alg": "HS256"}), key.clone()]),
        ),
        ("other-algorithm", with("alg", json!("RS256"))),
        ("none", with("alg", json!("none"))),
        ("private", with("d", json!("AAAA"))),
        ("empty", br#"{"keys":[]}"#.to_vec()),
        ("no-list", br#"{"keys":{}}"#.to_vec()),
        ("no-json", br#"{"keys":["#.to_vec()),
        ("many", format!("{{\"keys\":[{}{{}}]}}", "{},".repeat(256)).into_bytes()),
    ];
    let kinds = [
        "kind-0", "kind-1", "kind-2", "kind-3", "kind-4", "kind-5", "kind-6", "kind-7", "kind-8",
    ];
    entries.extend(kinds.into_iter().zip(every.into_iter().map(|key| jwks([key]))));
    entries
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

fn with_use(key: &Value, used: &str) -> Value {
    let mut key = key.clone();
    key["use"] = json!(used);
    key
}
