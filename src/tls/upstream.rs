//! TLS towards the servers of one cluster, as one role: what their certificate must satisfy, and ours if we have one.

use std::sync::Arc;

use postern_policy::model::{ServerTls, ServerTlsMode};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;

use super::client_certificate::ShownCertificate;
use super::listener::{ListenerTlsError, certified_key};
use super::server_certificate::{Demand, Roots, ServerVerifier};
use super::{ALPN, TlsError};
use crate::secret::Secret;

/// The contents of the PEM files that a role's credential names.
pub struct ClientCertificate<'a> {
    pub chain: &'a [u8],
    pub key: &'a Secret,
}

/// What connections to one cluster as one role are made with. Built by control and replaced as a whole.
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    certificate: Option<Arc<CertifiedKey>>,
    server_name: Option<String>,
    proves_server: bool,
}

/// Why TLS towards a cluster cannot be set up. Texts are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamTlsError {
    #[error("the cluster's TLS mode is `disable`")]
    Disabled,
    #[error("the TLS mode needs trust anchors (`roots`) or a pinned key (`pinned_key`)")]
    NoRoots,
    #[error("root number {0} cannot be read as a certificate")]
    BadRoot(usize),
    #[error("the role's client certificate: {0}")]
    ClientCertificate(ListenerTlsError),
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl UpstreamTls {
    /// For a cluster's TLS table and, where the role has one, its client certificate.
    pub fn new(tls: &ServerTls, certificate: Option<ClientCertificate<'_>>) -> Result<Self, UpstreamTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let demand = demand(tls)?;
        let proves_server = matches!(demand, Demand::PinnedKey(_) | Demand::PathAndName(..));
        let verifier = Arc::new(ServerVerifier {
            provider: provider.clone(),
            demand,
        });
        Ok(Self {
            config: Arc::new(config(&provider, verifier)?),
            certificate: certificate.map(|pem| certified(&provider, &pem)).transpose()?,
            server_name: tls.server_name.clone(),
            proves_server,
        })
    }

    /// Whether a finished handshake proves which server this is (`verify-full`, or a pinned key), as sending it a
    /// password in clear demands.
    pub fn proves_server(&self) -> bool {
        self.proves_server
    }

    /// For one handshake: what tells whether the role's certificate was shown belongs to it alone.
    pub(super) fn config(&self) -> (Arc<ClientConfig>, Option<Arc<ShownCertificate>>) {
        let Some(key) = &self.certificate else {
            return (self.config.clone(), None);
        };
        let certificate = Arc::new(ShownCertificate::new(key.clone()));
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = certificate.clone();
        (Arc::new(config), Some(certificate))
    }

    /// The name to verify and to send as SNI: the policy's, else the host as the endpoint writes it.
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        match ServerName::try_from(name.to_owned()) {
            Ok(name) => Ok(name),
            Err(_) => Err(TlsError::BadServerName(name.into())),
        }
    }
}

/// A pinned key is trusted by itself, in every mode: it says more than any path could.
fn demand(tls: &ServerTls) -> Result<Demand, UpstreamTlsError> {
    match (tls.mode, tls.pinned_key) {
        (ServerTlsMode::Disable, _) => Err(UpstreamTlsError::Disabled),
        (ServerTlsMode::Require | ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull, Some(pin)) => {
            Ok(Demand::PinnedKey(pin))
        }
        (ServerTlsMode::Require, None) => Ok(Demand::Possession),
        (ServerTlsMode::VerifyCa, None) => Ok(Demand::Path(roots(tls)?)),
        (ServerTlsMode::VerifyFull, None) => Ok(Demand::PathAndName(roots(tls)?, tls.common_name.clone())),
    }
}

fn roots(tls: &ServerTls) -> Result<Roots, UpstreamTlsError> {
    match tls.roots.is_empty() {
        true => Err(UpstreamTlsError::NoRoots),
        false => Roots::new(&tls.roots).map_err(UpstreamTlsError::BadRoot),
    }
}

fn certified(provider: &CryptoProvider, pem: &ClientCertificate<'_>) -> Result<Arc<CertifiedKey>, UpstreamTlsError> {
    let key = certified_key(provider, pem.chain, pem.key.expose());
    key.map(Arc::new).map_err(UpstreamTlsError::ClientCertificate)
}

fn config(provider: &Arc<CryptoProvider>, verifier: Arc<ServerVerifier>) -> Result<ClientConfig, UpstreamTlsError> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| UpstreamTlsError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    // PostgreSQL issues no tickets, and a full handshake is where the server's certificate is judged.
    config.resumption = Resumption::disabled();
    Ok(config)
}
