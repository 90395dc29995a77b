//! Lines on their way to the file, and whom to tell about which.

use super::encode::encode;
use super::record::Record;
use super::recorder::{Ticket, WriteFailed};

/// Encoded lines in order. A line is written whole, kept for another try, or (with a ticket) taken back.
#[derive(Default)]
pub struct Batch {
    text: String,
    lines: Vec<Line>,
}

struct Line {
    /// Where it ends in `text`, its line feed included.
    end: usize,
    ticket: Option<Ticket>,
}

impl Batch {
    /// Adds a line and says how many bytes it has.
    pub fn push(&mut self, record: &Record, ticket: Option<Ticket>) -> usize {
        let start = self.text.len();
        encode(record, &mut self.text);
        self.lines.push(Line {
            end: self.text.len(),
            ticket,
        });
        self.text.len() - start
    }

    /// Puts a line before all others.
    pub fn push_first(&mut self, record: &Record) {
        let mut first = String::new();
        encode(record, &mut first);
        self.text.insert_str(0, &first);
        self.lines.iter_mut().for_each(|line| line.end += first.len());
        let line = Line {
            end: first.len(),
            ticket: None,
        };
        self.lines.insert(0, line);
    }

    /// Takes the last line off again, if it has no ticket.
    pub fn pop(&mut self) {
        self.lines.pop_if(|last| last.ticket.is_none());
        self.text.truncate(self.lines.last().map_or(0, |last| last.end));
    }

    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Removes the lines that lie within the first `written` bytes, and of the others those that somebody waits for: told
    /// of a failure, they must not appear later. The rest stays. Returns how many lines were written.
    pub fn settle(&mut self, written: usize, mut tell: impl FnMut(Ticket, Result<(), WriteFailed>)) -> usize {
        if written >= self.text.len() {
            return self.settle_all(tell);
        }
        let mut kept = Self::default();
        let (mut start, mut settled) = (0, 0);
        for line in std::mem::take(&mut self.lines) {
            match line.ticket {
                _ if line.end <= written => {
                    settled += 1;
                    line.ticket.into_iter().for_each(|ticket| tell(ticket, Ok(())));
                }
                Some(ticket) => tell(ticket, Err(WriteFailed)),
                None => {
                    kept.text.push_str(self.text.get(start..line.end).unwrap_or_default());
                    kept.lines.push(Line {
                        end: kept.text.len(),
                        ticket: None,
                    });
                }
            }
            start = line.end;
        }
        *self = kept;
        settled
    }

    /// The common case: all of it was written; the buffers are kept for the next batch.
    fn settle_all(&mut self, mut tell: impl FnMut(Ticket, Result<(), WriteFailed>)) -> usize {
        let settled = self.lines.len();
        self.text.clear();
        self.lines
            .drain(..)
            .filter_map(|line| line.ticket)
            .for_each(|ticket| tell(ticket, Ok(())));
        self.text.shrink_to(LARGEST_KEPT);
        self.lines.shrink_to(LARGEST_KEPT / 128);
        settled
    }
}

/// Bytes of the buffer kept between batches; what a backlog needed beyond it goes back.
const LARGEST_KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::record::Audit;
    use super::*;
    use crate::time::Utc;

    fn line(bytes: u64) -> Record {
        Record::Audit(Box::new(Audit::TornTail { at: Utc(0), bytes }))
    }

    fn ticket(session: u64) -> Option<Ticket> {
        Some(Ticket { core: 0, session })
    }

    /// Three lines: with a ticket, without one, with a ticket.
    fn three() -> (Batch, [usize; 3]) {
        let mut batch = Batch::default();
        let lengths = [
            batch.push(&line(1), ticket(1)),
            batch.push(&line(2), None),
            batch.push(&line(3), ticket(3)),
        ];
        (batch, lengths)
    }

    #[test]
    fn every_place_where_a_write_may_stop() {
        let (whole, [first, second, third]) = three();
        for written in 0..=whole.bytes().len() {
            let (mut batch, _) = three();
            let mut told = Vec::new();
            let settled = batch.settle(written, |ticket, result| told.push((ticket.session, result.is_ok())));
            assert_eq!(
                told,
                [(1, written >= first), (3, written >= first + second + third)],
                "after {written} bytes"
            );
            let middle = &whole.bytes()[first..first + second];
            let kept: &[u8] = if written >= first + second { b"" } else { middle };
            assert_eq!(batch.bytes(), kept, "after {written} bytes");
            assert_eq!(
                settled,
                [first, first + second, first + second + third]
                    .iter()
                    .filter(|end| **end <= written)
                    .count()
            );
        }
    }

    #[test]
    fn a_line_put_first_shifts_the_others() {
        let (mut batch, lengths) = three();
        let others = batch.bytes().to_vec();
        batch.push_first(&line(0));
        let first = batch.bytes().len() - others.len();
        assert_eq!(batch.bytes()[first..], others);
        let mut told = Vec::new();
        let settled = batch.settle(first + lengths[0], |ticket, result| {
            told.push((ticket.session, result.is_ok()))
        });
        assert_eq!((settled, told), (2, vec![(1, true), (3, false)]));
        assert_eq!(batch.bytes(), &others[lengths[0]..lengths[0] + lengths[1]]);
    }

    #[test]
    fn the_last_line_can_be_taken_off_and_a_ticket_cannot() {
        let (mut batch, [first, second, _]) = three();
        batch.pop();
        assert_eq!(batch.lines(), 3);
        batch.settle(first + second, |_, _| {});
        batch.push(&line(4), None);
        batch.pop();
        assert!(batch.is_empty() && batch.bytes().is_empty());
    }
}
