//! Logging in to a cluster: the protocol half, which is pure. Bytes come in and go out; sockets, clocks, random bytes and
//! the slow key derivation are the caller's.
//!
//! - [`encryption`]: the one byte between SSLRequest and the TLS handshake;
//! - [`login`]: from StartupMessage to ReadyForQuery, as one role, with only the methods its credential lists;
//! - [`cancel`]: a server's cancel key, and the request that uses it.
//!
//! Which server, when, and how often is decided elsewhere (`session`, `core`). A server is as untrusted as a client.

pub mod cancel;
pub mod encryption;
pub mod login;
