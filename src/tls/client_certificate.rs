//! Our certificate towards a server, in one handshake: shown where the server asks, and remembered whether it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

/// rustls asks it for a certificate when the server has sent a CertificateRequest, and not otherwise.
#[derive(Debug)]
pub(super) struct ShownCertificate {
    key: Arc<CertifiedKey>,
    shown: AtomicBool,
}

impl ShownCertificate {
    pub fn new(key: Arc<CertifiedKey>) -> Self {
        Self {
            key,
            shown: AtomicBool::new(false),
        }
    }

    pub fn was_shown(&self) -> bool {
        self.shown.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for ShownCertificate {
    fn resolve(&self, _roots: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Where no scheme suits the key, rustls answers with an empty Certificate message.
        let usable = self.key.key.choose_scheme(schemes).is_some();
        self.shown.store(usable, Ordering::Relaxed);
        usable.then(|| self.key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    #[test]
    fn a_server_that_asks_for_a_key_of_another_kind_is_shown_nothing() {
        let key = KeyPair::generate().expect("an ECDSA key");
        let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let signing = any_supported_type(&private).expect("a signing key");
        let key = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing));
        for (scheme, shown) in [
            (SignatureScheme::RSA_PSS_SHA256, false),
            (SignatureScheme::ECDSA_NISTP256_SHA256, true),
        ] {
            let certificate = ShownCertificate::new(key.clone());
            assert_eq!(certificate.resolve(&[], &[scheme]).is_some(), shown);
            assert_eq!(certificate.was_shown(), shown);
        }
    }
}
