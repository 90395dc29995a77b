//! Fuzz bodies: any bytes in, nothing but an answer out. Run as plain functions by tests and by a fuzzer.

use postern_policy::model::TokenIssuer;

use super::{KeySet, MAX_TOKEN, TokenRefusal, Unverified, Verified, claims, json};
use crate::time::Utc;

/// The bytes are a token. Nobody without the issuer's key signs, so it is never verified.
pub fn fuzz_token(data: &[u8], keys: &KeySet, issuer: &TokenIssuer) {
    let token = match Unverified::parse(data) {
        Err(refusal) => {
            assert_eq!(refusal == TokenRefusal::Oversize, data.len() > MAX_TOKEN);
            return;
        }
        Ok(token) => token,
    };
    assert_eq!(data.iter().filter(|&&byte| byte == b'.').count(), 2);
    let shown = format!("{token:?}");
    assert!(
        token
            .subject()
            .is_none_or(|subject| subject.len() < 16 || !shown.contains(subject))
    );
    assert!(token.verify(keys, issuer).is_err(), "nobody without the key signs");
}

/// The bytes are a payload that the issuer has signed: judged by a policy, it gives an answer, and the same one again.
pub fn fuzz_payload(data: &[u8], issuer: &TokenIssuer, now: Utc) {
    let Some(payload) = json::object(data) else { return };
    let Ok(token) = Verified::new(super::verified::Origin::of_fuzzing(), payload) else {
        return;
    };
    assert!(token.claims().iter().count() <= claims::MOST_VALUES && token.weight() < 64 * MAX_TOKEN);
    let judged = token.judge(issuer, now, Some(&[7; 32]));
    assert_eq!(judged, token.judge(issuer, now, Some(&[7; 32])));
    let Ok(assertion) = judged else { return };
    assert!(!assertion.subject.is_empty() && now < assertion.recheck_at);
    let refused = token.judge(issuer, assertion.recheck_at, Some(&[7; 32]));
    assert!(matches!(refused, Err(TokenRefusal::Expired | TokenRefusal::TooOld)));
    assert!(
        token
            .judge(issuer, Utc(assertion.recheck_at.0 - 1), Some(&[7; 32]))
            .is_ok()
    );
}

/// The bytes are a JWK Set.
pub fn fuzz_key_set(data: &[u8]) {
    let Ok(set) = KeySet::parse(data) else { return };
    assert!(set.len() > 0 && set.key_ids().count() <= set.len());
}
