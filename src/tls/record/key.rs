//! One direction's key: nonces, additional data, the AEAD itself, and how much the key has protected.
//!
//! Three ways to protect a record are spoken: TLS 1.3 (RFC 8446 5.2, the true content type is encrypted behind the
//! content), TLS 1.2 with AES-GCM (RFC 5288, eight nonce bytes travel in front) and TLS 1.2 with ChaCha20 (RFC 7905).

use core::ops::Range;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::header::{ContentType, HEADER, Header};
use crate::tls::Version;
use crate::tls::error::{Misuse, TlsError, Violation};

const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;
pub(super) const MAX_PLAINTEXT: usize = 16_384;

/// AES-GCM stays safe (advantage under 2^-60, the bound behind RFC 8446 5.5) while blocks plus records stay under
/// 2^34.5. The RFC writes it as 2^24.5 records because it assumes full ones; counting blocks lets a session of small
/// messages live as long as its bytes deserve.
const AES_GCM_BLOCKS: u64 = 1 << 34;

/// ChaCha20-Poly1305 wears out with its 64-bit record number only.
const CHACHA_BLOCKS: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Tls13,
    Tls12Gcm,
    Tls12ChaCha,
}

impl Form {
    /// Bytes in front of the plaintext.
    pub(super) const fn head(self) -> usize {
        match self {
            Self::Tls13 | Self::Tls12ChaCha => HEADER,
            Self::Tls12Gcm => HEADER + EXPLICIT_NONCE,
        }
    }

    /// Bytes behind the plaintext.
    pub(super) const fn tail(self) -> usize {
        match self {
            Self::Tls13 => 1 + TAG,
            Self::Tls12Gcm | Self::Tls12ChaCha => TAG,
        }
    }
}

/// Key material of one direction. Zeroed by aws-lc when dropped; never printed.
pub(super) struct RecordKey {
    aead: LessSafeKey,
    iv: [u8; 12],
    form: Form,
    sequence: u64,
    /// Blocks that may still be protected.
    budget: u64,
}

