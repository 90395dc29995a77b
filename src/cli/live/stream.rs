//! A blocking connection to a server, in clear or through the gate's own TLS link.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use postern_policy::model::Endpoint;

use super::session::LiveFault;
use crate::tls::{Handshake, HandshakeFacts, Link, MAX_RECORD, Opened, TlsError, UpstreamTls};
use crate::upstream::encryption::{self, Answer};

trait Socket: Read + Write {}
impl<T: Read + Write> Socket for T {}

pub struct Stream {
    socket: Box<dyn Socket>,
    link: Option<Box<Link>>,
    /// Received, and not yet opened.
    records: Vec<u8>,
}

impl Stream {
    /// Connects; `patience` bounds each later read and write as well.
    pub fn connect(endpoint: &Endpoint, connect: Duration, patience: Duration) -> Result<Self, LiveFault> {
        let socket: Box<dyn Socket> = match endpoint {
            Endpoint::Tcp { host, port } => Box::new(connect_tcp(host, *port, connect, patience)?),
            Endpoint::Unix { path } => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(patience))?;
                socket.set_write_timeout(Some(patience))?;
                Box::new(socket)
            }
        };
        Ok(Self {
            socket,
            link: None,
            records: Vec::new(),
        })
    }

    /// SSLRequest and the handshake.
    pub fn encrypt(&mut self, tls: &UpstreamTls, host: &str) -> Result<HandshakeFacts, LiveFault> {
        let mut out = Vec::new();
        encryption::request(&mut out);
        self.socket.write_all(&out)?;
        let mut answer = [0; 1];
        self.socket.read_exact(&mut answer)?;
        match encryption::answer(&answer)? {
            Answer::Accepted => {}
            Answer::Awaited => return Err(LiveFault::Closed),
        }
        out.clear();
        let mut handshake = Handshake::client(tls, host, &mut out)?;
        loop {
            self.socket.write_all(&out)?;
            out.clear();
            let input = self.read_some()?;
            let progress = handshake.handle(&input, &mut out)?;
            if let Some(established) = progress.established {
                self.socket.write_all(&out)?;
                self.records = input.get(progress.consumed..).unwrap_or_default().to_vec();
                self.link = Some(established.link);
                return Ok(established.facts);
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), LiveFault> {
        match &mut self.link {
            None => self.socket.write_all(bytes)?,
            Some(link) => {
                let mut sealed = Vec::new();
                link.seal(bytes, &mut sealed)?;
                self.socket.write_all(&sealed)?;
            }
        }
        Ok(())
    }

    /// The next bytes from the server, at least one.
    pub fn receive(&mut self) -> Result<Vec<u8>, LiveFault> {
        loop {
            if self.link.is_none() {
                return self.read_some();
            }
            if let Some(plaintext) = self.open_one()? {
                return Ok(plaintext);
            }
        }
    }

    /// One record, or more bytes of it.
    fn open_one(&mut self) -> Result<Option<Vec<u8>>, LiveFault> {
        let Some(link) = &mut self.link else { return Ok(None) };
        let (consumed, plaintext) = match link.open(&mut self.records)? {
            Opened::NeedMore { total } if total > MAX_RECORD => return Err(LiveFault::Closed),
            Opened::NeedMore { .. } => {
                let more = self.read_some()?;
                self.records.extend(more);
                return Ok(None);
            }
            Opened::Data { plaintext, consumed } => (consumed, self.records.get(plaintext).map(<[u8]>::to_vec)),
            Opened::Control { consumed } => (consumed, None),
            Opened::CloseNotify { .. } => return Err(LiveFault::Closed),
        };
        let mut owed = Vec::new();
        link.flush_owed(&mut owed)?;
        self.socket.write_all(&owed)?;
        self.records.drain(..consumed.min(self.records.len()));
        Ok(plaintext)
    }

    fn read_some(&mut self) -> Result<Vec<u8>, LiveFault> {
        let mut buffer = vec![0; MAX_RECORD];
        match self.socket.read(&mut buffer)? {
            0 => Err(LiveFault::Closed),
            length => {
                buffer.truncate(length);
                Ok(buffer)
            }
        }
    }
}

fn connect_tcp(host: &str, port: u16, connect: Duration, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, connect) {
            Ok(socket) => {
                socket.set_read_timeout(Some(patience))?;
                socket.set_write_timeout(Some(patience))?;
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl From<TlsError> for LiveFault {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}
