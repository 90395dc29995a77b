//! What a session stands on: the compact facts by which its permission is judged again, and its names for the record.
//!
//! Never a reference into a snapshot: the one that permitted the session may be long gone.

use std::sync::Arc;

use postern_policy::authenticate::Source;
use postern_policy::decide::{Facts, Permit, Proofs, Replication};
use rustls_pki_types::CertificateDer;

use crate::audit::{End, EndReason, SessionId};
use crate::identity::certificate::{self, CertificateRefusal};
use crate::in_force::InForce;
use crate::time::{Mono, Utc};

use super::terms::Terms;

/// Kept for as long as a session lives, so small: names are shared, the chain is there only where it was the proof.
pub struct Standing {
    pub session: SessionId,
    pub terms: Arc<Terms>,
    pub source: Source,
    pub proofs: Proofs,
    pub replication: Replication,
    /// The client's certificates, leaf first, where one was the proof.
    pub chain: Option<Box<Vec<CertificateDer<'static>>>>,
    /// The snapshot that the permission was last found in.
    pub generation: u64,
    /// When time alone may change the answer: a window, weekly hours, a certificate's end.
    pub recheck_at: Option<Utc>,
}

impl Standing {
    /// Judges everything again on the policy in force now: the certificate, the identity, the grant.
    ///
    /// A session keeps its server connection, so a policy that would now lead it to another role or cluster takes the
    /// permission that it stands on away.
    pub fn recheck(&mut self, in_force: &InForce, utc: Utc) -> Result<(), EndReason> {
        let swapped = self.generation != in_force.snapshot.generation();
        let gone = if swapped {
            EndReason::PolicyChanged
        } else {
            EndReason::WindowEnded
        };
        let permit = self.judge(in_force, utc, gone)?;
        let snapshot = &in_force.snapshot;
        let (Some(grant), Some(cluster)) = (snapshot.grant(permit.grant()), snapshot.cluster(permit.cluster())) else {
            return Err(gone);
        };
        if *grant.role() != *self.terms.role || *cluster.name() != *self.terms.cluster {
            return Err(gone);
        }
        if *grant.name() != *self.terms.grant || permit.limits() != self.terms.limits {
            let terms = Terms {
                grant: grant.name().into(),
                limits: permit.limits(),
                ..Terms::clone(&self.terms)
            };
            self.terms = Arc::new(terms);
        }
        self.generation = in_force.snapshot.generation();
        Ok(())
    }

    fn judge(&mut self, in_force: &InForce, utc: Utc, gone: EndReason) -> Result<Permit, EndReason> {
        let snapshot = &in_force.snapshot;
        let identity = snapshot
            .identity_by_name(&self.terms.identity)
            .ok_or(EndReason::PolicyChanged)?;
        let mut recheck_at = None;
        if let Some(chain) = &self.chain {
            let judged =
                certificate::judge(snapshot, &in_force.trust, chain.as_slice(), utc).map_err(
                    |refusal| match refusal {
                        CertificateRefusal::Expired | CertificateRefusal::CrlStale => EndReason::ProofExpired,
                        _ => EndReason::PolicyChanged,
                    },
                )?;
            if judged.identity() != identity {
                return Err(EndReason::PolicyChanged);
            }
            recheck_at = Some(judged.recheck_at());
        }
        let facts = Facts {
            identity,
            proofs: self.proofs,
            user: &self.terms.user,
            database: &self.terms.database,
            source: self.source,
            replication: self.replication,
            now: utc,
        };
        let permit = snapshot.decide(&facts).map_err(|_| gone)?;
        self.recheck_at = earliest(recheck_at, permit.recheck_at());
        Ok(permit)
    }

    /// Puts the session's names into its end record.
    pub fn name(&self, end: &mut End) {
        end.identity = Some(self.terms.identity.clone());
        end.grant = Some(self.terms.grant.clone());
        end.role = Some(self.terms.role.clone());
        end.cluster = Some(self.terms.cluster.clone());
    }

    /// [`Self::recheck_at`] on the monotonic clock.
    pub fn recheck_due(&self, now: Mono, utc: Utc) -> Option<Mono> {
        let at = self.recheck_at?;
        let micros = u64::try_from(at.0.saturating_sub(utc.0)).unwrap_or(0);
        Some(Mono(now.0.saturating_add(micros.saturating_mul(1_000))))
    }
}

/// The earlier of two moments, where there are any.
pub(super) fn earliest(one: Option<Utc>, other: Option<Utc>) -> Option<Utc> {
    [one, other].into_iter().flatten().min()
}
