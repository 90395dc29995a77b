//! Messages by type and direction, and transactions: the figures of a session's end record.
//!
//! A session carries its counters for life, so they are small: 40 bits each, 192 bytes for both directions together.
//! A count stops at 2^40 - 1 (a million messages per second for twelve days) rather than wrap.

use super::frame::Head;
use super::tag::{BACKEND_IN_RELAY, FRONTEND_IN_RELAY, TagSet, backend};

/// Counters for the messages of both directions of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    frontend: Tally<{ FRONTEND_IN_RELAY.len() }>,
    backend: Tally<{ BACKEND_IN_RELAY.len() }>,
    /// A command has ended since the last transaction was counted.
    command_ended: bool,
    transactions: u64,
}

const _: () = assert!(size_of::<Counts>() <= 200);

impl Counts {
    /// Counts one message of the client.
    #[inline]
    pub fn count_frontend(&mut self, head: Head) {
        if let Some(place) = TagSet::FRONTEND_IN_RELAY.place(head.tag) {
            self.frontend.add(place);
        }
    }

    /// Counts one message of the server. A transaction is over when the server says `I` after a command has ended, well
    /// or badly: `BEGIN .. COMMIT` is one, a lone Sync is none.
    #[inline]
    pub fn count_backend(&mut self, head: Head) {
        if let Some(place) = TagSet::BACKEND_IN_RELAY.place(head.tag) {
            self.backend.add(place);
        }
        match head.tag {
            backend::COMMAND_COMPLETE | backend::ERROR_RESPONSE => self.command_ended = true,
            backend::READY_FOR_QUERY if head.status == b'I' && self.command_ended => {
                self.command_ended = false;
                self.transactions += 1;
            }
            _ => (),
        }
    }

    /// Type byte and count of every type that came, for the record.
    pub fn frontend_by_tag(&self) -> Box<[(u8, u64)]> {
        self.frontend.by_tag(&FRONTEND_IN_RELAY)
    }

    /// As [`Counts::frontend_by_tag`], for the server.
    pub fn backend_by_tag(&self) -> Box<[(u8, u64)]> {
        self.backend.by_tag(&BACKEND_IN_RELAY)
    }

    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Name and count of every type that the client sent, in the order of the protocol's list; zeros are left out.
    pub fn frontend(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.frontend.named(&FRONTEND_IN_RELAY)
    }

    /// As [`Counts::frontend`], for the server.
    pub fn backend(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.backend.named(&BACKEND_IN_RELAY)
    }
}

/// `N` counters of 40 bits: the lower 32 and the upper 8 apart, so that neither array has holes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tally<const N: usize> {
    low: [u32; N],
    high: [u8; N],
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self {
            low: [0; N],
            high: [0; N],
        }
    }
}

impl<const N: usize> Tally<N> {
    #[inline]
    fn add(&mut self, place: usize) {
        let (Some(low), Some(high)) = (self.low.get_mut(place), self.high.get_mut(place)) else {
            return;
        };
        match low.checked_add(1) {
            Some(sum) => *low = sum,
            None => carry(low, high),
        }
    }

    fn by_tag(&self, tags: &[(u8, &'static str); N]) -> Box<[(u8, u64)]> {
        let counts = self
            .low
            .iter()
            .zip(&self.high)
            .map(|(low, high)| u64::from(*high) << 32 | u64::from(*low));
        tags.iter()
            .map(|(tag, _)| *tag)
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    fn named<'a>(&'a self, names: &'a [(u8, &'static str); N]) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        let counts = self
            .low
            .iter()
            .zip(&self.high)
            .map(|(low, high)| u64::from(*high) << 32 | u64::from(*low));
        names
            .iter()
            .map(|(_, name)| *name)
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }
}

#[cold]
fn carry(low: &mut u32, high: &mut u8) {
    if let Some(sum) = high.checked_add(1) {
        (*low, *high) = (0, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(tag: u8, status: u8) -> Head {
        Head {
            tag,
            length: 4,
            start: 0,
            status,
        }
    }

    fn counted(messages: &[(u8, u8)]) -> Counts {
        let mut counts = Counts::default();
        for (tag, status) in messages {
            counts.count_backend(head(*tag, *status));
        }
        counts
    }

    #[test]
    fn lists_what_was_seen_by_name() {
        let mut counts = counted(&[(b'D', 0), (b'D', 0), (b'C', 0), (b'Z', b'I')]);
        counts.count_frontend(head(b'Q', 0));
        let backend: Vec<_> = counts.backend().collect();
        assert_eq!(
            backend,
            [("ready_for_query", 1), ("data_row", 2), ("command_complete", 1)]
        );
        assert_eq!(counts.frontend().collect::<Vec<_>>(), [("query", 1)]);
    }

    #[test]
    fn transactions_end_with_an_idle_server_after_a_command() {
        let transactions = |messages: &[(u8, u8)]| counted(messages).transactions();
        assert_eq!(transactions(&[(b'C', 0), (b'Z', b'I')]), 1, "one statement");
        assert_eq!(
            transactions(&[
                (b'C', 0),
                (b'Z', b'T'),
                (b'C', 0),
                (b'Z', b'T'),
                (b'C', 0),
                (b'Z', b'I')
            ]),
            1,
            "a block"
        );
        assert_eq!(transactions(&[(b'E', 0), (b'Z', b'I')]), 1, "a failed statement");
        assert_eq!(transactions(&[(b'Z', b'I'), (b'Z', b'I')]), 0, "only Sync");
        assert_eq!(
            transactions(&[(b'C', 0), (b'C', 0), (b'Z', b'I'), (b'C', 0), (b'Z', b'I')]),
            2,
            "a pipeline, then one"
        );
    }

    #[test]
    fn counts_carry_and_then_stop() {
        let mut tally = Tally::<1> {
            low: [u32::MAX],
            high: [0],
        };
        tally.add(0);
        assert_eq!((tally.low, tally.high), ([0], [1]));
        let mut full = Tally::<1> {
            low: [u32::MAX],
            high: [u8::MAX],
        };
        full.add(0);
        assert_eq!((full.low, full.high), ([u32::MAX], [u8::MAX]));
    }
}
