//! A session with a server, logged in as the gate logs in: for a handful of short queries, one after the other.

use std::io;
use std::time::Duration;

use postern_policy::model::{Cluster, Endpoint, ServerTlsMode};

use super::stream::Stream;
use crate::control::credentials::Credential;
use crate::identity::scram::{NONCE_BYTES, derive};
use crate::tls::TlsError;
use crate::upstream::encryption::EncryptionFault;
use crate::upstream::login::{Channel, Login, LoginError, LoginRequest, Progress, most};
use crate::wire::WireError;
use crate::wire::assemble::{Assembler, Message, Taken};
use crate::wire::error::Fields;
use crate::wire::parameters::Replication;
use crate::wire::tag::backend;

/// Most SCRAM iterations a server may make this command compute.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Greatest message of an answer; the queries are ours and answer with names.
const MAX_ANSWER: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum LiveFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(TlsError),
    #[error("{0}")]
    Encryption(#[from] EncryptionFault),
    #[error("login: {0}")]
    Login(#[from] LoginError),
    #[error("query: {0}")]
    Query(String),
    #[error("the server broke the protocol: {0}")]
    Wire(#[from] WireError),
    #[error("the server closed the connection")]
    Closed,
    #[error("the system gives no random bytes")]
    Random,
    #[error("no endpoint works: {0}")]
    NoEndpoint(String),
}

/// One row: text, or NULL.
pub type Row = Vec<Option<String>>;

pub struct Session {
    stream: Stream,
    assembler: Assembler,
    /// Received, and not yet taken apart.
    input: Vec<u8>,
}

impl Session {
    /// Tries the endpoints in order, as the gate does.
    pub fn open(cluster: &Cluster, role: &str, credential: &Credential, database: &str) -> Result<Self, LiveFault> {
        let mut faults = Vec::new();
        for endpoint in &cluster.endpoints {
            match Self::open_at(endpoint, cluster, role, credential, database) {
                Ok(session) => return Ok(session),
                Err(fault) => faults.push(format!("{}: {fault}", shown(endpoint))),
            }
        }
        Err(LiveFault::NoEndpoint(faults.join("; ")))
    }

    /// All rows of one statement.
    pub fn query(&mut self, statement: &str) -> Result<Vec<Row>, LiveFault> {
        self.stream.send(&simple_query(statement))?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            let done = self.next(
                |_| Some(MAX_ANSWER),
                |message| match message.tag {
                    backend::DATA_ROW => decode_row(message.body).map(|row| rows.push(row)).map(|()| false),
                    backend::ERROR_RESPONSE => Fields::decode(message.body)
                        .map(|fields| refused = Some(text_of(&fields)))
                        .map(|()| false),
                    backend::READY_FOR_QUERY => Ok(true),
                    _ => Ok(false),
                },
            )??;
            if done {
                return match refused {
                    None => Ok(rows),
                    Some(text) => Err(LiveFault::Query(text)),
                };
            }
        }
    }

    fn open_at(
        endpoint: &Endpoint,
        cluster: &Cluster,
        role: &str,
        credential: &Credential,
        database: &str,
    ) -> Result<Self, LiveFault> {
        let connect = Duration::from_millis(cluster.connect_timeout.into());
        let patience = Duration::from_millis(cluster.login_timeout.into());
        let mut stream = Stream::connect(endpoint, connect, patience)?;
        let facts = match (credential.tls(), endpoint) {
            (Some(tls), Endpoint::Tcp { host, .. }) => Some(stream.encrypt(tls, host)?),
            (Some(tls), Endpoint::Unix { .. }) => Some(stream.encrypt(tls, "localhost")?),
            (None, _) => None,
        };
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| LiveFault::Random)?;
        let channel = match &facts {
            None => Channel::Plain,
            Some(facts) => Channel::Tls {
                fully_verified: cluster.tls.mode == ServerTlsMode::VerifyFull || cluster.tls.pinned_key.is_some(),
                end_point: facts.end_point.as_deref(),
                client_certificate: facts.certificate_shown,
            },
        };
        let request = LoginRequest {
            role,
            database,
            replication: Replication::No,
            methods: credential.methods(),
            has_password: credential.password().is_some(),
            channel,
            nonce,
            max_iterations: MAX_ITERATIONS,
        };
        let mut session = Self {
            stream,
            assembler: Assembler::new(),
            input: Vec::new(),
        };
        session.log_in(&request, credential)?;
        Ok(session)
    }

    fn log_in(&mut self, request: &LoginRequest<'_>, credential: &Credential) -> Result<(), LiveFault> {
        let mut out = Vec::new();
        let settings = [("application_name", "postern check")];
        let mut login = Login::start(request, settings, &mut out)?;
        loop {
            self.stream.send(&out)?;
            out.clear();
            match self.next(most, |message| login.handle(message, &mut out))?? {
                Progress::Continue => {}
                Progress::NeedPassword => match credential.password() {
                    Some(password) => login.give_password(password, &mut out)?,
                    None => return Err(LoginError::Misuse.into()),
                },
                Progress::NeedKeys { salt, iterations } => {
                    let password = credential.password().ok_or(LoginError::Misuse)?;
                    login.give_keys(&derive(password.expose(), &salt, iterations), &mut out)?;
                }
                Progress::Ready(_) => return Ok(()),
            }
        }
    }

    /// Hands the next message to `take`, reading as long as there is none.
    fn next<T>(
        &mut self,
        most: impl Fn(u8) -> Option<u32>,
        take: impl FnOnce(Message<'_>) -> T,
    ) -> Result<T, LiveFault> {
        loop {
            let Taken { consumed, message } = self.assembler.take_message(&self.input, &most)?;
            if let Some(message) = message {
                let result = take(message);
                self.input.drain(..consumed);
                return Ok(result);
            }
            self.input.drain(..consumed);
            let more = self.stream.receive()?;
            self.input.extend(more);
        }
    }
}

/// The message of a server's error, free of control characters: it goes to a terminal.
fn text_of(fields: &Fields<'_>) -> String {
    let message = String::from_utf8_lossy(fields.message().unwrap_or_default()).into_owned();
    message.chars().filter(|char| !char.is_control()).collect()
}

fn shown(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { host, port } => format!("{host}:{port}"),
        Endpoint::Unix { path } => path.clone(),
    }
}

/// Query ('Q'): length, text, NUL. <https://www.postgresql.org/docs/current/protocol-message-formats.html>
fn simple_query(statement: &str) -> Vec<u8> {
    let length = u32::try_from(statement.len() + 5).unwrap_or(u32::MAX);
    let mut message = vec![b'Q'];
    message.extend(length.to_be_bytes());
    message.extend(statement.as_bytes());
    message.push(0);
    message
}

/// DataRow: count, then for each column a length (-1: NULL) and its bytes.
fn decode_row(body: &[u8]) -> Result<Row, WireError> {
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(WireError::Truncated)?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(WireError::Truncated)?;
        rest = behind;
        row.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => None,
            Ok(length) => {
                let (value, behind) = rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                rest = behind;
                Some(String::from_utf8_lossy(value).into_owned())
            }
        });
    }
    Ok(row)
}
