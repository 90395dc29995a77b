//! A TLS client that may sign with a key that is not its certificate's, which no honest client library does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme, StreamOwned};

use super::authority::Card;
use super::stranger::{SSL_REQUEST, Stranger, request};

pub type TlsStranger = StreamOwned<ClientConnection, TcpStream>;

/// Asks for TLS, shakes hands with `card`, sends `message` and gives the first bytes of the answer.
pub fn converse(port: u16, ca: &Path, card: &Card, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = arrive(port, &configuration(ca, card));
    stream.write_all(message)?;
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

/// Asks for TLS; hands are shaken with the first bytes. One configuration resumes where it was before.
pub fn arrive(port: u16, configuration: &Arc<ClientConfig>) -> TlsStranger {
    let mut stranger = Stranger::at(port);
    stranger.say(&request(SSL_REQUEST));
    assert_eq!(stranger.hear(1), b"S");
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(configuration.clone(), name).expect("a connection");
    StreamOwned::new(connection, stranger.0)
}

pub fn configuration(ca: &Path, card: &Card) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).expect("a root"))
        .expect("a good root");
    let key = PrivateKeyDer::from_pem_file(&card.key).expect("a key");
    let shown = CertifiedKey::new(
        vec![CertificateDer::from_pem_file(&card.certificate).expect("a certificate")],
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a signing key"),
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(Shows(Arc::new(shown))));
    Arc::new(configuration)
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
