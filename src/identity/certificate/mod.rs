//! From the certificates a client presented to an identity, or the reason why not.
//!
//! The TLS handshake has shown that the client holds the leaf's key; nothing else is believed. [`Trust`] is what the policy
//! trusts, parsed once per snapshot. [`examine`] asks it about a chain, [`resolve`] asks the snapshot whose names those
//! are, and [`judge`] does both: at login, at a resumed handshake and at every re-check alike, with a [`Cache`] of what was
//! examined before.
//!
//! - Each provider judges by itself: its anchors and its CRLs never decide about a certificate that another CA issued.
//! - Names (URI, DNS, CN) count only for providers whose anchor validates the chain; a pin (fingerprint, public key) needs
//!   no chain. Dates count for both.
//! - Revocation is final whoever is asked: a pin does not outweigh it.

mod cache;
mod examine;
mod facts;
pub mod fuzz;
mod judge;
mod refusal;
mod trust;
mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use examine::{Evidence, examine};
pub use facts::{CertificateFacts, Unreadable};
pub use judge::{Judged, judge, resolve};
pub use refusal::CertificateRefusal;
pub use trust::{Trust, TrustError};

/// SHA-256 of a certificate's DER: its name in policies and records, whether or not it can be read.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    facts::sha256(der)
}
