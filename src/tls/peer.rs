//! Plain rustls as the other end, for tests: the reference that our link is compared with.

use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use postern_policy::model::ServerTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::fixtures::{Authority, Leaf, Receiver};
use super::{ALPN, Established, Handshake, ListenerTls, TlsError, UpstreamTls};

/// One rustls connection over byte strings.
pub(super) struct Peer(pub(super) Connection);

impl Peer {
    pub(super) fn client(config: ClientConfig) -> Self {
        Self::client_of(Arc::new(config))
    }

    pub(super) fn client_of(config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("db.example").unwrap();
        Self(ClientConnection::new(config, name).unwrap().into())
    }

    pub(super) fn server(config: ServerConfig) -> Self {
        Self(ServerConnection::new(Arc::new(config)).unwrap().into())
    }

    /// What it wants to send.
    pub(super) fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).unwrap();
        }
        out
    }

    /// Takes `bytes` and gives the plaintext that came out.
    pub(super) fn input(&mut self, bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut cursor = Cursor::new(bytes);
        let mut plaintext = Vec::new();
        while (cursor.position() as usize) < bytes.len() {
            self.0.read_tls(&mut cursor).unwrap();
            let state = self.0.process_new_packets()?;
            let start = plaintext.len();
            plaintext.resize(start + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plaintext[start..]).unwrap();
        }
        Ok(plaintext)
    }

    pub(super) fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in plaintext.chunks(16_384) {
            self.0.writer().write_all(piece).unwrap();
            out.extend(self.output());
        }
        out
    }
}

/// The suite alone, with everything else as it is.
pub(super) fn provider(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![suite],
        ..aws_lc_rs::default_provider()
    })
}

pub(super) fn version_of(suite: SupportedCipherSuite) -> &'static [&'static SupportedProtocolVersion] {
    static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
    static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match suite {
        SupportedCipherSuite::Tls12(_) => &TLS12,
        SupportedCipherSuite::Tls13(_) => &TLS13,
    }
}

/// A client that takes any server and shows `certificate`, with `key` even where that is another one's.
pub(super) fn client_config(suite: SupportedCipherSuite, identity: Option<(&str, &str)>) -> ClientConfig {
    let provider = provider(suite);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(version_of(suite))
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider.clone())));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                .map(Result::unwrap)
                .collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let key = CertifiedKey::new(chain, provider.key_provider.load_private_key(key).unwrap());
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// A server that shows `leaf` and, given an authority, demands a client certificate of it.
pub(super) fn server_config(suite: SupportedCipherSuite, leaf: &Leaf, clients: Option<&Authority>) -> ServerConfig {
    let provider = provider(suite);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(version_of(suite))
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    match clients {
        None => builder.with_no_client_auth().with_single_cert(chain, key).unwrap(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(authority.root())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain, key)
                .unwrap()
        }
    }
}

/// Our server end against a rustls client, up to the established link.
pub(super) fn accept(listener: &Arc<ListenerTls>, peer: &mut Peer) -> Result<Established, TlsError> {
    shake(Handshake::server(listener, true)?, Vec::new(), peer)
}

/// Our client end against a rustls server.
pub(super) fn connect(upstream: &UpstreamTls, host: &str, peer: &mut Peer) -> Result<Established, TlsError> {
    let mut hello = Vec::new();
    let ours = Handshake::client(upstream, host, &mut hello)?;
    shake(ours, hello, peer)
}

pub(super) fn connect_to(tls: &ServerTls, peer: &mut Peer) -> Result<Established, TlsError> {
    connect(&UpstreamTls::new(tls, None).unwrap(), "db.example", peer)
}

fn shake(mut ours: Handshake, mut to_peer: Vec<u8>, peer: &mut Peer) -> Result<Established, TlsError> {
    loop {
        // The peer's refusal comes back to us as its alert.
        assert!(
            peer.input(&core::mem::take(&mut to_peer))
                .unwrap_or_default()
                .is_empty()
        );
        let bytes = peer.output();
        let progress = match ours.handle(&bytes, &mut to_peer) {
            Ok(progress) => progress,
            Err(error) => {
                assert!(
                    peer.input(&to_peer).is_err() || to_peer.is_empty(),
                    "an alert is an error to the peer"
                );
                return Err(error);
            }
        };
        if let Some(mut established) = progress.established {
            assert!(peer.input(&to_peer).unwrap_or_default().is_empty());
            let rest = [&bytes[progress.consumed..], &peer.output()].concat();
            assert_eq!(Receiver::new().receive(&mut established.link, &rest)?, b"");
            return Ok(established);
        }
        assert_eq!(progress.consumed, bytes.len());
        assert!(!(bytes.is_empty() && to_peer.is_empty()), "the handshake stands still");
    }
}

#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A server's certificate with a key that is not its own.
pub(super) fn mismatched(leaf: &Leaf) -> Arc<SingleCertAndKey> {
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let key = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key)
        .unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}
