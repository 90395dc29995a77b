//! The issuer at work: its addresses, its threads, and what a test may see and change while it runs.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::answers::{answer, endpoint};
use crate::claims::Claims;
use crate::connections::{ConnectionCount, Connections};
use crate::fault::{Endpoint, Fault};
use crate::http::{Conversation, Request, Response};
use crate::key::Key;
use crate::key_set::KeySet;
use crate::settings::Settings;
use crate::state::State;

/// Ends with all its connections and threads when dropped.
pub struct Issuer {
    state: Arc<State>,
    connections: Connections,
    address: SocketAddr,
    plain_address: Option<SocketAddr>,
    doors: Vec<(SocketAddr, JoinHandle<()>)>,
}

impl Issuer {
    pub fn start(settings: Settings) -> io::Result<Self> {
        let tls = settings.certificate.server()?;
        let secured = TcpListener::bind(settings.address)?;
        let plain = settings.plain_address.map(TcpListener::bind).transpose()?;
        let address = secured.local_addr()?;
        let plain_address = plain.as_ref().map(TcpListener::local_addr).transpose()?;
        let url = format!("https://{}{}", authority(&settings.host, address.port()), settings.path);
        let mut issuer = Self {
            state: Arc::new(State::new(settings, url)),
            connections: Connections::default(),
            address,
            plain_address,
            doors: Vec::new(),
        };
        issuer.open(secured, Some(tls))?;
        plain.map(|plain| issuer.open(plain, None)).transpose()?;
        Ok(issuer)
    }

    /// `iss` of its tokens. The discovery document is at `{url}/.well-known/openid-configuration`.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// A URL of it, `jwks` or `webhook`.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}/{path}", self.state.url)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn plain_address(&self) -> Option<SocketAddr> {
        self.plain_address
    }

    /// Whom a client has to trust, PEM.
    pub fn root_pem(&self) -> &str {
        &self.state.settings.certificate.root
    }

    /// What it was started with; with [`Issuer::keys`] in it, the next one at this address has the same keys.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// Standard claims of its tokens, from now on.
    pub fn claims(&self, subject: &str) -> Claims {
        self.state.claims(subject)
    }

    /// A good token, signed by the current key.
    pub fn token(&self, claims: Claims) -> String {
        self.state.token(claims)
    }

    /// The current key.
    pub fn key(&self) -> Arc<Key> {
        self.state.keys().current()
    }

    pub fn keys(&self) -> KeySet {
        self.state.keys().clone()
    }

    /// Makes a new key and publishes it beside the others; tokens are signed by it from now on.
    pub fn rotate(&self, algorithm: Algorithm) -> Arc<Key> {
        self.state.rotate(algorithm).expect("a new key")
    }

    /// Publishes the current key only.
    pub fn retire_old(&self) {
        self.state.retire_old().expect("no old keys");
    }

    /// Publishes an entry that is no signature key of this issuer.
    pub fn add_entry(&self, entry: Value) {
        self.state.keys().add_entry(entry);
    }

    /// From the next request on.
    pub fn set_fault(&self, endpoint: Endpoint, fault: Fault) {
        self.state.set_fault(endpoint, fault);
    }

    /// The same everywhere.
    pub fn set_faults(&self, fault: &Fault) {
        for endpoint in Endpoint::ALL {
            self.set_fault(endpoint, fault.clone());
        }
    }

    /// What `Cache-Control` says from now on; none: there is none.
    pub fn set_max_age(&self, seconds: Option<u32>) {
        self.state.set_max_age(seconds);
    }

    /// Who answers `POST /webhook`. Without, everybody is denied.
    pub fn on_webhook(&self, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) {
        self.state.set_webhook(Arc::new(answer));
    }

    /// Requests that have come in, those met with a fault too.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.state.requests(endpoint)
    }

    pub fn connections(&self) -> ConnectionCount {
        self.connections.count()
    }

    /// Ends the connections that are open now, as a server does that restarts. Clients may come back.
    pub fn close_connections(&self) {
        self.connections.shut_down();
    }

    fn open(&mut self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
        let address = listener.local_addr()?;
        let (state, connections) = (self.state.clone(), self.connections.clone());
        let door = std::thread::spawn(move || accept(&listener, tls.as_ref(), &state, &connections));
        self.doors.push((address, door));
        Ok(())
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        for (address, door) in self.doors.drain(..) {
            // It waits for a connection, and looks after each whether it should end.
            let _gone_already = TcpStream::connect_timeout(&reachable(address), Duration::from_secs(1));
            let _panicked = door.join();
        }
        self.connections.end();
    }
}

fn accept(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>, state: &Arc<State>, connections: &Connections) {
    loop {
        let accepted = listener.accept();
        if state.ends.load(Ordering::SeqCst) {
            return;
        }
        let Ok((stream, _)) = accepted else {
            // No descriptors left: some may be soon.
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let (state, tls) = (state.clone(), tls.cloned());
        connections.serve(stream, move |stream| {
            // Whatever ends a connection, the client sees that it has ended.
            let _ended = serve(stream, tls, &state);
        });
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => converse(Conversation::new(stream), state),
        Some(tls) => {
            let session = ServerConnection::new(tls).map_err(io::Error::other)?;
            converse(Conversation::new(StreamOwned::new(session, stream)), state)
        }
    }
}

fn converse<S: Read + Write>(mut client: Conversation<S>, state: &State) -> io::Result<()> {
    while let Some(request) = client.request()? {
        let endpoint = endpoint(state, &request.path);
        state.count(endpoint);
        let mut pause = Duration::ZERO;
        let response = match state.fault(endpoint) {
            Fault::None => answer(state, endpoint, &request),
            Fault::Delay(time) => {
                sleep(time, state);
                answer(state, endpoint, &request)
            }
            Fault::Drip(time) => {
                pause = time;
                answer(state, endpoint, &request)
            }
            Fault::Chunked => answer(state, endpoint, &request).in_chunks(),
            Fault::Status(status) => Response::new(status),
            Fault::Garbage => Response::new(200)
                .with("Content-Type", "application/json")
                .body(&b"{\"keys\": [\xff\x00 garbage"[..]),
            Fault::Answer(response) => response,
            Fault::Hang => return client.wait_for_the_end(),
            Fault::Endless => return never_end(&mut client, state),
            Fault::CloseAtOnce => return Ok(()),
            Fault::Raw(bytes) => return client.send(&bytes),
        };
        let bytes = response.bytes(request.keeps_alive());
        match pause.is_zero() {
            true => client.send(&bytes)?,
            false => drip(&mut client, &bytes, pause, state)?,
        }
        if !request.keeps_alive() {
            return Ok(());
        }
    }
    Ok(())
}

/// Without a length, and as fast as the client takes it.
fn never_end<S: Read + Write>(client: &mut Conversation<S>, state: &State) -> io::Result<()> {
    client.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"keys\":[")?;
    while !state.ends.load(Ordering::SeqCst) {
        client.send(&b"{\"kty\":\"none\"},".repeat(1000))?;
    }
    Ok(())
}

fn drip<S: Read + Write>(client: &mut Conversation<S>, bytes: &[u8], pause: Duration, state: &State) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| {
        sleep(pause, state);
        client.send(&[*byte])
    })
}

fn sleep(time: Duration, state: &State) {
    let until = Instant::now() + time;
    while !state.ends.load(Ordering::SeqCst) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Where a listener on all addresses can be reached.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
