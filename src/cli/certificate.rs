//! A client's certificate that a command is given, judged as the gate judges it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use postern_policy::explain::Presented;
use postern_policy::identity::CertificateNames;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::identity::certificate::{CertificateRefusal, Evidence, examine, fingerprint, resolve};
use crate::in_force::InForce;
use crate::time::Utc;

/// What the certificate shows. Whose it is, the explanation says.
pub struct Certificate {
    fingerprint: Option<[u8; 32]>,
    judged: Result<Arc<Evidence>, CertificateRefusal>,
}

impl Certificate {
    /// PEM, leaf first, or one certificate in DER.
    pub fn read(path: &Path, in_force: &InForce, now: Utc) -> Result<Self, String> {
        let chain = read_chain(path)?;
        Ok(Self {
            fingerprint: chain.first().map(|leaf| fingerprint(leaf)),
            judged: judge(&chain, in_force, now),
        })
    }

    /// What a token may be bound to, whatever else the certificate is worth.
    pub fn fingerprint(&self) -> Option<&[u8; 32]> {
        self.fingerprint.as_ref()
    }

    pub fn names(&self) -> Names<'_> {
        let Ok(evidence) = &self.judged else {
            return Names::default();
        };
        let facts = evidence.facts();
        Names {
            uris: all(&facts.uris),
            dns: all(&facts.dns),
            common_names: all(&facts.common_names),
        }
    }

    pub fn presented<'a>(&'a self, names: &'a Names<'a>) -> Presented<'a> {
        let evidence = match &self.judged {
            Ok(evidence) => evidence,
            Err(refusal) => return Presented::Refused(refusal.as_str()),
        };
        let facts = evidence.facts();
        let names = CertificateNames {
            fingerprint: facts.fingerprint,
            public_key: facts.public_key,
            validated_by: evidence.validated_by(),
            uris: &names.uris,
            dns: &names.dns,
            common_names: &names.common_names,
        };
        Presented::Sound(names, &facts.attributes)
    }
}

/// The names of a certificate as the policy takes them.
#[derive(Default)]
pub struct Names<'a> {
    uris: Vec<&'a str>,
    dns: Vec<&'a str>,
    common_names: Vec<&'a str>,
}

fn all(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn judge(chain: &[CertificateDer<'_>], in_force: &InForce, now: Utc) -> Result<Arc<Evidence>, CertificateRefusal> {
    let evidence = Arc::new(examine(&in_force.trust, chain, now)?);
    match resolve(&in_force.snapshot, evidence.clone()) {
        Ok(_) | Err(CertificateRefusal::Unknown | CertificateRefusal::Ambiguous) => Ok(evidence),
        Err(refusal) => Err(refusal),
    }
}

/// PEM, or one certificate in DER.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    match (chain.is_empty(), bytes.first()) {
        (false, _) => Ok(chain),
        // An ASN.1 SEQUENCE.
        (true, Some(0x30)) => Ok(vec![CertificateDer::from(bytes)]),
        (true, _) => Err(format!("{}: holds no certificate", path.display())),
    }
}
