//! Certificates and conversations for the tests of this room.

use std::sync::Arc;

use postern_policy::model::{ServerTls, ServerTlsMode};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};

use super::{
    Established, Handshake, Link, ListenerOptions, ListenerTls, MAX_RECORD, Opened, RecordAssembler, TlsError,
    UpstreamTls,
};

/// A leaf and its key, as PEM.
pub(super) struct Leaf {
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) der: Vec<u8>,
}

/// A certificate authority that issues leaves.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn root(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    pub(super) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    pub(super) fn leaf_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        }
    }
}

impl Leaf {
    pub(super) fn listener(&self) -> Arc<ListenerTls> {
        self.listener_with(&ListenerOptions::default())
    }

    pub(super) fn listener_with(&self, options: &ListenerOptions) -> Arc<ListenerTls> {
        Arc::new(ListenerTls::new(self.chain.as_bytes(), self.key.as_bytes(), options).unwrap())
    }
}

/// A cluster's TLS table that only asks for TLS.
pub(super) fn require() -> ServerTls {
    ServerTls {
        mode: ServerTlsMode::Require,
        ..ServerTls::default()
    }
}

/// Both ends of one handshake, done: (server, client).
pub(super) fn handshake(listener: &Arc<ListenerTls>, upstream: &UpstreamTls) -> (Established, Established) {
    let mut to_server = Vec::new();
    let mut to_client = Vec::new();
    let mut server = Handshake::server(listener, true).unwrap();
    let mut client = Handshake::client(upstream, "db.example", &mut to_server).unwrap();
    let (mut server_done, mut client_done) = (None, None);
    while server_done.is_none() || client_done.is_none() {
        let input = core::mem::take(&mut to_server);
        let progress = server.handle(&input, &mut to_client).unwrap();
        assert_eq!(progress.consumed, input.len());
        server_done = progress.established.or(server_done);
        let input = core::mem::take(&mut to_client);
        match &mut client_done {
            None => {
                let progress = client.handle(&input, &mut to_server).unwrap();
                assert_eq!(progress.consumed, input.len());
                client_done = progress.established;
            }
            Some(established) => assert_eq!(read_all(&mut established.link, input), Vec::<u8>::new()),
        }
    }
    if let Some(established) = &mut client_done {
        assert_eq!(read_all(&mut established.link, to_client), Vec::<u8>::new());
    }
    (server_done.unwrap(), client_done.unwrap())
}

/// A conversation's receiving end for bytes cut anywhere: whole records are opened where they lie, split ones assembled.
pub(super) struct Receiver {
    assembler: RecordAssembler,
    buffer: Vec<u8>,
    pub(super) copied: usize,
    pub(super) closed: bool,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            assembler: RecordAssembler::default(),
            buffer: vec![0; MAX_RECORD],
            copied: 0,
            closed: false,
        }
    }

    /// Gives the plaintext in `bytes`, and keeps what is left of a record.
    pub(super) fn receive(&mut self, link: &mut Link, bytes: &[u8]) -> Result<Vec<u8>, TlsError> {
        let mut bytes = bytes.to_vec();
        let mut rest = bytes.as_mut_slice();
        let mut plaintext = Vec::new();
        while !rest.is_empty() {
            if self.assembler.held() == 0 {
                match link.open(rest)? {
                    Opened::NeedMore { total } => assert!(total > rest.len()),
                    opened => {
                        let consumed = self.note(opened, rest, &mut plaintext);
                        rest = &mut rest[consumed..];
                        continue;
                    }
                }
            }
            let filled = self.assembler.fill(&mut self.buffer, rest)?;
            self.copied += filled.taken;
            rest = &mut rest[filled.taken..];
            if let Some(length) = filled.record {
                let mut record = self.buffer[..length].to_vec();
                let opened = link.open(&mut record)?;
                assert_eq!(self.note(opened, &record, &mut plaintext), length);
            }
        }
        Ok(plaintext)
    }

    fn note(&mut self, opened: Opened, bytes: &[u8], plaintext: &mut Vec<u8>) -> usize {
        match opened {
            Opened::Data {
                plaintext: range,
                consumed,
            } => {
                assert!(!range.is_empty());
                plaintext.extend_from_slice(&bytes[range]);
                consumed
            }
            Opened::Control { consumed } => consumed,
            Opened::CloseNotify { consumed } => {
                self.closed = true;
                consumed
            }
            Opened::NeedMore { .. } => panic!("a whole record needs more"),
        }
    }
}

/// All plaintext in `bytes`, which must be whole records of data or control.
pub(super) fn read_all(link: &mut Link, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut plaintext = Vec::new();
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        let consumed = match link.open(rest).unwrap() {
            Opened::Data {
                plaintext: range,
                consumed,
            } => {
                plaintext.extend_from_slice(&rest[range]);
                consumed
            }
            Opened::Control { consumed } => consumed,
            other => panic!("{other:?}"),
        };
        rest = &mut rest[consumed..];
    }
    plaintext
}
