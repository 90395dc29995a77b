//! Whom a provider's certificate must come from: the trust anchors of the policy, or those of the system.

use std::sync::Arc;

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

/// TLS towards a provider. `roots`: DER; with none the system's are read from its files, which takes a while.
pub fn client_config(roots: &[Vec<u8>]) -> Result<Arc<ClientConfig>, TrustFault> {
    let store = if roots.is_empty() {
        system_anchors()?
    } else {
        anchors_of(roots)?
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustFault::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
        let fault = client_config(&[b"no certificate".to_vec()]).unwrap_err();
        assert!(matches!(fault, TrustFault::Anchor(_)), "{fault}");
    }
}
