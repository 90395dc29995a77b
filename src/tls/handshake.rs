//! A TLS handshake: bytes in, bytes out, until there is a [`Link`].
//!
//! rustls is given one whole record at a time. So it never sees a byte behind the last handshake record: application
//! data in the same segment (libpq sends its StartupMessage right behind its Finished) stays with the caller.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeTlsData, UnbufferedConnectionCommon, UnbufferedStatus};
use rustls::{CommonState, HandshakeKind};

use super::client_certificate::ShownCertificate;
use super::error::{Misuse, TlsError, Violation};
use super::facts::{self, HandshakeFacts, Version};
use super::record::{HEADER, Header, Link, Schedule};
use super::{ALPN, ListenerTls, UpstreamTls, end_point};

/// Most bytes that a peer may spend on a handshake. A chain of twenty RSA-4096 certificates fits.
const MAX_BYTES: usize = 64 * 1024;

/// Most records of a handshake; peers need about ten, and a few more when they fragment.
const MAX_RECORDS: usize = 256;

/// A handshake under way, in either role.
pub struct Handshake {
    role: Role,
    /// The record under way, behind what rustls still holds on to of a message that spans records.
    pub(super) held: Vec<u8>,
    /// Where in `held` the record under way begins.
    record_start: usize,
    bytes: usize,
    records: usize,
}

enum Role {
    Server(Box<UnbufferedServerConnection>, Arc<ListenerTls>),
    Client(Box<UnbufferedClientConnection>, Option<Arc<ShownCertificate>>),
    Done,
    Failed(TlsError),
}

/// What one call of [`Handshake::handle`] did.
pub struct Progress {
    /// Bytes used up, from the front of the input. All of it, unless the handshake is done: then the rest are records
    /// for the link.
    pub consumed: usize,
    pub established: Option<Established>,
}

/// The end of a handshake.
pub struct Established {
    pub link: Box<Link>,
    pub facts: HandshakeFacts,
}

