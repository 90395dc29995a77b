//! Text that a peer chose: kept short, and told apart from text that the gate or its policy wrote.

use std::fmt;

/// Bytes kept of one text of a peer.
pub const PEER_TEXT_CAP: usize = 256;

/// Names kept of one start-up packet's settings.
pub const PEER_NAMES_CAP: usize = 32;

/// Text from a peer (a client's `user`, a server's error message): any bytes at all, at most [`PEER_TEXT_CAP`] of them.
///
/// The record shows it JSON-escaped, or as hex when it is no UTF-8. It has no `Display`, so that it does not find its way
/// raw into the operator's log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PeerText {
    kept: Box<[u8]>,
    truncated: bool,
    utf8: bool,
}

impl PeerText {
    /// Keeps the first [`PEER_TEXT_CAP`] bytes; of UTF-8, whole characters.
    pub fn new(bytes: &[u8]) -> Self {
        let (kept, utf8) = match std::str::from_utf8(bytes) {
            Ok(text) => (whole_characters(text, PEER_TEXT_CAP).as_bytes(), true),
            Err(_) => (bytes.get(..PEER_TEXT_CAP).unwrap_or(bytes), false),
        };
        Self {
            kept: kept.into(),
            truncated: kept.len() < bytes.len(),
            utf8,
        }
    }

    /// The text, where it is UTF-8.
    pub fn as_text(&self) -> Result<&str, &[u8]> {
        match std::str::from_utf8(&self.kept) {
            Ok(text) if self.utf8 => Ok(text),
            Ok(_) | Err(_) => Err(&self.kept),
        }
    }

    /// Whether there was more of it.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// The longest start of `text` that has at most `cap` bytes and splits no character.
pub(super) fn whole_characters(text: &str, cap: usize) -> &str {
    if text.len() <= cap {
        return text;
    }
    (0..=cap).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

impl From<&[u8]> for PeerText {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<&str> for PeerText {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerText(\"{}\")", self.kept.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_whole_characters_up_to_the_cap() {
        let exact = "x".repeat(PEER_TEXT_CAP);
        assert!(!PeerText::from(exact.as_str()).is_truncated());

        let text = format!("{}é", "x".repeat(PEER_TEXT_CAP - 1));
        let kept = PeerText::from(text.as_str());
        assert_eq!(kept.as_text(), Ok("x".repeat(PEER_TEXT_CAP - 1).as_str()));
        assert!(kept.is_truncated());
    }

    #[test]
    fn a_text_that_is_wrong_only_behind_the_cap_is_still_wrong() {
        let mut bytes = vec![b'x'; PEER_TEXT_CAP];
        bytes.push(0xff);
        let kept = PeerText::new(&bytes);
        assert_eq!(kept.as_text(), Err(vec![b'x'; PEER_TEXT_CAP].as_slice()));
        assert!(kept.is_truncated());
    }
}
