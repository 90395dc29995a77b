//! A small HTTPS server: a thread for each connection, every request handed to the test.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;

/// The name in the server's certificate.
pub const HOST: &str = "idp.test";

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Said in `Content-Length` whatever the body is.
    length: Option<usize>,
    pieces: Option<usize>,
    close: bool,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(body)
    }

    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            length: None,
            pieces: None,
            close: false,
        }
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Promises so many bytes.
    pub fn promising(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// In chunks of so many bytes, without saying how many there will be.
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.pieces = Some(bytes);
        self
    }

    /// Closes the connection afterwards without having said so.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

pub struct Server {
    address: SocketAddr,
    root: Vec<u8>,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Mutex<Handler>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Server {
    pub fn new(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let (config, root) = certified();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Mutex::new(Arc::new(handler)),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, config, shared) = (stream.unwrap(), config.clone(), serving.clone());
                std::thread::spawn(move || shared.connection(stream, config));
            }
        });
        Self { address, root, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.address.port())
    }

    /// The trust anchor, DER.
    pub fn root(&self) -> Vec<u8> {
        self.root.clone()
    }

    pub fn answer_with(&self, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.shared.handler.lock().unwrap() = Arc::new(handler);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Requests that came for this path.
    pub fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    /// Connections on which TLS was agreed, so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The most requests that were being answered at one time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }
}

/// Holds answers back until it is opened.
#[derive(Clone, Default)]
pub struct Barrier(Arc<AtomicBool>);

impl Barrier {
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn wait(&self) {
        let start = Instant::now();
        while !self.0.load(Ordering::SeqCst) && start.elapsed() < super::PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    /// Threads that wait for a peer end with the peer.
    fn drop(&mut self) {
        self.answer_with(|_| Reply::status(503).closing());
    }
}

impl Shared {
    fn connection(&self, stream: TcpStream, config: Arc<ServerConfig>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.requests(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn requests(&self, mut stream: StreamOwned<ServerConnection, TcpStream>) {
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        while let Some(seen) = read_request(&mut stream) {
            self.seen.lock().unwrap().push(seen.clone());
            let handler = self.handler.lock().unwrap().clone();
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            let reply = handler(&seen);
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if write_reply(&mut stream, &reply).is_err() || reply.close {
                return;
            }
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Seen {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

fn write_reply(stream: &mut impl Write, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if reply.pieces.is_some() {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if reply.status != 304 {
        let length = reply.length.unwrap_or(reply.body.len());
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    match reply.pieces {
        Some(bytes) => write_pieces(stream, &reply.body, bytes)?,
        None => stream.write_all(&reply.body)?,
    }
    stream.flush()
}

fn write_pieces(stream: &mut impl Write, body: &[u8], bytes: usize) -> std::io::Result<()> {
    for piece in body.chunks(bytes) {
        write!(stream, "{:x}\r\n", piece.len())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

/// A fresh authority and a certificate of it for [`HOST`].
fn certified() -> (Arc<ServerConfig>, Vec<u8>) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (Arc::new(config), authority.der().to_vec())
}

/// A JWK of this name.
pub fn public_key(id: &str) -> String {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let key = KeyPair::generate().unwrap();
    let point = key.public_key_raw();
    let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
    format!(r#"{{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"{id}","x":"{x}","y":"{y}"}}"#)
}
