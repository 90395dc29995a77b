//! Whole messages out of chunks, for the phases before relay: borrowed when a message lies in one chunk, copied when not.
//!
//! The length is checked against the cap of the phase before a byte is kept, so that a stranger costs no more memory
//! than the message that the phase expects. What was copied is zeroed: it may be a password.

use zeroize::Zeroizing;

use super::{WireError, initial};

/// A tagged message with its five bytes of header. `Debug` shows no content: it may be a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub tag: u8,
    pub body: &'a [u8],
    /// All of it, to be passed on as it came.
    pub whole: &'a [u8],
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} of {} bytes)", self.tag.escape_ascii(), self.whole.len())
    }
}

impl<'a> Message<'a> {
    fn of(whole: &'a [u8]) -> Option<Self> {
        let (header, body) = whole.split_first_chunk::<5>()?;
        Some(Message {
            tag: header[0],
            body,
            whole,
        })
    }
}

/// What one call took from the front of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<T> {
    /// Bytes of the input that are used up, whether a message came of them or not.
    pub consumed: usize,
    /// `None` when more bytes are needed; all of the input is then consumed.
    pub message: Option<T>,
}

/// Gathers the message that is under way. Empty, and without memory of its own, between messages that came whole.
#[derive(Default)]
pub struct Assembler {
    /// The start of a message whose end has not come; or a whole one that was given out by the last call.
    held: Zeroizing<Vec<u8>>,
    given: bool,
}

impl Assembler {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next untagged first message of a client, its length word included.
    ///
    /// # Errors
    /// As soon as the length word is there and outside of what [`initial`] allows.
    pub fn take_initial<'a>(&'a mut self, input: &'a [u8]) -> Result<Taken<&'a [u8]>, WireError> {
        self.take(input, 4, |header| {
            let length = u32::from_be_bytes(first(header));
            initial::check_length(length).map(|()| length as usize)
        })
    }

    /// The next tagged message. `most` gives the greatest length word for a type, or `None` for a type that this phase
    /// does not take; it is asked before anything of the body is kept.
    ///
    /// # Errors
    /// `UnexpectedMessage` as soon as the type byte is there, length faults as soon as the length word is.
    pub fn take_message<'a>(
        &'a mut self,
        input: &'a [u8],
        most: impl Fn(u8) -> Option<u32>,
    ) -> Result<Taken<Message<'a>>, WireError> {
        let limit = |tag: u8| most(tag).ok_or(WireError::UnexpectedMessage { tag });
        if let Some(tag) = self.first_byte(input) {
            limit(tag)?;
        }
        let Taken { consumed, message } = self.take(input, 5, |header| {
            let [tag, length @ ..] = first::<5>(header);
            tagged_length(u32::from_be_bytes(length), limit(tag)?)
        })?;
        Ok(Taken {
            consumed,
            message: message.and_then(Message::of),
        })
    }

    /// No part of a message is held back: what follows in the input may go to a [`super::frame::Follower`].
    pub fn is_empty(&self) -> bool {
        self.given || self.held.is_empty()
    }

    /// Bytes held of a message that is not complete.
    pub fn held(&self) -> usize {
        if self.given { 0 } else { self.held.len() }
    }

    fn first_byte(&self, input: &[u8]) -> Option<u8> {
        if self.is_empty() {
            input.first().copied()
        } else {
            self.held.first().copied()
        }
    }

    /// Takes one message with a header of `header` bytes, of which `total` makes the length of all of it.
    fn take<'a>(
        &'a mut self,
        input: &'a [u8],
        header: usize,
        total: impl Fn(&[u8]) -> Result<usize, WireError>,
    ) -> Result<Taken<&'a [u8]>, WireError> {
        if self.given {
            self.forget();
        }
        if self.held.is_empty()
            && let Some(start) = input.get(..header)
        {
            let consumed = total(start)?;
            if let Some(message) = input.get(..consumed) {
                return Ok(Taken {
                    consumed,
                    message: Some(message),
                });
            }
        }
        let mut rest = input;
        if self.gather(&mut rest, header) {
            let total = total(&self.held)?;
            // In one piece, so that growing leaves no copies of a secret behind.
            let missing = total.saturating_sub(self.held.len());
            self.held.reserve_exact(missing);
            self.given = self.gather(&mut rest, total);
        }
        let consumed = input.len() - rest.len();
        Ok(Taken {
            consumed,
            message: self.given.then_some(&self.held[..]),
        })
    }

    /// Moves bytes over until `length` are held; says whether they are.
    fn gather(&mut self, input: &mut &[u8], length: usize) -> bool {
        let missing = length.saturating_sub(self.held.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.held.extend_from_slice(taken);
        *input = rest;
        self.held.len() >= length
    }

    fn forget(&mut self) {
        self.held = Zeroizing::default();
        self.given = false;
    }
}

fn tagged_length(length: u32, most: u32) -> Result<usize, WireError> {
    if length < 4 {
        return Err(WireError::LengthTooSmall { length, least: 4 });
    }
    if length > most {
        return Err(WireError::LengthTooLarge { length, most });
    }
    Ok(length as usize + 1)
}

