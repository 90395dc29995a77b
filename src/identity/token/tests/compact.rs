//! Whole tokens, byte for byte, from a corpus: the compact form (RFC 7515, section 7.1) and the signature over it. What is
//! taken must be what the issuer's key makes of the same header and payload, and no other spelling of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_fuzzing::{Entry, Marks, drive};
use serde_json::json;

use super::super::testing::{Mint, claims, encode, oidc};
use super::super::{KeySet, MAX_TOKEN, Unverified, fuzz};

const MARKS: [&str; 6] = [
    "let_in",
    "token_malformed",
    "token_oversize",
    "token_algorithm_not_allowed",
    "token_unknown_key",
    "token_signature_invalid",
];

#[test]
fn driven_from_the_corpus() {
    let mint = Mint::fixed("k");
    let keys = mint.key_set();
    drive("compact-token", &MARKS, generated, |data, marks| {
        run(&mint, &keys, data, marks)
    });
}

fn run(mint: &Mint, keys: &KeySet, data: &[u8], marks: &mut Marks) {
    let verified = Unverified::parse(data).and_then(|token| token.verify(keys, &oidc()));
    match verified {
        Ok(_) => {
            let (header, payload) = spelled(data).expect("three parts of base64url");
            assert_eq!(data, mint.token_of_bytes(&header, &payload).as_bytes());
            marks.reach("let_in");
        }
        Err(refusal) => {
            marks.reach(refusal.as_str());
            fuzz::fuzz_token(data, keys, &oidc());
        }
    }
}

/// Header and payload, where there are three parts.
fn spelled(token: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = token
        .split(|&byte| byte == b'.')
        .map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (header, payload) = (parts.next()??, parts.next()??);
    let _signature = parts.next()??;
    parts.next().is_none().then_some((header, payload))
}

/// A good token, and other spellings of it.
fn generated() -> Vec<Entry> {
    let mint = Mint::fixed("k");
    let good = mint.token(claims());
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let of = |parts: &[&str]| parts.join(".");
    let unsigned = encode(json!({"alg": "none"}).to_string().as_bytes());
    // The last character of 64 bytes carries four bits that mean nothing.
    let (most, last) = signature.split_at(signature.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1).to_string();
    let entries = [
        ("good", good.clone()),
        ("another-key", Mint::fixed("other").token(claims())),
        ("forged", of(&[header, &encode(br#"{"sub":"mallory"}"#), signature])),
        ("none", of(&[&unsigned, payload, ""])),
        ("no-signature", of(&[header, payload, ""])),
        ("two-parts", of(&[header, payload])),
        ("four-parts", of(&[header, payload, signature, ""])),
        ("five-parts", of(&[header, "", "", payload, signature])),
        ("padded", format!("{good}==")),
        ("other-last-bits", of(&[header, payload, &format!("{most}{next}")])),
        ("line-end", format!("{good}\n")),
        ("blank", format!(" {good}")),
        ("nul", format!("{good}\0")),
        ("swapped", of(&[payload, header, signature])),
        ("oversize", "a".repeat(MAX_TOKEN + 1)),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
    ];
    entries
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect()
}
