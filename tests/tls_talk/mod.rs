//! A blocking socket under the link: the least that tests against other programs need.

pub mod openssl;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use postern::tls::{Handshake, HandshakeFacts, Link, Opened, TlsError, UpstreamTls};

/// One established conversation.
pub struct Talk {
    stream: TcpStream,
    link: Box<Link>,
    pub facts: HandshakeFacts,
    /// Bytes that came and were not opened.
    held: Vec<u8>,
    plaintext: Vec<u8>,
    /// How often the link owed the peer an answer.
    pub answers: usize,
}

/// Our client end.
pub fn connect(address: SocketAddr, upstream: &UpstreamTls, host: &str) -> Result<Talk, TlsError> {
    let stream = TcpStream::connect(address).unwrap();
    let mut hello = Vec::new();
    let handshake = Handshake::client(upstream, host, &mut hello)?;
    Talk::establish(stream, handshake, hello)
}

impl Talk {
    /// Handshakes on `stream`, beginning with what is in `out`.
    pub fn establish(mut stream: TcpStream, mut handshake: Handshake, mut out: Vec<u8>) -> Result<Self, TlsError> {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        loop {
            stream.write_all(&out).unwrap();
            out.clear();
            let mut input = vec![0; 4_096];
            let length = stream.read(&mut input).unwrap();
            assert_ne!(length, 0, "the peer went away during the handshake");
            let step = handshake.handle(&input[..length], &mut out);
            if step.is_err() {
                // The peer may be gone already; the alert is a courtesy.
                stream.write_all(&out).ok();
            }
            let progress = step?;
            if let Some(established) = progress.established {
                stream.write_all(&out).unwrap();
                let held = input[progress.consumed..length].to_vec();
                let (link, facts) = (established.link, established.facts);
                return Ok(Self {
                    stream,
                    link,
                    facts,
                    held,
                    plaintext: Vec::new(),
                    answers: 0,
                });
            }
            assert_eq!(progress.consumed, length);
        }
    }

    pub fn write(&mut self, plaintext: &[u8]) {
        let mut out = Vec::new();
        self.link.seal(plaintext, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// The next `count` bytes of plaintext.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.plaintext.len() < count {
            assert!(
                self.receive().unwrap(),
                "the peer closed after {} bytes",
                self.plaintext.len()
            );
        }
        self.plaintext.drain(..count).collect()
    }

    /// The error that reading ends in.
    pub fn read_error(&mut self) -> TlsError {
        loop {
            match self.receive() {
                Ok(open) => assert!(open, "the peer closed without an error"),
                Err(error) => return error,
            }
        }
    }

    pub fn close(&mut self) {
        let mut out = Vec::new();
        self.link.close_notify(&mut out).unwrap();
        self.stream.write_all(&out).unwrap();
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Opens what is there, then waits for more. False: the peer has closed.
    fn receive(&mut self) -> Result<bool, TlsError> {
        let mut at = 0;
        loop {
            let rest = &mut self.held[at..];
            match self.link.open(rest)? {
                Opened::NeedMore { .. } => break,
                Opened::Data { plaintext, consumed } => {
                    self.plaintext.extend_from_slice(&rest[plaintext]);
                    at += consumed;
                }
                Opened::Control { consumed } => at += consumed,
                Opened::CloseNotify { .. } => return Ok(false),
            }
            self.answer();
        }
        self.held.drain(..at);
        if at > 0 && !self.plaintext.is_empty() {
            return Ok(true);
        }
        let mut input = [0; 16_384];
        let length = self.stream.read(&mut input).unwrap();
        self.held.extend_from_slice(&input[..length]);
        Ok(length > 0)
    }

    fn answer(&mut self) {
        if self.link.owes() {
            self.answers += 1;
            let mut out = Vec::new();
            self.link.flush_owed(&mut out).unwrap();
            self.stream.write_all(&out).unwrap();
        }
    }
}
