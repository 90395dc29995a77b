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
