//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both ends, as PostgreSQL speaks them.
//!
//! [`server`] faces clients, [`client`] faces servers; [`keys`] derives what both need and [`verifier`] reads and writes
//! PostgreSQL's stored form. Messages are those inside SASLInitialResponse, SASLContinue, SASLResponse and SASLFinal;
//! the framing around them is `wire`'s. The only channel binding is `tls-server-end-point` (RFC 5929).

pub mod client;
mod cursor;
mod error;
pub mod fuzz;
pub mod keys;
pub mod server;
pub mod verifier;

#[cfg(test)]
mod tests;

pub use error::{ClientError, Malformed, ScramError};
pub use keys::{Keys, derive};

/// Mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Mechanism with channel binding; offered under TLS only.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Bytes of one SCRAM message at most, on either side: PostgreSQL's own bound (`PG_MAX_SASL_MESSAGE_LENGTH`).
pub const MAX_MESSAGE: usize = 1024;
/// Random bytes behind a nonce, before base64: as PostgreSQL (`SCRAM_RAW_NONCE_LEN`).
pub const NONCE_BYTES: usize = 18;

/// The one binding type supported (RFC 5929, section 4).
const END_POINT: &str = "tls-server-end-point";

/// `c=` when binding to `end_point`: base64 of the gs2 header and the hash (RFC 5802, section 6).
fn bound_attribute(end_point: &[u8]) -> String {
    let mut input = format!("p={END_POINT},,").into_bytes();
    input.extend_from_slice(end_point);
    encode(&input)
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Base64 of exactly 32 bytes: a key, a proof or a signature.
fn decode_32(text: &[u8]) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}
