//! The record layer: opens and seals records in the caller's buffers, and answers what the peer's TLS asks in between.
//!
//! The contract with the caller:
//! - [`Link::open`] gets bytes that begin at a record boundary and handles at most one record. Call it again with what
//!   is left until it says [`Opened::NeedMore`].
//! - After each `open`, and before anything is sealed with [`Link::seal_in_place`] or [`Link::seal_into`], look at
//!   [`Link::owes`]: while it is true, [`Link::flush_owed`] must write first. What is owed is small (an answer to a
//!   KeyUpdate, an alert), never grows while it waits, and nothing incoming waits for it: both directions may be full.
//! - An error is final: the link keeps answering it, and owes at most the alert that tells the peer.

mod assembler;
mod fuzz;
mod header;
mod key;
mod patience;
mod post_handshake;

#[cfg(test)]
mod peer_tests;
#[cfg(test)]
mod tests;

use core::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

pub use assembler::{Filled, RecordAssembler};
pub use fuzz::{Marks, fuzz_handshake, fuzz_record};
pub(super) use header::{ContentType, HEADER, Header};
use key::RecordKey;
use patience::Patience;

use super::error::{Misuse, TlsError, Violation};
use super::{Alert, MAX_PLAINTEXT_TO_CLIENT, MAX_PLAINTEXT_TO_SERVER, Version};

/// What [`Link::open`] found at the front of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The record is not whole: from its first byte it takes at least `total` bytes (5 while its header is short).
    NeedMore { total: usize },
    /// Plaintext, where the record lay. Never empty.
    Data { plaintext: Range<usize>, consumed: usize },
    /// Something between the two TLS ends. See [`Link::owes`].
    Control { consumed: usize },
    /// The peer will send nothing more. Bytes behind are ignored, as RFC 8446 6.1 says; we may still send.
    CloseNotify { consumed: usize },
}

/// An established TLS connection, without its socket and without any buffered data.
pub struct Link {
    read: RecordKey,
    write: RecordKey,
    schedule: Schedule,
    reading: Reading,
    owed: Owed,
    /// close_notify or a fatal alert was sent: nothing may follow.
    write_closed: bool,
    /// The peer was asked to change a key of its own that is worn; it need not be asked twice.
    asked_to_roll: bool,
    patience: Patience,
    /// A message after the handshake whose end has not come. Empty, without memory, but for that moment.
    partial: Vec<u8>,
}

/// Which end we are, and where the next keys come from: rustls keeps the traffic secrets. TLS 1.2 has no next keys.
pub(super) enum Schedule {
    Server(Option<Box<KernelConnection<ServerConnectionData>>>),
    Client(Option<Box<KernelConnection<ClientConnectionData>>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reading {
    Open,
    Closed,
    Failed(TlsError),
}

/// What must be sent before the next data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Owed {
    key_update: Option<KeyUpdate>,
    no_renegotiation: bool,
    fatal: Option<Alert>,
}

/// The one byte of a KeyUpdate message (RFC 8446 4.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyUpdate {
    NotRequested = 0,
    Requested = 1,
}

impl Link {
    pub(super) fn new(version: Version, secrets: ExtractedSecrets, schedule: Schedule) -> Result<Self, TlsError> {
        Ok(Self {
            read: RecordKey::new(version, secrets.rx.0, secrets.rx.1)?,
            write: RecordKey::new(version, secrets.tx.0, secrets.tx.1)?,
            schedule,
            reading: Reading::Open,
            owed: Owed::default(),
            write_closed: false,
            asked_to_roll: false,
            patience: Patience::default(),
            partial: Vec::new(),
        })
    }

