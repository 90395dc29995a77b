//! The claims that most tokens have (RFC 7519, 4.1), each to be changed or left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::encoding::base64url;

/// Claims of one token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// `iss`, `aud`, `sub`, a `jti` that no other has, and `iat`, `nbf`, `exp`: from now on for five minutes.
    pub fn new(issuer: &str, audience: &str, subject: &str) -> Self {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(issuer));
        claims.insert("aud".to_owned(), json!(audience));
        claims.insert("sub".to_owned(), json!(subject));
        claims.insert("jti".to_owned(), json!(unique()));
        Self(claims).valid(now(), 300)
    }

    /// Issued and valid from `from` (seconds since 1970) on for `seconds`.
    pub fn valid(self, from: u64, seconds: u64) -> Self {
        self.with("iat", from)
            .with("nbf", from)
            .with("exp", from.saturating_add(seconds))
    }

    /// Sets a claim, instead of what it was.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Bound to a client certificate, DER (RFC 8705, 3.1).
    pub fn bound_to(self, certificate: &[u8]) -> Self {
        let thumbprint = base64url(digest(&SHA256, certificate));
        self.with("cnf", json!({"x5t#S256": thumbprint}))
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl From<Claims> for Value {
    fn from(claims: Claims) -> Self {
        Self::Object(claims.0)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Random, and a count of this process.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 12];
    aws_lc_rs::rand::fill(&mut random).expect("random bytes");
    format!("{}-{}", base64url(random), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_claims_can_be_changed_and_left_out() {
        let claims = Claims::new("https://i", "aud", "alice")
            .valid(1000, 60)
            .with("groups", vec!["a", "b"])
            .without("nbf")
            .without("jti");
        let expected = json!({
            "iss": "https://i", "aud": "aud", "sub": "alice", "iat": 1000, "exp": 1060, "groups": ["a", "b"],
        });
        assert_eq!(Value::from(claims), expected);
    }

    #[test]
    fn no_two_tokens_have_the_same_jti() {
        let jti = || Claims::new("i", "a", "s").get("jti").cloned();
        assert_ne!(jti(), jti());
    }

    #[test]
    fn a_bound_token_has_the_thumbprint_of_the_certificate() {
        let claims = Claims::new("i", "a", "s").bound_to(b"abc");
        let expected = json!({"x5t#S256": "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"});
        assert_eq!(claims.get("cnf"), Some(&expected));
    }
}
