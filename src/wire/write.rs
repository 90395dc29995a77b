//! Appends messages to a buffer: the length is written back once the body is known.

/// A tagged message: type byte, length that counts itself, body.
pub(super) fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    initial(out, body);
}

/// An untagged message, as only the first ones of a client are: length that counts itself, body.
pub(super) fn initial(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// A string with its zero byte. Text behind an inner zero byte is left out, so that no value can start a field of its own.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.extend(text.iter().take(end));
    out.push(0);
}

pub(super) fn u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_itself_and_the_body() {
        let mut out = b"before".to_vec();
        message(&mut out, b'Z', |out| out.push(b'I'));
        assert_eq!(out, b"beforeZ\0\0\0\x05I");
    }

    #[test]
    fn a_zero_byte_inside_a_string_cannot_start_another_field() {
        let mut out = Vec::new();
        string(&mut out, b"value\0role\0postgres");
        assert_eq!(out, b"value\0");
    }
}