    /// Opens the record at the front of `bytes`, in place. On an error [`Self::owes`] may be true: the alert.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<Opened, TlsError> {
        match &self.reading {
            Reading::Open => {}
            Reading::Closed => return Ok(Opened::CloseNotify { consumed: bytes.len() }),
            Reading::Failed(error) => return Err(error.clone()),
        }
        self.open_record(bytes).inspect_err(|error| self.fail(error))
    }

    /// Whether [`Self::flush_owed`] has something to write.
    pub fn owes(&self) -> bool {
        self.owed != Owed::default() && !self.write_closed
    }

    /// Appends what is owed to `out`: at most three small records.
    pub fn flush_owed(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let owed = core::mem::take(&mut self.owed);
        if self.write_closed {
            return Ok(());
        }
        if let Some(request) = owed.key_update {
            self.append(ContentType::Handshake, &[24, 0, 0, 1, request as u8], out)?;
            self.write = RecordKey::next(self.schedule.next_write()?)?;
        }
        if owed.no_renegotiation {
            self.append(ContentType::Alert, &[WARNING, Alert::NO_RENEGOTIATION.0], out)?;
        }
        if let Some(alert) = owed.fatal {
            self.append(ContentType::Alert, &[FATAL, alert.0], out)?;
            self.write_closed = true;
        }
        Ok(())
    }

    /// Bytes in front of and behind a plaintext that sealing it in place really takes: at most
    /// [`super::HEAD_ROOM`] and [`super::TAIL_ROOM`]. What was opened from a record of the same form has exactly these.
    pub fn seal_room(&self) -> (usize, usize) {
        (self.write.form().head(), self.write.form().tail())
    }

    /// Most plaintext for one record in the direction we send.
    pub fn max_plaintext(&self) -> usize {
        match self.schedule {
            Schedule::Server(_) => MAX_PLAINTEXT_TO_CLIENT,
            Schedule::Client(_) => MAX_PLAINTEXT_TO_SERVER,
        }
    }

    /// Seals `plaintext` where it lies in `buffer`; gives the range of the record, to be sent as it stands.
    /// At most [`Self::max_plaintext`] bytes, with [`Self::seal_room`] free around them.
    pub fn seal_in_place(&mut self, buffer: &mut [u8], plaintext: Range<usize>) -> Result<Range<usize>, TlsError> {
        self.may_seal(plaintext.len())?;
        let record = self
            .write
            .seal_in_place(ContentType::ApplicationData, buffer, plaintext)?;
        self.watch_wear();
        Ok(record)
    }

    /// Seals `plaintext` into another buffer without touching it: encryption and copy in one. Gives the record's length.
    pub fn seal_into(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, TlsError> {
        self.may_seal(plaintext.len())?;
        let (head, tail) = self.seal_room();
        let length = head + plaintext.len() + tail;
        let record = out.get_mut(..length).ok_or(Misuse::NoRoom)?;
        self.write.seal_into(ContentType::ApplicationData, plaintext, record)?;
        self.watch_wear();
        Ok(length)
    }

    /// Appends bytes of our own to `out`, in as many records as they take, after what is owed. For logins and errors.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        for piece in plaintext.chunks(self.max_plaintext()) {
            self.flush_owed(out)?;
            self.may_seal(piece.len())?;
            self.append(ContentType::ApplicationData, piece, out)?;
            self.watch_wear();
        }
        Ok(())
    }

    /// Appends close_notify to `out`, after what is owed. Nothing can be sealed afterwards; reading goes on. Harmless
    /// when the link is closed already.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.flush_owed(out)?;
        if !self.write_closed {
            self.append(ContentType::Alert, &[WARNING, Alert::CLOSE_NOTIFY.0], out)?;
            self.write_closed = true;
        }
        Ok(())
    }

    fn open_record(&mut self, bytes: &mut [u8]) -> Result<Opened, TlsError> {
        let Some(header) = Header::parse(bytes) else {
            return Ok(Opened::NeedMore { total: HEADER });
        };
        let header = header?;
        let consumed = header.total();
        let Some(record) = bytes.get_mut(..consumed) else {
            return Ok(Opened::NeedMore { total: consumed });
        };
        self.check_outer_type(header)?;
        let (content, plaintext) = self.read.open(header, record)?;
        if content != ContentType::Handshake && !self.partial.is_empty() {
            return Err(Violation::UnexpectedMessage.into());
        }
        let bytes = record.get(plaintext.clone()).unwrap_or_default();
        match content {
            ContentType::ApplicationData => {
                self.ask_to_roll();
                match plaintext.is_empty() {
                    true => self.patience.empty_record().map(|()| Opened::Control { consumed }),
                    false => {
                        self.patience.data();
                        Ok(Opened::Data { plaintext, consumed })
                    }
                }
            }
            ContentType::Alert => self.alert(bytes, consumed),
            ContentType::Handshake => self.message(bytes).map(|()| Opened::Control { consumed }),
            ContentType::ChangeCipherSpec => Err(Violation::UnexpectedMessage.into()),
        }
    }

    /// TLS 1.3 hides every type behind application_data; what says otherwise was never encrypted (RFC 8446 5).
    fn check_outer_type(&self, header: Header) -> Result<(), TlsError> {
        let hidden = self.version() == Version::Tls13;
        match header.content {
            ContentType::ApplicationData => Ok(()),
            ContentType::Alert | ContentType::Handshake if !hidden => Ok(()),
            ContentType::Alert | ContentType::Handshake | ContentType::ChangeCipherSpec => {
                Err(Violation::UnexpectedMessage.into())
            }
        }
    }

    fn alert(&mut self, bytes: &[u8], consumed: usize) -> Result<Opened, TlsError> {
        let &[level, description] = bytes else {
            return Err(Violation::Malformed.into());
        };
        let description = Alert(description);
        if description == Alert::CLOSE_NOTIFY {
            self.reading = Reading::Closed;
            return Ok(Opened::CloseNotify { consumed });
        }
        let harmless = match self.version() {
            // RFC 8446 6: the level means nothing, and all alerts but these two end the connection.
            Version::Tls13 => description == Alert::USER_CANCELED,
            Version::Tls12 => level == WARNING,
        };
        match harmless {
            true => self.patience.warning().map(|()| Opened::Control { consumed }),
            false => Err(TlsError::AlertReceived(description)),
        }
    }

    fn may_seal(&self, length: usize) -> Result<(), TlsError> {
        if self.write_closed {
            return Err(Misuse::SealedAfterClose.into());
        }
        if self.owes() {
            return Err(Misuse::OwedFirst.into());
        }
        if length > self.max_plaintext() {
            return Err(Misuse::PlaintextTooLong.into());
        }
        match self.write.is_worn() {
            true => Err(TlsError::KeysWornOut),
            false => Ok(()),
        }
    }

    /// Our own key is nearly worn: change it (TLS 1.3). In TLS 1.2 the next seal fails instead.
    fn watch_wear(&mut self) {
        if self.write.is_worn() && self.version() == Version::Tls13 {
            self.owed.key_update.get_or_insert(KeyUpdate::NotRequested);
        }
    }

    /// The peer's key is worn and it has not changed it: ask once (TLS 1.3).
    fn ask_to_roll(&mut self) {
        if self.read.is_worn() && !self.asked_to_roll && self.version() == Version::Tls13 {
            self.asked_to_roll = true;
            self.owed.key_update = Some(KeyUpdate::Requested);
        }
    }

    /// Appends one record, without a look at what is owed.
    fn append(&mut self, content: ContentType, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let (head, tail) = self.seal_room();
        let start = out.len();
        out.resize(start + head + plaintext.len() + tail, 0);
        let record = out.get_mut(start..).unwrap_or_default();
        self.write.seal_into(content, plaintext, record)
    }

    /// From here on every `open` gives this error; the peer hears of it when what is owed is flushed.
    fn fail(&mut self, error: &TlsError) {
        self.reading = Reading::Failed(error.clone());
        self.owed = Owed {
            fatal: error.alert(),
            ..Owed::default()
        };
        self.partial = Vec::new();
        if matches!(error, TlsError::AlertReceived(_)) {
            self.write_closed = true;
        }
    }

    fn version(&self) -> Version {
        self.schedule.version()
    }
}

const WARNING: u8 = 1;
const FATAL: u8 = 2;

impl Schedule {
    fn version(&self) -> Version {
        match self {
            Self::Server(Some(_)) | Self::Client(Some(_)) => Version::Tls13,
            Self::Server(None) | Self::Client(None) => Version::Tls12,
        }
    }

    fn next_read(&mut self) -> Result<(u64, ConnectionTrafficSecrets), TlsError> {
        match self {
            Self::Server(Some(connection)) => Ok(connection.update_rx_secret()?),
            Self::Client(Some(connection)) => Ok(connection.update_rx_secret()?),
            Self::Server(None) | Self::Client(None) => Err(TlsError::KeysWornOut),
        }
    }

    fn next_write(&mut self) -> Result<(u64, ConnectionTrafficSecrets), TlsError> {
        match self {
            Self::Server(Some(connection)) => Ok(connection.update_tx_secret()?),
            Self::Client(Some(connection)) => Ok(connection.update_tx_secret()?),
            Self::Server(None) | Self::Client(None) => Err(TlsError::KeysWornOut),
        }
    }
}