impl Handshake {
    /// The server's end. `ask` says whether to ask the client for a certificate (it may always answer with none).
    pub fn server(listener: &Arc<ListenerTls>, ask: bool) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(listener.config(ask))?;
        Ok(Self::with(Role::Server(Box::new(connection), listener.clone())))
    }

    /// The client's end, towards a cluster's endpoint `host` (a name or an address, as the policy writes it). The
    /// ClientHello is appended to `out`.
    pub fn client(upstream: &UpstreamTls, host: &str, out: &mut Vec<u8>) -> Result<Self, TlsError> {
        let (config, certificate) = upstream.config();
        let connection = UnbufferedClientConnection::new(config, upstream.server_name(host)?)?;
        let mut handshake = Self::with(Role::Client(Box::new(connection), certificate));
        handshake.drive(out)?;
        Ok(handshake)
    }

    /// Goes on with `input`, any piece of what the peer sent. What must be sent is appended to `out`, on an error too:
    /// then it is the alert, if one is due. An error is final.
    pub fn handle(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, TlsError> {
        match &self.role {
            Role::Failed(error) => return Err(error.clone()),
            Role::Done => return Err(Misuse::HandshakeDone.into()),
            Role::Server(..) | Role::Client(..) => {}
        }
        self.consume(input, out)
            .inspect_err(|error| self.role = Role::Failed(error.clone()))
    }

    fn with(role: Role) -> Self {
        Self {
            role,
            held: Vec::new(),
            record_start: 0,
            bytes: 0,
            records: 0,
        }
    }

    fn consume(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, TlsError> {
        let mut consumed = 0;
        loop {
            let (taken, whole) = self.take_record(input.get(consumed..).unwrap_or_default(), out)?;
            consumed += taken;
            if !whole {
                return Ok(Progress {
                    consumed,
                    established: None,
                });
            }
            if self.drive(out)? {
                let established = Some(self.establish()?);
                return Ok(Progress { consumed, established });
            }
        }
    }

    /// Moves bytes of one record from `input` to `held`. Says how many, and whether the record is whole.
    fn take_record(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool), TlsError> {
        let mut taken = self.take(input, HEADER)?;
        let body = match Header::parse(self.held.get(self.record_start..).unwrap_or_default()) {
            None => return Ok((taken, false)),
            Some(Ok(header)) => header.total(),
            Some(Err(violation)) => return Err(self.refuse(violation, out)),
        };
        taken += self.take(input.get(taken..).unwrap_or_default(), body)?;
        let whole = self.held.len() - self.record_start == body;
        if whole {
            self.records += 1;
            if self.records > MAX_RECORDS {
                return Err(Violation::HandshakeFlood.into());
            }
        }
        Ok((taken, whole))
    }

    /// Takes from `input` until the record under way has `goal` bytes.
    fn take(&mut self, input: &[u8], goal: usize) -> Result<usize, TlsError> {
        let lacks = (self.record_start + goal).saturating_sub(self.held.len());
        let piece = input.get(..lacks).unwrap_or(input);
        self.bytes += piece.len();
        if self.bytes > MAX_BYTES {
            return Err(Violation::HandshakeFlood.into());
        }
        self.held.extend_from_slice(piece);
        Ok(piece.len())
    }

    /// A header that is none. rustls sees it too, because it knows how to put the alert; its word counts if it objects.
    fn refuse(&mut self, violation: Violation, out: &mut Vec<u8>) -> TlsError {
        match self.drive(out) {
            Err(error) => error,
            Ok(_) => violation.into(),
        }
    }

    /// Lets rustls look at what is held. True: the handshake is done and all of its output is in `out`.
    fn drive(&mut self, out: &mut Vec<u8>) -> Result<bool, TlsError> {
        let done = match &mut self.role {
            Role::Server(connection, _) => drive(
                connection,
                |connection, held| connection.process_tls_records(held),
                &mut self.held,
                out,
            ),
            Role::Client(connection, _) => drive(
                connection,
                |connection, held| connection.process_tls_records(held),
                &mut self.held,
                out,
            ),
            Role::Done | Role::Failed(_) => Err(Misuse::HandshakeDone.into()),
        };
        self.record_start = self.held.len();
        done
    }

    fn establish(&mut self) -> Result<Established, TlsError> {
        match core::mem::replace(&mut self.role, Role::Done) {
            Role::Server(connection, listener) => {
                let facts = facts(&connection, listener.end_point().map(<[u8]>::to_vec))?;
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                let schedule = Schedule::Server((facts.version == Version::Tls13).then(|| Box::new(kernel)));
                Ok(Established {
                    link: Box::new(Link::new(facts.version, secrets, schedule)?),
                    facts,
                })
            }
            Role::Client(connection, certificate) => {
                let leaf = connection.peer_certificates().and_then(<[_]>::first);
                let facts = HandshakeFacts {
                    certificate_shown: certificate.is_some_and(|certificate| certificate.was_shown()),
                    ..facts(&connection, leaf.and_then(|leaf| end_point::end_point(leaf)))?
                };
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                let schedule = Schedule::Client((facts.version == Version::Tls13).then(|| Box::new(kernel)));
                Ok(Established {
                    link: Box::new(Link::new(facts.version, secrets, schedule)?),
                    facts,
                })
            }
            Role::Done | Role::Failed(_) => Err(Misuse::HandshakeDone.into()),
        }
    }
}

/// One rustls connection over `held`, until it wants input or is done. `process` is its `process_tls_records`, which
/// rustls has once per role.
fn drive<Data>(
    connection: &mut UnbufferedConnectionCommon<Data>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<Data>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Data>,
    held: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<bool, TlsError> {
    loop {
        let UnbufferedStatus { discard, state } = process(connection, held);
        let step = match state {
            Ok(state) => step(state, out),
            Err(error) => Err(error.into()),
        };
        held.drain(..discard);
        match step {
            Ok(Step::Again) => {}
            Ok(Step::NeedInput) => return Ok(false),
            Ok(Step::Done) => return Ok(true),
            Err(error) => {
                append_alert(connection, process, held, out);
                return Err(error);
            }
        }
    }
}

enum Step {
    Again,
    NeedInput,
    Done,
}

fn step<Data>(state: ConnectionState<'_, '_, Data>, out: &mut Vec<u8>) -> Result<Step, TlsError> {
    match state {
        ConnectionState::EncodeTlsData(data) => encode(data, out).map(|()| Step::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Step::NeedInput),
        ConnectionState::WriteTraffic(_) => Ok(Step::Done),
        ConnectionState::PeerClosed | ConnectionState::Closed => Err(TlsError::ClosedInHandshake),
        // One record at a time and no early data: application data cannot be decrypted before we are done.
        ConnectionState::ReadTraffic(_) | ConnectionState::ReadEarlyData(_) => Err(Violation::UnexpectedMessage.into()),
        _ => Err(TlsError::Internal("rustls is in a state that we do not know".into())),
    }
}

/// After an error rustls hands out the alert that it queued. It is asked only while it has something to send: anything
/// else would make it look at input again, and at offsets into `held`, which must be what it was.
fn append_alert<Data>(
    connection: &mut UnbufferedConnectionCommon<Data>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<Data>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Data>,
    held: &mut [u8],
    out: &mut Vec<u8>,
) {
    while connection.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(data)) = process(connection, held).state else {
            return;
        };
        if encode(data, out).is_err() {
            return;
        }
    }
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), TlsError> {
    use rustls::unbuffered::EncodeError;
    let start = out.len();
    let size = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(need)) => need.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(()),
    };
    out.resize(start + size, 0);
    match data.encode(out.get_mut(start..).unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(error) => Err(TlsError::Internal(error.to_string().into_boxed_str())),
    }
}

fn facts(connection: &CommonState, end_point: Option<Vec<u8>>) -> Result<HandshakeFacts, TlsError> {
    let incomplete = || TlsError::Internal("the handshake is done and lacks facts".into());
    Ok(HandshakeFacts {
        version: connection
            .protocol_version()
            .and_then(Version::of)
            .ok_or_else(incomplete)?,
        cipher: facts::cipher_name(connection.negotiated_cipher_suite().ok_or_else(incomplete)?.suite()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        alpn: connection.alpn_protocol() == Some(ALPN),
        peer_chain: connection.peer_certificates().unwrap_or_default().to_vec(),
        certificate_shown: false,
        end_point,
    })
}