/// The first `N` bytes of a header that is known to have them; zeros fill what is not there.
fn first<const N: usize>(header: &[u8]) -> [u8; N] {
    header.first_chunk::<N>().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &[u8] = b"p\0\0\0\x0bsecret\0";
    const SYNC: &[u8] = b"S\0\0\0\x04";

    fn limit(tag: u8) -> Option<u32> {
        match tag {
            b'p' => Some(1_000),
            b'S' => Some(4),
            _ => None,
        }
    }

    /// Everything that is in `bytes`, handed over in chunks of `size`.
    fn take_all(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut assembler = Assembler::new();
        let mut got = Vec::new();
        for mut chunk in bytes.chunks(size) {
            while !chunk.is_empty() {
                let taken = assembler.take_message(chunk, limit).expect("legal");
                got.extend(taken.message.map(|message| message.whole.to_vec()));
                chunk = &chunk[taken.consumed..];
            }
        }
        assert!(assembler.is_empty());
        got
    }

    #[test]
    fn borrows_what_lies_in_one_chunk() {
        let bytes = [PASSWORD, SYNC].concat();
        let mut assembler = Assembler::new();
        let taken = assembler.take_message(&bytes, limit).expect("legal");
        let message = taken.message.expect("whole");
        assert_eq!(
            (message.tag, message.body, message.whole),
            (b'p', &b"secret\0"[..], PASSWORD)
        );
        assert_eq!(message.whole.as_ptr(), bytes.as_ptr());
        let rest = &bytes[taken.consumed..];
        let message = assembler
            .take_message(rest, limit)
            .expect("legal")
            .message
            .expect("whole");
        assert_eq!((message.tag, message.body), (b'S', &b""[..]));
        assert!(assembler.is_empty());
        assert_eq!(assembler.held.capacity(), 0);
    }

    #[test]
    fn every_split_gives_the_same_messages() {
        let bytes = [PASSWORD, SYNC, PASSWORD].concat();
        for size in 1..=bytes.len() {
            assert_eq!(take_all(&bytes, size), [PASSWORD, SYNC, PASSWORD], "chunks of {size}");
        }
    }

    #[test]
    fn a_type_out_of_turn_is_refused_at_its_first_byte() {
        let expected = Err(WireError::UnexpectedMessage { tag: b'Q' });
        assert_eq!(Assembler::new().take_message(b"Q", limit), expected);
        assert_eq!(Assembler::new().take_message(b"Q\0\0\0\x05\0", limit), expected);
    }

    #[test]
    fn debug_does_not_show_the_content() {
        let taken = Assembler::new()
            .take_message(PASSWORD, limit)
            .map(|taken| format!("{taken:?}"));
        assert_eq!(
            taken,
            Ok("Taken { consumed: 12, message: Some(Message(p of 12 bytes)) }".to_owned())
        );
    }

    #[test]
    fn lengths_beyond_the_cap_keep_nothing() {
        let mut assembler = Assembler::new();
        let error = WireError::LengthTooLarge {
            length: 1_001,
            most: 1_000,
        };
        assert_eq!(assembler.take_message(b"p\0\0\x03\xe9aaaa", limit), Err(error));
        assert_eq!(assembler.held.capacity(), 0);
        let error = WireError::LengthTooSmall { length: 3, least: 4 };
        assert_eq!(assembler.take_message(b"p\0\0\0\x03", limit), Err(error));
    }

    #[test]
    fn memory_is_the_announced_length_and_no_more() {
        let mut assembler = Assembler::new();
        let taken = assembler.take_message(b"p\0\0\x03\xe8ab", limit);
        assert_eq!(
            taken,
            Ok(Taken {
                consumed: 7,
                message: None
            })
        );
        assert_eq!(assembler.held(), 7);
        assert!((1_001..1_100).contains(&assembler.held.capacity()));
    }

    #[test]
    fn first_messages_are_taken_whole_and_split() {
        let mut bytes = Vec::new();
        initial::encode_ssl_request(&mut bytes);
        initial::encode_startup(
            &mut bytes,
            initial::ProtocolVersion::V3_0,
            [(&b"user"[..], &b"alice"[..])],
        );
        for size in 1..=bytes.len() {
            let mut assembler = Assembler::new();
            let mut got = Vec::new();
            for mut chunk in bytes.chunks(size) {
                while !chunk.is_empty() {
                    let taken = assembler.take_initial(chunk).expect("legal");
                    got.extend(taken.message.map(<[u8]>::to_vec));
                    chunk = &chunk[taken.consumed..];
                }
            }
            assert_eq!(got, [&bytes[..8], &bytes[8..]], "chunks of {size}");
        }
        let oversize = 10_005_u32.to_be_bytes();
        assert!(matches!(
            Assembler::new().take_initial(&oversize),
            Err(WireError::LengthTooLarge { .. })
        ));
    }
}
