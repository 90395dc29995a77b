//! What can go wrong on the way to a provider and back: a closed list, in words for the operator.

/// Why no usable answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("no address is known for {0}")]
    AddressUnknown(Box<str>),
    #[error("cannot connect to {to}: {error}")]
    Connect { to: Box<str>, error: String },
    #[error("TLS with {host}: {error}")]
    Tls { host: Box<str>, error: String },
    #[error("HTTP: {0}")]
    Http(String),
    #[error("answered {status}, a redirect to {location}: redirects are not followed")]
    Redirect { status: u16, location: Box<str> },
    #[error("answered with status {0}")]
    Status(u16),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("no complete answer within {millis} ms ({phase})")]
    Deadline { millis: u64, phase: Phase },
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connect,
    Tls,
    Head,
    Body,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Connect => "connecting",
            Phase::Tls => "in the TLS handshake",
            Phase::Head => "waiting for the answer",
            Phase::Body => "reading the answer",
        })
    }
}
