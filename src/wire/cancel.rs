//! CancelRequest: the process id and the secret, which is four bytes in 3.0 and up to 256 in 3.2.
//!
//! Whether a key is anybody's is for the session to say, in constant time.

use super::cursor::Cursor;
use super::{WireError, write};

/// Least and greatest length of a cancel key (CancelRequest, BackendKeyData: "between 4 and 256 bytes").
pub const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 4..=256;

/// What a CancelRequest carries. Not the same as a server's own pair: ours names a session of the gate. The key is a
/// secret and is not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    pub process_id: u32,
    pub key: &'a [u8],
}

impl std::fmt::Debug for CancelRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelRequest")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}

impl<'a> CancelRequest<'a> {
    /// Decodes what stands behind the request code.
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let process_id = cursor.u32()?;
        let key = checked_key(cursor.rest())?;
        Ok(Self { process_id, key })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        write::u32(out, self.process_id);
        out.extend_from_slice(self.key);
    }
}

/// Refuses a key of a length that no protocol version has.
pub(super) fn checked_key(key: &[u8]) -> Result<&[u8], WireError> {
    if key.len() < *KEY_LENGTHS.start() {
        return Err(WireError::Truncated);
    }
    if key.len() > *KEY_LENGTHS.end() {
        return Err(WireError::TrailingBytes);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_key() {
        let request = CancelRequest {
            process_id: 5,
            key: b"marker",
        };
        assert_eq!(format!("{request:?}"), "CancelRequest { process_id: 5, .. }");
    }
}
