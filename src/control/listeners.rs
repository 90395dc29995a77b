//! Certificates of listeners: read from their files, read again when they change, replaced as a whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;

use super::secret_file::{SecretFault, read_certificate, read_secret};
use crate::config::{CertificateFiles, Listener};
use crate::tls::{ListenerOptions, ListenerTls, ListenerTlsError};

/// One listener that speaks TLS: its place in the configuration, its files, and what was made of them.
struct Site {
    index: usize,
    name: String,
    files: CertificateFiles,
    content: [u8; 32],
}

/// Every listener that speaks TLS.
pub struct ListenerCertificates {
    sites: Vec<Site>,
    /// Of the client authorities in force.
    authorities: [u8; 32],
}

/// Why a listener's certificate was not taken.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: {fault}")]
pub struct ListenerFault {
    pub listener: String,
    pub fault: CertificateFault,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    #[error("certificate: {0}")]
    Certificate(#[source] SecretFault),
    #[error("key: {0}")]
    Key(#[source] SecretFault),
    #[error(transparent)]
    Tls(#[from] ListenerTlsError),
}

/// What one reading did.
#[derive(Debug, Default)]
pub struct Read {
    /// Names of listeners with another certificate now.
    pub replaced: Vec<String>,
    /// Listeners that keep what they had.
    pub faults: Vec<ListenerFault>,
}

impl ListenerCertificates {
    pub fn new(listeners: &[Listener]) -> Self {
        let site = |(index, listener): (usize, &Listener)| {
            let files = listener.tls.files()?.clone();
            Some(Site {
                index,
                name: listener.name.clone(),
                files,
                content: [0; 32],
            })
        };
        Self {
            sites: listeners.iter().enumerate().filter_map(site).collect(),
            authorities: [0; 32],
        }
    }

    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.sites
            .iter()
            .flat_map(|site| [site.files.certificate.clone(), site.files.key.clone()])
    }

    /// Reads every file and replaces what changed. With other client `authorities` everything is replaced, and with it
    /// the ticket keys: no session from before is resumed.
    pub fn read(&mut self, authorities: [u8; 32], slots: &[Arc<ArcSwapOption<ListenerTls>>]) -> Read {
        let afresh = self.authorities != authorities;
        self.authorities = authorities;
        let mut read = Read::default();
        for site in &mut self.sites {
            match site.read(afresh) {
                Ok(Some(tls)) => {
                    if let Some(slot) = slots.get(site.index) {
                        slot.store(Some(Arc::new(tls)));
                    }
                    read.replaced.push(site.name.clone());
                }
                Ok(None) => {}
                Err(fault) => read.faults.push(ListenerFault {
                    listener: site.name.clone(),
                    fault,
                }),
            }
        }
        read
    }
}

impl Site {
    /// `None` when the files say what they said before.
    fn read(&mut self, afresh: bool) -> Result<Option<ListenerTls>, CertificateFault> {
        let chain = read_certificate(&self.files.certificate).map_err(CertificateFault::Certificate)?;
        let key = read_secret(&self.files.key).map_err(CertificateFault::Key)?;
        let content = digest_of(&[&chain, key.expose()]);
        if content == self.content && !afresh {
            return Ok(None);
        }
        let tls = ListenerTls::new(&chain, key.expose(), &ListenerOptions::default())?;
        self.content = content;
        Ok(Some(tls))
    }
}

fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::scratch::Scratch;
    use super::*;
    use crate::config::{ListenerAddress, ListenerTls as Mode, ProxyProtocol};

    fn listener(dir: &Scratch) -> Listener {
        let files = CertificateFiles {
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
        };
        Listener {
            name: "main".into(),
            address: ListenerAddress::Tcp("127.0.0.1:0".parse().unwrap()),
            tls: Mode::Require(files),
            proxy_protocol: ProxyProtocol::Off,
            backlog: 1,
        }
    }

    fn write_pair(dir: &Scratch) {
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()]).unwrap();
        dir.write("cert.pem", made.cert.pem());
        dir.write_mode("key.pem", made.signing_key.serialize_pem(), 0o600);
    }

    fn slots() -> Vec<Arc<ArcSwapOption<ListenerTls>>> {
        vec![Arc::new(ArcSwapOption::empty())]
    }

    #[test]
    fn a_new_certificate_replaces_and_an_equal_one_does_not() {
        let (dir, slots) = (Scratch::new(), slots());
        write_pair(&dir);
        let mut certificates = ListenerCertificates::new(&[listener(&dir)]);
        assert_eq!(certificates.read([1; 32], &slots).replaced, ["main"]);
        let first = slots[0].load_full().unwrap();
        assert!(certificates.read([1; 32], &slots).replaced.is_empty());
        assert!(Arc::ptr_eq(&first, &slots[0].load_full().unwrap()));
        write_pair(&dir);
        assert_eq!(certificates.read([1; 32], &slots).replaced, ["main"]);
        assert_ne!(first.leaf(), slots[0].load_full().unwrap().leaf());
    }

    #[test]
    fn a_failed_reading_keeps_the_old_one_and_says_why() {
        let (dir, slots) = (Scratch::new(), slots());
        write_pair(&dir);
        let mut certificates = ListenerCertificates::new(&[listener(&dir)]);
        certificates.read([1; 32], &slots);
        let before = slots[0].load_full().unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["other.test".into()]).unwrap();
        dir.write("cert.pem", other.cert.pem());
        let read = certificates.read([1; 32], &slots);
        assert!(matches!(
            read.faults[0].fault,
            CertificateFault::Tls(ListenerTlsError::KeyMismatch)
        ));
        fs::remove_file(dir.path().join("key.pem")).unwrap();
        let read = certificates.read([1; 32], &slots);
        assert!(matches!(
            read.faults[0].fault,
            CertificateFault::Key(SecretFault::Io { .. })
        ));
        assert!(Arc::ptr_eq(&before, &slots[0].load_full().unwrap()));
    }

    #[test]
    fn other_client_authorities_mean_other_ticket_keys() {
        let (dir, slots) = (Scratch::new(), slots());
        write_pair(&dir);
        let mut certificates = ListenerCertificates::new(&[listener(&dir)]);
        certificates.read([1; 32], &slots);
        let before = slots[0].load_full().unwrap();
        assert_eq!(certificates.read([2; 32], &slots).replaced, ["main"]);
        assert!(!Arc::ptr_eq(&before, &slots[0].load_full().unwrap()));
    }
}