impl RecordKey {
    /// `sequence` is the number of the next record under this key.
    pub(super) fn new(version: Version, sequence: u64, secrets: ConnectionTrafficSecrets) -> Result<Self, TlsError> {
        let (algorithm, key, iv, form, budget) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&aead::AES_128_GCM, key, iv, gcm(version), AES_GCM_BLOCKS)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&aead::AES_256_GCM, key, iv, gcm(version), AES_GCM_BLOCKS)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, key, iv, chacha(version), CHACHA_BLOCKS)
            }
            _ => return Err(TlsError::Internal("a cipher suite without a record layer".into())),
        };
        let unbound = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| internal())?;
        let iv = iv.as_ref().try_into().map_err(|_| internal())?;
        Ok(Self {
            aead: LessSafeKey::new(unbound),
            iv,
            form,
            sequence,
            budget,
        })
    }

    /// The key that follows in a TLS 1.3 connection.
    pub(super) fn next((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, TlsError> {
        Self::new(Version::Tls13, sequence, secrets)
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Whether a record of the longest kind still fits under this key, with room for the records that roll it or close.
    pub(super) fn is_worn(&self) -> bool {
        self.budget < 4 * blocks(MAX_PLAINTEXT + 1) || self.sequence >= u64::MAX - 4
    }

    /// TLS 1.3: seals a whole TLSInnerPlaintext, be it good or bad, as a peer might.
    pub(super) fn append_inner(&mut self, inner: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let [.., high, low] = (inner.len() + TAG).to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut body = inner.to_vec();
        let nonce = self.nonce_of(&header);
        let tag = self
            .aead
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut body)
            .map_err(|_| internal())?;
        self.spend(inner.len());
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn wear_to(&mut self, budget: u64) {
        self.budget = budget;
    }

    /// Opens the one whole record that `record` is. The plaintext's range is within `record`.
    pub(super) fn open(&mut self, header: Header, record: &mut [u8]) -> Result<(ContentType, Range<usize>), TlsError> {
        let plaintext = header
            .body
            .checked_sub(self.form.head() - HEADER + TAG)
            .ok_or(TlsError::DecryptFailed)?;
        let start = self.form.head();
        let (prefix, sealed) = record.split_at_mut_checked(start).ok_or(TlsError::DecryptFailed)?;
        let nonce = self.nonce_of(prefix);
        match self.form {
            Form::Tls13 => self.aead.open_in_place(nonce, Aad::from(first_five(prefix)), sealed),
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                let aad = tls12_aad(self.sequence, header.content, plaintext);
                self.aead.open_in_place(nonce, Aad::from(aad), sealed)
            }
        }
        .map_err(|_| TlsError::DecryptFailed)?;
        self.spend(plaintext);
        let (content, length) = match self.form {
            Form::Tls13 => inner_content(sealed.get(..plaintext).unwrap_or_default())?,
            Form::Tls12Gcm | Form::Tls12ChaCha => (header.content, plaintext),
        };
        match length > MAX_PLAINTEXT {
            true => Err(Violation::PlaintextTooLong.into()),
            false => Ok((content, start..start + length)),
        }
    }

    /// Seals `plaintext` where it lies. The record's range within `buffer` comes back.
    pub(super) fn seal_in_place(
        &mut self,
        content: ContentType,
        buffer: &mut [u8],
        plaintext: Range<usize>,
    ) -> Result<Range<usize>, TlsError> {
        let length = plaintext.len();
        let start = plaintext.start.checked_sub(self.form.head()).ok_or(Misuse::NoRoom)?;
        let end = plaintext.end.checked_add(self.form.tail()).ok_or(Misuse::NoRoom)?;
        let record = buffer.get_mut(start..end).ok_or(Misuse::NoRoom)?;
        let (head, body) = record.split_at_mut(self.form.head());
        let (body, tail) = body.split_at_mut(length);
        self.write_head(content, head, length);
        let nonce = self.nonce_of(head);
        match self.form {
            Form::Tls13 => {
                let aad = Aad::from(first_five(head));
                self.aead
                    .seal_in_place_scatter(nonce, aad, body, &[content as u8], tail)
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                let aad = Aad::from(tls12_aad(self.sequence, content, length));
                self.aead.seal_in_place_scatter(nonce, aad, body, &[], tail)
            }
        }
        .map_err(|_| internal())?;
        self.spend(length);
        Ok(start..end)
    }

    /// Seals `plaintext` into `record`, which must be exactly as long as the record gets.
    pub(super) fn seal_into(
        &mut self,
        content: ContentType,
        plaintext: &[u8],
        record: &mut [u8],
    ) -> Result<(), TlsError> {
        if record.len() != self.form.head() + plaintext.len() + self.form.tail() {
            return Err(Misuse::NoRoom.into());
        }
        let (head, body) = record.split_at_mut(self.form.head());
        let (body, tail) = body.split_at_mut(plaintext.len());
        self.write_head(content, head, plaintext.len());
        let nonce = self.nonce_of(head);
        match self.form {
            Form::Tls13 => {
                let aad = Aad::from(first_five(head));
                self.aead
                    .seal_out_of_place_scatter(nonce, aad, plaintext, body, &[content as u8], tail)
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                let aad = Aad::from(tls12_aad(self.sequence, content, plaintext.len()));
                self.aead
                    .seal_out_of_place_scatter(nonce, aad, plaintext, body, &[], tail)
            }
        }
        .map_err(|_| internal())?;
        self.spend(plaintext.len());
        Ok(())
    }

    /// The outer header, and for TLS 1.2 with AES-GCM the explicit nonce behind it.
    fn write_head(&self, content: ContentType, head: &mut [u8], plaintext: usize) {
        let outer = match self.form {
            Form::Tls13 => ContentType::ApplicationData,
            Form::Tls12Gcm | Form::Tls12ChaCha => content,
        };
        let body = self.form.head() - HEADER + plaintext + self.form.tail();
        debug_assert!(body <= super::header::MAX_BODY);
        let [.., high, low] = body.to_be_bytes();
        let header = [outer as u8, 3, 3, high, low];
        for (to, from) in head.iter_mut().zip(header.iter().chain(&self.counted_nonce()[4..])) {
            *to = *from;
        }
    }

    /// RFC 8446 5.3; for our own records RFC 5288 leaves the construction open, and this one never repeats.
    fn counted_nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().skip(4).zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// The nonce of the record whose bytes in front of the ciphertext are `head`.
    fn nonce_of(&self, head: &[u8]) -> Nonce {
        let mut nonce = self.counted_nonce();
        if self.form == Form::Tls12Gcm {
            nonce = self.iv;
            for (byte, explicit) in nonce.iter_mut().skip(4).zip(head.iter().skip(HEADER)) {
                *byte = *explicit;
            }
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn spend(&mut self, plaintext: usize) {
        self.sequence = self.sequence.wrapping_add(1);
        self.budget = self.budget.saturating_sub(blocks(plaintext));
    }
}

/// AES blocks of a record, plus one for the record itself.
fn blocks(plaintext: usize) -> u64 {
    (plaintext as u64).div_ceil(16) + 1
}

fn gcm(version: Version) -> Form {
    match version {
        Version::Tls12 => Form::Tls12Gcm,
        Version::Tls13 => Form::Tls13,
    }
}

fn chacha(version: Version) -> Form {
    match version {
        Version::Tls12 => Form::Tls12ChaCha,
        Version::Tls13 => Form::Tls13,
    }
}

/// TLSInnerPlaintext: content, content type, zeros (RFC 8446 5.4).
fn inner_content(inner: &[u8]) -> Result<(ContentType, usize), TlsError> {
    let length = inner
        .iter()
        .rposition(|byte| *byte != 0)
        .ok_or(Violation::NoContentType)?;
    let content = inner
        .get(length)
        .and_then(|byte| ContentType::of(*byte))
        .ok_or(Violation::UnexpectedMessage)?;
    Ok((content, length))
}

/// RFC 5246 6.2.3.3: number, type, version, length of the plaintext.
fn tls12_aad(sequence: u64, content: ContentType, plaintext: usize) -> [u8; 13] {
    let [a, b, c, d, e, f, g, h] = sequence.to_be_bytes();
    let [.., high, low] = plaintext.to_be_bytes();
    [a, b, c, d, e, f, g, h, content as u8, 3, 3, high, low]
}

/// The outer header, which TLS 1.3 authenticates as it stands.
fn first_five(head: &[u8]) -> [u8; HEADER] {
    head.first_chunk().copied().unwrap_or_default()
}

fn internal() -> TlsError {
    TlsError::Internal("the cipher failed".into())
}

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;

    fn key(secrets: fn(AeadKey, Iv) -> ConnectionTrafficSecrets) -> RecordKey {
        RecordKey::new(Version::Tls13, 0, secrets(AeadKey::from([1; 32]), Iv::copy(&[2; 12]))).unwrap()
    }

    #[test]
    fn aes_gcm_wears_with_blocks_and_records() {
        let mut key = key(|key, iv| ConnectionTrafficSecrets::Aes256Gcm { key, iv });
        assert_eq!(key.budget, 1 << 34);
        for (plaintext, spent) in [(0, 1), (1, 2), (16, 2), (17, 3), (8_192, 513)] {
            let before = key.budget;
            key.seal_in_place(ContentType::ApplicationData, &mut [0; 8_300], 5..5 + plaintext)
                .unwrap();
            assert_eq!(before - key.budget, spent, "{plaintext} bytes");
        }
    }

    #[test]
    fn chacha20_wears_with_its_record_number_only() {
        let mut key = key(|key, iv| ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv });
        assert!(!key.is_worn());
        key.sequence = u64::MAX - 4;
        assert!(key.is_worn());
    }
}
