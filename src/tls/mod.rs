//! The link: rustls for handshakes, our record layer for data, in place. No sockets here, and no threads.
//!
//! A [`Handshake`] eats bytes and writes bytes until it is [`Established`]; from then on its [`Link`] opens and seals
//! records where they lie. Nothing decrypted ever waits inside this room: what [`Link::open`] finds, it gives at once.
//! This room judges no client: it checks that the peer holds the key of the certificate it shows, and `identity`
//! judges the chain afterwards. Towards servers it judges what the cluster's TLS mode asks for.

mod alert;
mod client_certificate;
mod end_point;
mod error;
mod facts;
#[cfg(test)]
mod fixtures;
mod handshake;
#[cfg(test)]
mod handshake_tests;
mod listener;
#[cfg(test)]
mod peer;
mod possession;
mod record;
mod server_certificate;
#[cfg(test)]
mod server_certificate_tests;
mod upstream;

pub use alert::Alert;
pub use error::{Fault, Misuse, TlsError, Violation};
pub use facts::{HandshakeFacts, Version};
pub use handshake::{Established, Handshake, Progress};
pub use listener::{ListenerOptions, ListenerTls, ListenerTlsError};
pub use record::{Filled, Link, Marks, Opened, RecordAssembler, fuzz_handshake, fuzz_record};
pub use server_certificate::ServerCertificateFault;
pub use upstream::{ClientCertificate, UpstreamTls, UpstreamTlsError};

/// Bytes that must be free before a plaintext for [`Link::seal_in_place`]: header (5) and explicit nonce (8), rounded up.
pub const HEAD_ROOM: usize = 16;

/// Bytes that must be free behind a plaintext for [`Link::seal_in_place`]: content type (1) and tag (16), rounded up.
pub const TAIL_ROOM: usize = 32;

/// Most plaintext in one record to a client: libpq's asynchronous API loses bytes of records over 8 KiB.
pub const MAX_PLAINTEXT_TO_CLIENT: usize = 8192;

/// Most plaintext in one record to a server (RFC 8446 5.1).
pub const MAX_PLAINTEXT_TO_SERVER: usize = 16_384;

/// The longest record that a peer may send, header included: 2^14 + 256 bytes of body (RFC 8446 5.2). A caller's
/// buffer for [`RecordAssembler`] must hold this much.
pub const MAX_RECORD: usize = 5 + 16_384 + 256;

/// The application protocol that PostgreSQL registered for itself.
pub const ALPN: &[u8] = b"postgresql";
