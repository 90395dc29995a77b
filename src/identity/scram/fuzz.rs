//! Fuzz bodies: any bytes in, nothing but an answer out. Run as plain functions by tests and by a fuzzer.

use postern_policy::identity::ScramVerifierView;

use super::server::{Against, Binding};
use super::{client, derive, server, verifier};

const NONCE: [u8; super::NONCE_BYTES] = [7; super::NONCE_BYTES];
const MOST_ITERATIONS: u32 = 8;

/// The bytes are flags, client-first and client-final, parted by newlines. What an attacker without the password sends
/// never verifies.
pub fn fuzz_server(data: &[u8]) {
    let mut parts = data.splitn(3, |&byte| byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (flags, first, last) = (next(), next(), next());
    let has = |flag| flags.contains(&flag);
    let binding = if has(b't') {
        Binding::Offered { end_point: &[9; 32] }
    } else {
        Binding::None
    };
    let mechanism: &[u8] = if has(b'p') {
        b"SCRAM-SHA-256-PLUS"
    } else {
        b"SCRAM-SHA-256"
    };
    let known = ScramVerifierView {
        iterations: 1,
        salt: &[3; 16],
        stored_key: &[4; 32],
        server_key: &[5; 32],
    };
    let against = Against::of(has(b'k').then_some(known), "name", &[0; 32], 1);
    let mut out = Vec::new();
    let Ok(expect) = server::begin(mechanism, first, against, binding, NONCE, &mut out) else {
        assert!(out.is_empty(), "a refusal says nothing");
        return;
    };
    let asked = out.len();
    // `@` stands for the nonce, so that the checks behind it are reached too.
    let nonce = out
        .split(|&byte| byte == b',')
        .next()
        .and_then(|r| r.strip_prefix(b"r="))
        .unwrap_or_default();
    let last = replace(last, b'@', nonce);
    let verified = expect.finish(&last, &mut out);
    assert!(
        verified.is_err() && out.len() == asked,
        "nobody knows a preimage of StoredKey"
    );
}

/// The bytes are server-first and server-final, parted by a newline.
pub fn fuzz_client(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let mut out = Vec::new();
    let expect = client::begin(client::Binding::EndPoint(&[9; 32]), NONCE, &mut out);
    let nonce = super::encode(&NONCE);
    let first = replace(parts.next().unwrap_or_default(), b'@', nonce.as_bytes());
    let Ok(need) = expect.handle(&first, MOST_ITERATIONS) else {
        return;
    };
    assert!((1..=MOST_ITERATIONS).contains(&need.iterations));
    let keys = derive(b"password", &need.salt, need.iterations);
    let told = need.proceed(&keys, &mut out).handle(parts.next().unwrap_or_default());
    assert!(told.is_err(), "nobody without the password signs");
}

/// The bytes are a verifier's text.
pub fn fuzz_verifier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(read) = verifier::parse(text) {
        assert!(verifier::parse(&verifier::format(&read)).is_ok_and(|again| again == read));
    }
}

fn replace(text: &[u8], mark: u8, with: &[u8]) -> Vec<u8> {
    text.iter()
        .flat_map(|byte| if *byte == mark { with.to_vec() } else { vec![*byte] })
        .collect()
}
