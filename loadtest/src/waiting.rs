//! Clients that send a password over TLS and wait for what the gate makes of it, which can be long where somebody else has to
//! be asked first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monoio::io::IntoPollIo;
use monoio::io::poll_io::{AsyncReadExt as _, AsyncWriteExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::{Failure, clients, connect};

#[derive(clap::Args)]
pub struct Options {
    target: SocketAddr,
    /// PEM: whom the gate's certificate is from.
    #[arg(long)]
    root: PathBuf,
    #[arg(long, default_value_t = 1_000)]
    sessions: u32,
    /// Handshakes under way at once.
    #[arg(long, default_value_t = 32)]
    at_once: u32,
    #[arg(long, default_value = "load")]
    user: String,
    #[arg(long, default_value = "load")]
    database: String,
    /// The first session's number: passwords of several herds should differ.
    #[arg(long, default_value_t = 0)]
    first: u32,
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Bytes of an answer before login at most.
const ANSWER: usize = 1_024;

type Stream = tokio_rustls::client::TlsStream<monoio::net::tcp::stream_poll::TcpStreamPoll>;

struct Herd {
    options: Options,
    tls: TlsConnector,
    next: Cell<u32>,
    waiting: Cell<u32>,
    /// What clients were told in the end, and how many of them.
    told: RefCell<BTreeMap<String, u32>>,
}

/// Says `waiting N` once every password has been sent, and in the end what the clients were told.
pub async fn run(options: Options) -> Result<(), Failure> {
    let began = Instant::now();
    let herd = Rc::new(Herd {
        tls: TlsConnector::from(Arc::new(trusting(&options)?)),
        next: Cell::new(0),
        waiting: Cell::new(0),
        told: RefCell::default(),
        options,
    });
    let workers = (0..herd.options.at_once).map(|_| monoio::spawn(herd.clone().send_passwords()));
    let mut answers = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        answers.extend(worker.await);
    }
    println!("waiting {} after {:.1?}", herd.waiting.get(), began.elapsed());
    for answer in answers {
        answer.await;
    }
    for (told, count) in &*herd.told.borrow() {
        println!("{count} told: {told}");
    }
    Ok(())
}

impl Herd {
    /// One after the other, each left to wait in a task of its own.
    async fn send_passwords(self: Rc<Self>) -> Vec<monoio::task::JoinHandle<()>> {
        let mut answers = Vec::new();
        while self.next.get() < self.options.sessions {
            let nth = self.next.replace(self.next.get() + 1);
            match self.send_password(nth).await {
                Ok(stream) => {
                    self.waiting.set(self.waiting.get() + 1);
                    answers.push(monoio::spawn(self.clone().wait(stream)));
                }
                Err(error) => self.note(format!("not so far: {error}")),
            }
        }
        answers
    }

    async fn send_password(&self, nth: u32) -> Result<Stream, Failure> {
        let mut plain = connect(self.options.target, nth).await?.into_poll_io()?;
        plain.write_all(&SSL_REQUEST).await?;
        let mut answer = [0];
        plain.read_exact(&mut answer).await?;
        if answer != *b"S" {
            return Err("the gate has no TLS".into());
        }
        let mut stream = self.tls.connect(ServerName::try_from("localhost")?, plain).await?;
        stream.write_all(&self.startup()).await?;
        let asked = read(&mut stream).await?;
        if !asked.starts_with(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]) {
            return Err(format!("no request for a password: {}", told(&asked)).into());
        }
        let password = format!("herd-{}", self.options.first + nth);
        stream
            .write_all(&message(Some(b'p'), &[password.as_bytes(), b"\0"]))
            .await?;
        stream.flush().await?;
        Ok(stream)
    }

    fn startup(&self) -> Vec<u8> {
        let Options { user, database, .. } = &self.options;
        let parameters = format!("user\0{user}\0database\0{database}\0\0");
        message(None, &[&196_608_u32.to_be_bytes(), parameters.as_bytes()])
    }

    async fn wait(self: Rc<Self>, mut stream: Stream) {
        let told = match read(&mut stream).await {
            Ok(answer) => told(&answer),
            Err(error) => error.to_string(),
        };
        self.note(told);
    }

    fn note(&self, told: String) {
        *self.told.borrow_mut().entry(told).or_default() += 1;
    }
}

fn trusting(options: &Options) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(&options.root)? {
        roots.add(root?)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A session of its own for each client, as so many machines would have.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// What one read brings: before login the gate says one thing and waits.
async fn read(stream: &mut Stream) -> Result<Vec<u8>, Failure> {
    let mut answer = vec![0; ANSWER];
    let length = monoio::time::timeout(Duration::from_secs(120), stream.read(&mut answer)).await??;
    answer.truncate(length);
    Ok(answer)
}

fn message(tag: Option<u8>, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut message: Vec<u8> = tag.into_iter().collect();
    message.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    message.extend(body);
    message
}

/// SQLSTATE and text, or which message it is.
fn told(answer: &[u8]) -> String {
    match answer {
        [] => "nothing: the connection was closed".to_owned(),
        [b'E', _, _, _, _, body @ ..] => clients::told(body),
        [tag, ..] => format!("message {}", char::from(*tag)),
    }
}
