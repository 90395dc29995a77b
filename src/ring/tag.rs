//! What a completion is about: the caller's tag, and beside it the ring's own mark of the kind of operation.

use std::fmt;

/// Chosen by the caller, comes back with every completion of the operation. 56 bits.
///
/// A stale completion is known by its generation: the caller counts it up when it reuses an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u64);

impl Tag {
    /// One more than the greatest index.
    pub const INDEX_LIMIT: u32 = 1 << 24;

    /// `index` is below [`Tag::INDEX_LIMIT`]; higher bits are cut off (and a bug, so debug builds stop).
    pub const fn new(operation: u8, side: u8, index: u32, generation: u16) -> Self {
        debug_assert!(index < Self::INDEX_LIMIT);
        let index = (index & (Self::INDEX_LIMIT - 1)) as u64;
        Self((operation as u64) << 48 | (side as u64) << 40 | index << 16 | generation as u64)
    }

    pub const fn operation(self) -> u8 {
        (self.0 >> 48) as u8
    }

    pub const fn side(self) -> u8 {
        (self.0 >> 40) as u8
    }

    pub const fn index(self) -> u32 {
        (self.0 >> 16) as u32 & (Self::INDEX_LIMIT - 1)
    }

    pub const fn generation(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tag")
            .field("operation", &self.operation())
            .field("side", &self.side())
            .field("index", &self.index())
            .field("generation", &self.generation())
            .finish()
    }
}

/// The uppermost byte of `user_data`. The ring trusts only this and what it keeps itself, never the caller's tag,
/// when it decides what a completion gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Of no interest to anybody: the cancellation when the ring is dropped.
    Unheard = 0,
    Accept = 1,
    ReceiveSmall = 2,
    ReceiveBulk = 3,
    /// The rest is the number of an entry in the ring's table of flights.
    Flight = 4,
    ShutDown = 5,
    Cancel = 6,
    Watch = 7,
    /// Posted by another ring: the result is a descriptor that is now ours.
    Arrived = 8,
}

const KIND_SHIFT: u32 = 56;
const REST: u64 = (1 << KIND_SHIFT) - 1;

impl Kind {
    pub(super) fn with_tag(self, tag: Tag) -> u64 {
        (self as u64) << KIND_SHIFT | tag.0
    }

    pub(super) fn with_number(self, number: usize) -> u64 {
        (self as u64) << KIND_SHIFT | number as u64 & REST
    }

    /// `None`: nobody in this process makes such a mark.
    pub(super) fn split(user_data: u64) -> Option<(Self, u64)> {
        let kind = match user_data >> KIND_SHIFT {
            0 => Self::Unheard,
            1 => Self::Accept,
            2 => Self::ReceiveSmall,
            3 => Self::ReceiveBulk,
            4 => Self::Flight,
            5 => Self::ShutDown,
            6 => Self::Cancel,
            7 => Self::Watch,
            8 => Self::Arrived,
            _ => return None,
        };
        Some((kind, user_data & REST))
    }
}

/// The tag in the lower 56 bits of `user_data`.
pub(super) fn tag_of(rest: u64) -> Tag {
    Tag(rest & REST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [Kind; 9] = [
        Kind::Unheard,
        Kind::Accept,
        Kind::ReceiveSmall,
        Kind::ReceiveBulk,
        Kind::Flight,
        Kind::ShutDown,
        Kind::Cancel,
        Kind::Watch,
        Kind::Arrived,
    ];

    proptest! {
        #[test]
        fn every_field_comes_back(operation: u8, side: u8, index in 0..Tag::INDEX_LIMIT, generation: u16, kind in 0..9_usize) {
            let tag = Tag::new(operation, side, index, generation);
            let (kind_back, rest) = Kind::split(KINDS[kind].with_tag(tag)).expect("a known kind");
            let back = tag_of(rest);
            prop_assert_eq!(kind_back, KINDS[kind]);
            prop_assert_eq!(back, tag);
            prop_assert_eq!(
                (back.operation(), back.side(), back.index(), back.generation()),
                (operation, side, index, generation)
            );
        }
    }

    #[test]
    fn foreign_marks_are_not_ours() {
        assert_eq!(Kind::split(u64::MAX), None);
        assert_eq!(Kind::split(9 << 56), None);
        assert_eq!(Kind::split(Kind::Flight.with_number(77)), Some((Kind::Flight, 77)));
    }
}
