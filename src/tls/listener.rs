//! TLS of one listener: its certificate and key, its tickets, and what it asks of clients.
//!
//! The handshake checks only that a client holds the key of the certificate that it shows. Who may come in is judged
//! after the StartupMessage, so that the client hears a PostgreSQL error and the record knows the fingerprint.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion, version,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::{ALPN, Version, end_point, possession};

/// What an operator may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The oldest version that is spoken.
    pub minimum: Version,
}

/// One listener's TLS. Built from files by control and replaced as a whole when they change: with the object go its
/// ticket keys, so no session from before a change is resumed after it.
pub struct ListenerTls {
    asking: Arc<ServerConfig>,
    not_asking: Arc<ServerConfig>,
    end_point: Option<Vec<u8>>,
    leaf: CertificateDer<'static>,
}

/// Why a listener's files are no use. Texts are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenerTlsError {
    #[error("the certificate file holds no PEM certificate")]
    NoCertificate,
    #[error("the certificate cannot be read: {0}")]
    BadCertificate(String),
    #[error("the key file holds no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)")]
    NoKey,
    #[error("the private key cannot be used: {0}")]
    BadKey(String),
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl ListenerTlsError {
    /// The stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate(_) => "bad_certificate",
            Self::NoKey => "no_key",
            Self::BadKey(_) => "bad_key",
            Self::KeyMismatch => "key_mismatch",
            Self::Setup(_) => "tls_setup",
        }
    }
}

impl ListenerTls {
    /// `chain` and `key` are the contents of PEM files, the leaf first.
    pub fn new(chain: &[u8], key: &[u8], options: &ListenerOptions) -> Result<Self, ListenerTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = certified_key(&provider, chain, key)?;
        let leaf = key
            .end_entity_cert()
            .map_err(|_| ListenerTlsError::NoCertificate)?
            .clone()
            .into_owned();
        let certificate = Arc::new(SingleCertAndKey::from(key));
        let possession = Arc::new(Possession {
            provider: provider.clone(),
        });
        Ok(Self {
            asking: config(&provider, options, certificate.clone(), possession)?,
            not_asking: config(&provider, options, certificate, Arc::new(NoClientAuth))?,
            end_point: end_point::end_point(&leaf),
            leaf,
        })
    }

    /// The `tls-server-end-point` channel binding of the certificate that clients are shown; `None` where none is
    /// defined, and SCRAM-SHA-256-PLUS is not offered.
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// The certificate that clients are shown.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    pub(super) fn config(&self, ask: bool) -> Arc<ServerConfig> {
        match ask {
            true => self.asking.clone(),
            false => self.not_asking.clone(),
        }
    }
}

/// Reads chain and key and checks that they belong together, for X.509 v1 certificates too.
pub(super) fn certified_key(
    provider: &CryptoProvider,
    chain: &[u8],
    key: &[u8],
) -> Result<CertifiedKey, ListenerTlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| ListenerTlsError::BadCertificate(error.to_string()))?;
    let leaf = chain.first().ok_or(ListenerTlsError::NoCertificate)?;
    let public = possession::public_key(leaf)
        .map_err(|error| ListenerTlsError::BadCertificate(error.to_string()))?
        .into_owned();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ListenerTlsError::NoKey)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| ListenerTlsError::BadKey(error.to_string()))?;
    match key.public_key() {
        Some(own) if own != public => Err(ListenerTlsError::KeyMismatch),
        Some(_) | None => Ok(CertifiedKey::new(chain, key)),
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    options: &ListenerOptions,
    certificate: Arc<SingleCertAndKey>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, ListenerTlsError> {
    let setup = |error: rustls::Error| ListenerTlsError::Setup(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(options.minimum))
        .map_err(setup)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    // Tickets hold the client's chain, so that a resumed client is judged in full, and cores share no table for them.
    // Each of the two configurations has keys of its own: a session that began without being asked for a certificate
    // must not be resumed where one is asked for.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(setup)?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn versions(minimum: Version) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_1_2: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    static FROM_1_3: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    match minimum {
        Version::Tls12 => &FROM_1_2,
        Version::Tls13 => &FROM_1_3,
    }
}

/// Asks for a certificate, takes any that can be read, and checks the signature that shows possession of its key.
#[derive(Debug)]
struct Possession {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: clients send the certificate that they have, whoever issued it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        possession::parse(end_entity)?;
        for certificate in intermediates {
            possession::parse(certificate)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession::verify_tls12(&self.provider.signature_verification_algorithms, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession::verify_tls13(&self.provider.signature_verification_algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixtures::Authority;

    fn error(chain: &str, key: &str) -> ListenerTlsError {
        ListenerTls::new(chain.as_bytes(), key.as_bytes(), &ListenerOptions::default())
            .err()
            .unwrap()
    }

    #[test]
    fn files_that_do_not_fit_are_refused_with_what_is_wrong() {
        let authority = Authority::new("ca");
        let (one, two) = (authority.leaf(&["a.example"]), authority.leaf(&["b.example"]));
        assert_eq!(error(&one.chain, &two.key), ListenerTlsError::KeyMismatch);
        assert_eq!(error("", &one.key), ListenerTlsError::NoCertificate);
        assert_eq!(error(&one.chain, ""), ListenerTlsError::NoKey);
        assert_eq!(error(&one.chain, &one.chain), ListenerTlsError::NoKey);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(error(nonsense, &one.key).as_str(), "bad_certificate");
        let garbled = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(error(&one.chain, garbled).as_str(), "bad_key");
    }

    #[test]
    fn the_end_point_is_the_leafs() {
        let leaf = Authority::new("ca").leaf(&["a.example"]);
        let listener = leaf.listener();
        assert_eq!(listener.leaf().as_ref(), leaf.der);
        let hash = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &leaf.der);
        assert_eq!(listener.end_point(), Some(hash.as_ref()));
    }
}
