//! Putting together a record that arrived in more than one buffer. The bytes lie in a buffer of the caller's, which is
//! needed only while such a record is under way; this keeps the count.

use super::header::{HEADER, Header};
use crate::tls::error::{Misuse, TlsError};

/// How much of one record lies in the caller's buffer. The buffer holds at least [`crate::tls::MAX_RECORD`] bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordAssembler {
    held: usize,
}

/// What [`RecordAssembler::fill`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Bytes copied off the front of the input. The caller counts these: they are the cost of a split record.
    pub taken: usize,
    /// The length of the whole record at the buffer's front, ready for `Link::open`; `None`: more input is needed.
    pub record: Option<usize>,
}

impl RecordAssembler {
    /// Bytes held of a record that is not whole yet.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Copies from `input` what the record under way still lacks, never a byte beyond it. When the record is whole the
    /// assembler is empty again, so the buffer must be opened before the next call. The only error is a short buffer.
    pub fn fill(&mut self, buffer: &mut [u8], input: &[u8]) -> Result<Filled, TlsError> {
        let mut taken = 0;
        if self.held < HEADER {
            taken += self.take(buffer, input, HEADER)?;
        }
        let Some(header) = Header::parse(buffer.get(..self.held).unwrap_or_default()) else {
            return Ok(Filled { taken, record: None });
        };
        // A header that is none is a whole record as far as it goes: the link refuses it, and owes the alert.
        let total = header.map_or(HEADER, Header::total);
        taken += self.take(buffer, input.get(taken..).unwrap_or_default(), total)?;
        if self.held < total {
            return Ok(Filled { taken, record: None });
        }
        self.held = 0;
        Ok(Filled {
            taken,
            record: Some(total),
        })
    }

    /// Copies until `goal` bytes are held or the input ends.
    fn take(&mut self, buffer: &mut [u8], input: &[u8], goal: usize) -> Result<usize, TlsError> {
        let count = goal.saturating_sub(self.held).min(input.len());
        let target = buffer.get_mut(self.held..self.held + count).ok_or(Misuse::NoRoom)?;
        target.copy_from_slice(input.get(..count).unwrap_or_default());
        self.held += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_three_pieces_comes_whole_and_no_byte_of_the_next_is_taken() {
        let mut buffer = [0; 64];
        let mut assembler = RecordAssembler::default();
        assert_eq!(
            assembler.fill(&mut buffer, &[23, 3]).unwrap(),
            Filled { taken: 2, record: None }
        );
        assert_eq!(
            assembler.fill(&mut buffer, &[3, 0, 4, 1]).unwrap(),
            Filled { taken: 4, record: None }
        );
        assert_eq!(assembler.held(), 6);
        assert_eq!(
            assembler.fill(&mut buffer, &[2, 3, 4, 23, 3]).unwrap(),
            Filled {
                taken: 3,
                record: Some(9)
            }
        );
        assert_eq!(buffer[..9], [23, 3, 3, 0, 4, 1, 2, 3, 4]);
        assert_eq!(assembler.held(), 0);
    }

    #[test]
    fn a_header_that_is_none_is_left_to_the_link() {
        let filled = RecordAssembler::default()
            .fill(&mut [0; 64], &[23, 3, 3, 0xff, 0xff, 1])
            .unwrap();
        assert_eq!(
            filled,
            Filled {
                taken: 5,
                record: Some(5)
            }
        );
    }

    #[test]
    fn a_short_buffer_is_the_callers_mistake() {
        let mistake = RecordAssembler::default()
            .fill(&mut [0; 6], &[23, 3, 3, 0, 4, 1, 2])
            .unwrap_err();
        assert_eq!(mistake, Misuse::NoRoom.into());
    }
}
