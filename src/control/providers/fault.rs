//! What can go wrong on the way to a provider and back: a closed list, in words for the operator.

/// Characters of a fault that are kept: some repeat what a provider said, and that may be long.
const MAX_WORDS: usize = 500;

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

/// A fault in words, on one line and of bounded length.
pub fn in_brief(fault: &impl std::fmt::Display) -> String {
    let words = fault.to_string();
    words
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(MAX_WORDS)
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_provider_stay_on_one_line_and_short() {
        assert_eq!(in_brief(&"a\nb"), "a b");
        assert_eq!(in_brief(&"é".repeat(2000)).chars().count(), MAX_WORDS);
    }
}
