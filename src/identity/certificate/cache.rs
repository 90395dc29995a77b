//! Chains that were examined, so that no signature of theirs need be checked again. Holds for one core, bounded in bytes.
//!
//! Kept is what an authority of the policy vouches for, until the first moment at which time alone can change that. It counts
//! for the roots and revocation lists that it was examined with; under others it is a miss. Whose certificate it is the
//! snapshot is asked at every use, and that the client has the key the handshake shows at every connection.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::CertificateDer;

use super::super::kept::Kept;
use super::{CertificateRefusal, Evidence, Trust, examine};
use crate::time::Utc;

pub struct Cache(Kept<Entry>);

struct Entry {
    /// [`Trust::content`] that it was examined with.
    trust: [u8; 32],
    examined_at: Utc,
    evidence: Arc<Evidence>,
}

impl Cache {
    /// Holds `most` bytes, about; a cache of zero bytes holds nothing.
    pub fn new(most: usize) -> Self {
        Self(Kept::new(most))
    }

    /// As [`examine`], which is asked where nothing is kept.
    pub fn examine(
        &mut self,
        trust: &Trust,
        chain: &[CertificateDer<'_>],
        now: Utc,
    ) -> Result<Arc<Evidence>, CertificateRefusal> {
        let hash = hash(chain);
        // A clock that was set back knows less than the one that the chain was examined by.
        let current = |entry: &Entry| {
            entry.trust == *trust.content() && (entry.examined_at..entry.evidence.recheck_at()).contains(&now)
        };
        if let Some(entry) = self.0.get(&hash, current) {
            return Ok(Arc::clone(&entry.evidence));
        }
        let evidence = Arc::new(examine(trust, chain, now)?);
        // Certificates that nobody vouches for a stranger makes by the thousand.
        if !evidence.validated_by().is_empty() {
            let weight = size_of::<Entry>() + evidence.weight();
            let entry = Entry {
                trust: *trust.content(),
                examined_at: now,
                evidence: Arc::clone(&evidence),
            };
            self.0.put(hash, entry, weight);
        }
        Ok(evidence)
    }
}

/// Of the chain as presented: other intermediates, or the same in another order, are another chain.
fn hash(chain: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for der in chain {
        context.update(&(der.len() as u64).to_be_bytes());
        context.update(der);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
