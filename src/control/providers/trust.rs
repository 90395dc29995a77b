//! Whom a provider's certificate must come from: the trust anchors of the policy, or those of the system.

use std::sync::Arc;

use ::aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrustFault {
    #[error("a trust anchor of the policy cannot be used: {0}")]
    Anchor(rustls::Error),
    #[error("the system has no trust anchors: {0}")]
    NoSystemAnchors(String),
    #[error("TLS: {0}")]
    Tls(rustls::Error),
}

/// TLS towards a provider, and which anchors it stands on: the system's may become others.
#[derive(Clone)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    anchors: [u8; 32],
}

impl Tls {
    pub fn same_as(&self, other: &Self) -> bool {
        self.anchors == other.anchors
    }
}

/// TLS towards a provider. `roots`: DER; with none the system's are read from its files, which takes a while.
pub fn client_config(roots: &[Vec<u8>]) -> Result<Tls, TrustFault> {
    let store = if roots.is_empty() {
        system_anchors()?
    } else {
        anchors_of(roots)?
    };
    let anchors = digest_of(&store);
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustFault::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls {
        config: Arc::new(config),
        anchors,
    })
}

fn digest_of(store: &RootCertStore) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for anchor in &store.roots {
        let parts = [&anchor.subject, &anchor.subject_public_key_info];
        let parts = parts.into_iter().chain(&anchor.name_constraints);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn anchors_of(roots: &[Vec<u8>]) -> Result<RootCertStore, TrustFault> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(CertificateDer::from(root.as_slice()))
            .map_err(TrustFault::Anchor)?;
    }
    Ok(store)
}

/// One unusable certificate among a system's hundreds is no reason to trust none.
fn system_anchors() -> Result<RootCertStore, TrustFault> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TrustFault::NoSystemAnchors(why));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_no_certificate_is_named() {
        let fault = client_config(&[b"no certificate".to_vec()]).err();
        assert!(matches!(fault, Some(TrustFault::Anchor(_))), "{fault:?}");
    }
}
