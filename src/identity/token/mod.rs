//! Signed tokens: JSON Web Tokens (RFC 7519) of OpenID Connect providers and JWT-SVIDs of SPIFFE trust domains.
//!
//! A token passes three states, and each is a type of its own. [`Unverified`] is read and nothing more: it says whose keys
//! to look at. [`Verified`] has a good signature of one of those keys; that does not change any more, so a [`cache::Cache`]
//! may keep it. [`Verified::judge`] makes an [`Assertion`] of it: who it stands for, at this moment, under this policy and
//! on this connection. None of these three is kept, so that judgement is repeated at every use.
//!
//! - The key decides what a signature may be: `alg` must be one that the policy allows for the issuer *and* fit the key's
//!   type, curve, `use` and own `alg`. There is no `none` and no HMAC.
//! - Nothing in a token names a key's place: `jku`, `x5u`, `jwk` and `x5c` are not looked at.
//! - A token that is bound to a key (`cnf`) in a way that cannot be enforced here is refused.
//! - A member that stands twice in an object is refused: whoever signed and whoever reads might each see another one.

mod algorithm;
pub mod cache;
mod checks;
mod claims;
mod examined;
pub mod fuzz;
mod issuers;
mod json;
mod key_set;
mod refusal;
pub mod spiffe;
mod unverified;
mod verified;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use checks::{Check, checks, shown};
pub use claims::Binding;
pub use examined::{Examined, Signature};
pub use issuers::{Issuers, KeyOrigin, KnownIssuer};
pub use key_set::{KeySet, KeySetError};
pub use refusal::TokenRefusal;
pub use unverified::Unverified;
pub use verified::{Assertion, OneTime, Verified};

/// Bytes of one token at most.
pub const MAX_TOKEN: usize = 64 * 1024;

/// Base64url as RFC 7515 has it: no padding, no bits left over.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
