//! Handshake messages after the handshake: KeyUpdate and NewSessionTicket in TLS 1.3, and requests to renegotiate in
//! TLS 1.2, which are refused. Everything else is illegal here (RFC 8446 4.6; we offer no post-handshake authentication).

use super::key::RecordKey;
use super::{KeyUpdate, Link, Schedule};
use crate::tls::Version;
use crate::tls::error::{TlsError, Violation};

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Type and length.
const MESSAGE_HEADER: usize = 4;

/// The longest message we wait for: a ticket of a server, which carries at most 2^16 - 1 bytes of ticket. Real ones
/// stay under 4 KiB, even with a certificate chain inside.
const MAX_MESSAGE: usize = 16_384;

impl Link {
    /// `fragment` is the plaintext of one handshake record. Messages may share records and span them, but no message
    /// may lie around a change of keys (RFC 8446 5.1).
    pub(super) fn message(&mut self, fragment: &[u8]) -> Result<(), TlsError> {
        if fragment.is_empty() {
            return Err(Violation::UnexpectedMessage.into());
        }
        match self.version() {
            Version::Tls12 => self.renegotiation(fragment),
            Version::Tls13 if self.partial.is_empty() => self.messages(fragment),
            Version::Tls13 => {
                let mut joined = core::mem::take(&mut self.partial);
                joined.extend_from_slice(fragment);
                self.messages(&joined)
            }
        }
    }

    /// Handles the whole messages in `bytes` and keeps what is left for the next record.
    fn messages(&mut self, mut bytes: &[u8]) -> Result<(), TlsError> {
        while let Some((&[kind, a, b, c], rest)) = bytes.split_first_chunk::<MESSAGE_HEADER>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            self.check_message(kind, length)?;
            let Some((body, rest)) = rest.split_at_checked(length) else {
                break;
            };
            if kind == KEY_UPDATE {
                if !rest.is_empty() {
                    return Err(Violation::UnexpectedMessage.into());
                }
                self.key_update(body)?;
            }
            // A ticket is dropped: this side never resumes (`upstream.rs` says why).
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.partial = bytes.to_vec();
        }
        Ok(())
    }

    /// From the header alone, so that nobody makes us hold a message that we would refuse in the end.
    fn check_message(&self, kind: u8, length: usize) -> Result<(), TlsError> {
        match (kind, &self.schedule) {
            (KEY_UPDATE, _) if length == 1 => Ok(()),
            (KEY_UPDATE, _) => Err(Violation::Malformed.into()),
            (NEW_SESSION_TICKET, Schedule::Client(_)) if length <= MAX_MESSAGE => Ok(()),
            (NEW_SESSION_TICKET, Schedule::Client(_)) => Err(Violation::HandshakeFlood.into()),
            (_, Schedule::Client(_) | Schedule::Server(_)) => Err(Violation::UnexpectedMessage.into()),
        }
    }

    /// The peer's next records are under its next key. If it asks for ours to change too, that is owed, once, however
    /// often it asks before we get to it (RFC 8446 4.6.3).
    fn key_update(&mut self, body: &[u8]) -> Result<(), TlsError> {
        let requested = match body {
            [0] => false,
            [1] => true,
            _ => return Err(Violation::Malformed.into()),
        };
        self.patience.key_update()?;
        self.read = RecordKey::next(self.schedule.next_read()?)?;
        self.asked_to_roll = false;
        if requested {
            self.owed.key_update.get_or_insert(KeyUpdate::NotRequested);
        }
        Ok(())
    }

    /// TLS 1.2: the first request is answered with a warning, the next one ends the connection (RFC 5246 7.2.2).
    fn renegotiation(&mut self, fragment: &[u8]) -> Result<(), TlsError> {
        match (fragment.first(), &self.schedule) {
            (Some(&HELLO_REQUEST), Schedule::Client(_)) | (Some(&CLIENT_HELLO), Schedule::Server(_)) => {
                self.patience.renegotiation()?;
                self.owed.no_renegotiation = true;
                Ok(())
            }
            (_, Schedule::Client(_) | Schedule::Server(_)) => Err(Violation::UnexpectedMessage.into()),
        }
    }
}
