//! Whose certificate it is.

use std::sync::Arc;

use postern_policy::id::IdentityId;
use postern_policy::identity::{CertificateNames, Unresolved};
use postern_policy::snapshot::Snapshot;
use rustls_pki_types::CertificateDer;

use super::cache::Cache;
use super::examine::Evidence;
use super::refusal::CertificateRefusal;
use super::trust::Trust;
use crate::time::Utc;

/// The presented certificate is bound to this identity and good now. Only [`judge`] and [`resolve`] make one.
#[derive(Debug, Clone)]
pub struct Judged {
    identity: IdentityId,
    evidence: Arc<Evidence>,
}

impl Judged {
    /// A number of the snapshot that was asked.
    pub fn identity(&self) -> IdentityId {
        self.identity
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.evidence.facts().fingerprint
    }

    /// The first moment at which the certificate itself is no longer valid.
    pub fn expires(&self) -> Utc {
        self.evidence.facts().expires
    }

    /// When to judge again at the latest; never after [`Self::expires`].
    pub fn recheck_at(&self) -> Utc {
        self.evidence.recheck_at()
    }

    /// What conditions of the policy may look at.
    pub fn attributes(&self) -> &postern_policy::attributes::Attributes {
        &self.evidence.facts().attributes
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

/// Judges a chain as presented, the leaf first: at login, at a resumed handshake and at every re-check. `known` is asked for
/// what was examined before. `trust` must be of this `snapshot`.
pub fn judge(
    snapshot: &Snapshot,
    trust: &Trust,
    known: &mut Cache,
    chain: &[CertificateDer<'_>],
    now: Utc,
) -> Result<Judged, CertificateRefusal> {
    resolve(snapshot, known.examine(trust, chain, now)?)
}

/// Asks the snapshot whose certificate this is, without looking at the chain again. `evidence` must be of a [`Trust`] with
/// the same [`Trust::content`] as that of `snapshot`, and not past its [`Evidence::recheck_at`].
pub fn resolve(snapshot: &Snapshot, evidence: Arc<Evidence>) -> Result<Judged, CertificateRefusal> {
    let facts = evidence.facts();
    let uris: Vec<&str> = facts.uris.iter().map(String::as_str).collect();
    let dns: Vec<&str> = facts.dns.iter().map(String::as_str).collect();
    let common_names: Vec<&str> = facts.common_names.iter().map(String::as_str).collect();
    let names = CertificateNames {
        fingerprint: facts.fingerprint,
        public_key: facts.public_key,
        validated_by: evidence.validated_by(),
        uris: &uris,
        dns: &dns,
        common_names: &common_names,
    };
    match snapshot.resolve_certificate(&names) {
        Ok(identity) => Ok(Judged { identity, evidence }),
        Err(Unresolved::Unknown) => Err(evidence.unvouched()),
        Err(Unresolved::Ambiguous) => Err(CertificateRefusal::Ambiguous),
    }
}
