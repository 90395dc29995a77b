//! A client that keeps its connection, over HTTPS or plain.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

pub struct Client(Box<dyn Line>);

trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn secured(address: SocketAddr, root: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).expect("a root");
        roots.add(root).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = address.ip().into();
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        Self(Box::new(StreamOwned::new(session, connected(address))))
    }

    pub fn plain(address: SocketAddr) -> Self {
        Self(Box::new(connected(address)))
    }

    pub fn get(&mut self, path: &str, headers: &[&str]) -> io::Result<Answer> {
        self.ask("GET", path, headers, "")
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body).expect("an answer")
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &[&str], body: &str) -> io::Result<Answer> {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: issuer\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.0.write_all(text.as_bytes())?;
        self.0.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let head = self.up_to("\r\n\r\n")?;
        let mut answer = Answer {
            status: head[9..12].parse().expect("a status"),
            head,
            body: Vec::new(),
        };
        let length = answer
            .header("Content-Length")
            .map_or(0, |length| length.parse().expect("a length"));
        if answer.header("Transfer-Encoding") == Some("chunked") {
            answer.body = self.chunks()?;
            return Ok(answer);
        }
        answer.body = vec![0; length];
        self.0.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = self.up_to("\r\n")?;
            let length = usize::from_str_radix(length.trim(), 16).expect("a length");
            let mut chunk = vec![0; length + 2];
            self.0.read_exact(&mut chunk)?;
            if length == 0 {
                return Ok(body);
            }
            body.extend(&chunk[..length]);
        }
    }

    fn up_to(&mut self, end: &str) -> io::Result<String> {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            text.extend(byte);
        }
        Ok(String::from_utf8(text).expect("text"))
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| *header == name).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the issuer listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(1500)))
        .expect("a time-out");
    stream
}
