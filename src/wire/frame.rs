//! Follows the headers of relayed messages over arbitrary chunks, keeping at most the five bytes of a split header.
//!
//! The bytes themselves are forwarded from where they lie; the follower only says which messages begin in them, that
//! each is one the direction may carry, and where the next boundary is.

use super::WireError;
use super::tag::{TagSet, backend};

/// Type byte and length word.
pub const HEADER: usize = 5;

/// The greatest length word that PostgreSQL can send or take: a body below 1 GiB (`MaxAllocSize`) and the word itself.
pub const MAX_LENGTH: u32 = (1 << 30) + 3;

/// One message that begins (or whose split header ends) in the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub tag: u8,
    /// The length word: bytes of the message without its type byte.
    pub length: u32,
    /// Offset of the type byte in the chunk; negative (down to -5) when it came in an earlier one.
    pub start: isize,
    /// The transaction status of a ReadyForQuery (`I`, `T`, `E`); zero for every other type.
    pub status: u8,
}

/// What a chunk has that may not be relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error} (at byte {start} of the chunk)")]
pub struct FollowError {
    pub error: WireError,
    /// Offset of the offending message's type byte: everything before it is legal. Negative when the type byte came in
    /// an earlier chunk.
    pub start: isize,
}

/// Where one direction of a relayed stream stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follower {
    /// Bytes of the current message that are still to come; its header has been told.
    remaining: u32,
    /// How much of `header` holds a split header. Never greater than zero while `remaining` is.
    held: u8,
    header: [u8; HEADER],
}

const _: () = assert!(size_of::<Follower>() <= 16);

/// What the bytes at a message boundary turned out to be.
enum Look {
    Message { head: Head, total: u32 },
    Partial,
}

impl Follower {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and tells every message whose header is complete in them, in order.
    ///
    /// A ReadyForQuery is told once its status byte is there. After an error the stream is beyond repair: nothing from
    /// the error's `start` on may be forwarded, and the follower must not be asked again.
    #[inline]
    pub fn follow(&mut self, chunk: &[u8], legal: &TagSet, mut tell: impl FnMut(Head)) -> Result<(), FollowError> {
        let skip = chunk.len().min(self.remaining as usize);
        self.remaining -= skip as u32;
        let mut at = skip;
        if self.held > 0 {
            match self.finish_header(chunk, legal)? {
                None => return Ok(()),
                Some((head, next)) => {
                    tell(head);
                    at = next;
                }
            }
        }
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            match look(rest, legal, at as isize)? {
                Look::Partial => {
                    self.hold(rest);
                    return Ok(());
                }
                Look::Message { head, total } => {
                    tell(head);
                    if total as usize > rest.len() {
                        self.remaining = total - rest.len() as u32;
                        return Ok(());
                    }
                    at += total as usize;
                }
            }
        }
    }

    /// No message is under way: the next byte is a type byte.
    pub fn at_boundary(&self) -> bool {
        self.remaining == 0 && self.held == 0
    }

    /// Bytes of the current message still to come, if its header is complete.
    pub fn bytes_left_in_message(&self) -> u32 {
        self.remaining
    }

    /// Offset in `chunk`, which comes next, of the first message boundary; `None` when the message under way ends
    /// behind it. Looks only.
    pub fn boundary_in(&self, chunk: &[u8]) -> Option<usize> {
        let left = if self.held == 0 {
            self.remaining as usize
        } else {
            self.left_behind_held(chunk)?
        };
        (left <= chunk.len()).then_some(left)
    }

    fn left_behind_held(&self, chunk: &[u8]) -> Option<usize> {
        let mut header = self.header;
        let held = usize::from(self.held);
        let missing = header.get_mut(held..)?;
        missing.copy_from_slice(chunk.get(..missing.len())?);
        (length_of(header) as usize + 1).checked_sub(held)
    }

    /// Completes the header that is held with the bytes of `chunk`. `None` when it is still not complete; else the
    /// message and the offset behind it.
    #[cold]
    fn finish_header(&mut self, chunk: &[u8], legal: &TagSet) -> Result<Option<(Head, usize)>, FollowError> {
        let held = usize::from(self.held);
        let start = -(held as isize);
        // One byte more than a header: the status of a ReadyForQuery.
        let mut joined = [0; HEADER + 1];
        let mut filled = 0;
        for (place, byte) in joined.iter_mut().zip(self.header.iter().take(held).chain(chunk)) {
            *place = *byte;
            filled += 1;
        }
        let joined = joined.get(..filled).unwrap_or_default();
        match look(joined, legal, start)? {
            Look::Partial => {
                self.hold(joined);
                Ok(None)
            }
            Look::Message { head, total } => {
                self.held = 0;
                let left = (total as usize).saturating_sub(held);
                let here = left.min(chunk.len());
                self.remaining = (left - here) as u32;
                Ok(Some((head, here)))
            }
        }
    }

    fn hold(&mut self, start_of_message: &[u8]) {
        self.held = start_of_message.len().min(HEADER) as u8;
        for (place, byte) in self.header.iter_mut().zip(start_of_message) {
            *place = *byte;
        }
    }
}

/// Judges the bytes at a message boundary; `bytes` is not empty. `start` is where they lie in the chunk.
#[inline]
fn look(bytes: &[u8], legal: &TagSet, start: isize) -> Result<Look, FollowError> {
    let fault = |error| FollowError { error, start };
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let tag = bytes.first().copied().unwrap_or_default();
        return if legal.contains(tag) {
            Ok(Look::Partial)
        } else {
            Err(fault(WireError::UnexpectedMessage { tag }))
        };
    };
    let [tag, ..] = *header;
    let length = length_of(*header);
    if !legal.contains(tag) {
        return Err(fault(WireError::UnexpectedMessage { tag }));
    }
    if length < 4 {
        return Err(fault(WireError::LengthTooSmall { length, least: 4 }));
    }
    if length > MAX_LENGTH {
        return Err(fault(WireError::LengthTooLarge {
            length,
            most: MAX_LENGTH,
        }));
    }
    let mut status = 0;
    if tag == backend::READY_FOR_QUERY {
        if length < 5 {
            return Err(fault(WireError::LengthTooSmall { length, least: 5 }));
        }
        if length > 5 {
            return Err(fault(WireError::LengthTooLarge { length, most: 5 }));
        }
        match bytes.get(HEADER) {
            Some(byte) => status = *byte,
            None => return Ok(Look::Partial),
        }
    }
    Ok(Look::Message {
        head: Head {
            tag,
            length,
            start,
            status,
        },
        total: length + 1,
    })
}

fn length_of([_, a, b, c, d]: [u8; HEADER]) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, length word, status, absolute offset of the type byte.
    type Told = (u8, u32, u8, usize);

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        crate::wire::write::message(&mut out, tag, |out| out.extend_from_slice(body));
        out
    }

    fn stream() -> (Vec<u8>, Vec<Told>) {
        let parts = [
            (b'1', vec![]),
            (b'D', vec![7; 300]),
            (b'C', b"SELECT 1\0".to_vec()),
            (b'Z', b"T".to_vec()),
            (b'd', vec![]),
            (b'Z', b"I".to_vec()),
        ];
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (tag, body) in parts {
            let status = if tag == b'Z' { body[0] } else { 0 };
            expected.push((tag, body.len() as u32 + 4, status, bytes.len()));
            bytes.extend(message(tag, &body));
        }
        (bytes, expected)
    }

    /// Follows `chunks` and returns each message with the absolute offset of its type byte.
    fn follow_all<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Told>, Follower) {
        let mut follower = Follower::new();
        let (mut told, mut base) = (Vec::new(), 0_isize);
        for chunk in chunks {
            let tell = |head: Head| told.push((head.tag, head.length, head.status, (base + head.start) as usize));
            follower
                .follow(chunk, &TagSet::BACKEND_IN_RELAY, tell)
                .expect("legal stream");
            base += chunk.len() as isize;
        }
        (told, follower)
    }

    #[test]
    fn every_split_tells_the_same_messages() {
        let (bytes, expected) = stream();
        for size in 1..=bytes.len() {
            let (told, follower) = follow_all(bytes.chunks(size));
            assert_eq!(told, expected, "chunks of {size}");
            assert!(follower.at_boundary());
        }
        for split in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(split);
            assert_eq!(follow_all([head, tail].into_iter()).0, expected, "split at {split}");
        }
    }

    #[test]
    fn boundaries_are_known_from_every_position() {
        let (bytes, expected) = stream();
        for split in 0..bytes.len() {
            let (_, follower) = follow_all([&bytes[..split]].into_iter());
            let next = expected
                .iter()
                .map(|told| told.3)
                .chain([bytes.len()])
                .find(|start| *start >= split);
            let boundary = follower.boundary_in(&bytes[split..]).map(|offset| offset + split);
            assert_eq!(boundary, next, "from {split}");
            assert_eq!(follower.at_boundary(), next == Some(split));
            if let Some(next) = next {
                let short = &bytes[split..next.max(split + 1) - 1];
                assert!(next == split || follower.boundary_in(short).is_none());
            }
        }
    }

    #[test]
    fn an_illegal_type_is_refused_at_its_first_byte() {
        let follow = |bytes: &[u8]| Follower::new().follow(bytes, &TagSet::FRONTEND_IN_RELAY, |_| ());
        let sync = message(b'S', b"");
        for tag in [b'p', b'Z', b'R', 0, 255] {
            let expected = FollowError {
                error: WireError::UnexpectedMessage { tag },
                start: 5,
            };
            let mut bytes = sync.clone();
            bytes.push(tag);
            assert_eq!(follow(&bytes), Err(expected), "only the type byte");
            bytes.extend_from_slice(&[0, 0, 0, 4]);
            assert_eq!(follow(&bytes), Err(expected), "a whole header");
        }
    }

    #[test]
    fn impossible_lengths_are_refused_whole_and_split() {
        let cases: [(&[u8], WireError); 5] = [
            (b"Q\0\0\0\x03", WireError::LengthTooSmall { length: 3, least: 4 }),
            (
                b"d\x40\0\0\x04",
                WireError::LengthTooLarge {
                    length: MAX_LENGTH + 1,
                    most: MAX_LENGTH,
                },
            ),
            (
                b"d\xff\xff\xff\xff",
                WireError::LengthTooLarge {
                    length: u32::MAX,
                    most: MAX_LENGTH,
                },
            ),
            (b"Z\0\0\0\x04", WireError::LengthTooSmall { length: 4, least: 5 }),
            (b"Z\0\0\0\x06", WireError::LengthTooLarge { length: 6, most: 5 }),
        ];
        for (bytes, error) in cases {
            let set = if bytes[0] == b'Z' {
                &TagSet::BACKEND_IN_RELAY
            } else {
                &TagSet::FRONTEND_IN_RELAY
            };
            assert_eq!(
                Follower::new().follow(bytes, set, |_| ()),
                Err(FollowError { error, start: 0 })
            );
            for split in 1..5 {
                let mut follower = Follower::new();
                follower
                    .follow(&bytes[..split], set, |_| ())
                    .expect("header is not complete");
                let fault = follower.follow(&bytes[split..], set, |_| ());
                assert_eq!(
                    fault,
                    Err(FollowError {
                        error,
                        start: -(split as isize)
                    }),
                    "split at {split}"
                );
            }
        }
    }

    #[test]
    fn a_message_of_a_gigabyte_is_streamed() {
        let mut follower = Follower::new();
        let mut told = 0;
        let mut header = vec![b'd'];
        header.extend_from_slice(&MAX_LENGTH.to_be_bytes());
        follower
            .follow(&header, &TagSet::FRONTEND_IN_RELAY, |_| told += 1)
            .expect("legal");
        assert_eq!(follower.bytes_left_in_message(), MAX_LENGTH - 4);
        let chunk = vec![0; 1 << 20];
        for _ in 0..1023 {
            follower
                .follow(&chunk, &TagSet::FRONTEND_IN_RELAY, |_| told += 1)
                .expect("legal");
        }
        assert_eq!(follower.bytes_left_in_message(), (1 << 20) - 1);
        assert_eq!(follower.boundary_in(&chunk), Some((1 << 20) - 1));
        assert_eq!(told, 1);
    }
}
