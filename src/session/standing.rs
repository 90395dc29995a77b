//! What a session stands on: the compact facts by which its permission is judged again, and its names for the record.
//!
//! Never a reference into a snapshot: the one that permitted the session may be long gone.

use std::sync::Arc;

use postern_policy::attributes::NONE;
use postern_policy::authenticate::Source;
use postern_policy::decide::{Facts, Permit, Proofs, Replication};
use postern_policy::model::OnExpiry;
use postern_policy::template::render;
use rustls_pki_types::CertificateDer;

use crate::audit::{End, EndReason, Reason, SessionId};
use crate::identity::certificate::{self, CertificateRefusal};
use crate::in_force::InForce;
use crate::time::{Mono, Utc};

use super::assertion::{Assertion, Meaning};
use super::terms::Terms;

/// Kept for as long as a session lives, so small: names are shared, evidence is there only where there is some.
pub struct Standing {
    pub session: SessionId,
    pub terms: Arc<Terms>,
    pub source: Source,
    pub proofs: Proofs,
    pub replication: Replication,
    /// `None` where SCRAM alone was the proof.
    pub evidence: Option<Box<Evidence>>,
    /// The snapshot that the permission was last found in.
    pub generation: u64,
    /// When time alone may change the answer: a window, weekly hours, the age of a revocation list.
    pub recheck_at: Option<Utc>,
}

/// What can be judged again.
pub struct Evidence {
    /// The client's certificates, leaf first; empty where none was a proof.
    pub chain: Vec<CertificateDer<'static>>,
    pub assertion: Option<Assertion>,
    /// The end of the certificate or the token, whichever comes first. Of the token not its bare `exp`: what lets in for a
    /// while behind that must not end at once.
    pub ends: Option<Utc>,
    /// The end of the client's certificate.
    pub certificate_ends: Option<Utc>,
    /// What of the proof's end has been carried out.
    pub told: Told,
}

/// How far the end of a proof has been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Told {
    #[default]
    Nothing,
    Notice,
    End,
}

/// What the end of its proof means for a session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Tell the client that the proof ends at this moment.
    Notice(Utc),
    RefuseNew,
    FinishTransaction,
}

impl Standing {
    /// Judges everything again on the policy in force now: the certificate, the token, the identity, the grant.
    ///
    /// A session keeps its server connection and what was set there at its start, so a policy that would now lead it to another
    /// role, cluster, database, access or setting takes the permission that it stands on away.
    pub fn recheck(&mut self, in_force: &InForce, known: &mut certificate::Cache, utc: Utc) -> Result<(), EndReason> {
        let swapped = self.generation != in_force.snapshot.generation();
        let gone = if swapped {
            EndReason::PolicyChanged
        } else {
            EndReason::WindowEnded
        };
        let judged = self.judge(in_force, known, utc, gone)?;
        let snapshot = &in_force.snapshot;
        let permit = judged.permit;
        let (Some(grant), Some(cluster)) = (snapshot.grant(permit.grant()), snapshot.cluster(permit.cluster())) else {
            return Err(gone);
        };
        let elsewhere = !self.terms.same_effect(&grant)
            || *cluster.name() != *self.terms.cluster
            || *judged.server_database != *self.terms.server_database;
        if elsewhere {
            return Err(gone);
        }
        let terms = Terms {
            grant: grant.name().into(),
            limits: permit.limits(),
            on_expiry: grant.on_expiry(),
            expiry_notice: grant.expiry_notice(),
            ..Terms::clone(&self.terms)
        };
        let expired = judged.ends.is_some_and(|at| at <= utc);
        if terms.on_expiry == OnExpiry::Terminate && expired {
            return Err(EndReason::ProofExpired);
        }
        let before = self.end_and_meaning();
        if terms != *self.terms {
            self.terms = Arc::new(terms);
        }
        if let Some(evidence) = &mut self.evidence {
            evidence.ends = judged.ends;
        }
        if before != self.end_and_meaning()
            && let Some(evidence) = &mut self.evidence
        {
            evidence.told = Told::Nothing;
        }
        self.generation = snapshot.generation();
        self.recheck_at = judged.recheck_at;
        Ok(())
    }

    fn judge(
        &self,
        in_force: &InForce,
        known: &mut certificate::Cache,
        utc: Utc,
        gone: EndReason,
    ) -> Result<Judged, EndReason> {
        let snapshot = &in_force.snapshot;
        let mut recheck_at = None;
        let certificate = match self.chain() {
            [] => None,
            chain => {
                let at = self.before_certificate_ends(utc);
                let judged =
                    certificate::judge(snapshot, &in_force.trust, known, chain, at).map_err(certificate_gone)?;
                recheck_at = Some(judged.recheck_at());
                Some(judged)
            }
        };
        let meaning = match self.assertion() {
            None => None,
            Some(assertion) => Some(assertion.judge(in_force).map_err(assertion_gone)?),
        };
        let identity = match (&certificate, &meaning) {
            (Some(one), Some(other)) if one.identity() != other.identity => return Err(EndReason::PolicyChanged),
            (Some(judged), _) => judged.identity(),
            (None, Some(meaning)) => meaning.identity,
            (None, None) => snapshot
                .identity_by_name(&self.terms.identity)
                .ok_or(EndReason::PolicyChanged)?,
        };
        let subject = meaning.as_ref().map(|meaning| &*meaning.subject);
        if snapshot.identity_name_for(identity, subject) != *self.terms.identity {
            return Err(EndReason::PolicyChanged);
        }
        let facts = Facts {
            identity,
            proofs: self.proofs,
            subject,
            groups: groups(&meaning),
            claims: self.assertion().map_or(&NONE, Assertion::claims),
            certificate: certificate.as_ref().map_or(&NONE, |judged| judged.attributes()),
            token_age: meaning.as_ref().and_then(|meaning| meaning.token_age),
            user: &self.terms.user,
            database: &self.terms.database,
            source: self.source,
            replication: self.replication,
            now: utc,
        };
        let permit = snapshot.decide(&facts).map_err(|_| gone)?;
        let template = snapshot
            .grant(permit.grant())
            .and_then(|grant| grant.connect_database());
        let server_database = match template {
            Some(template) => render(template, &facts).map_err(|_| gone)?,
            None => self.terms.database.to_string(),
        };
        let certificate_end = certificate.as_ref().map(certificate::Judged::expires);
        Ok(Judged {
            ends: earliest(certificate_end, meaning.as_ref().and_then(|meaning| meaning.ends)),
            // What has passed comes no more, and hides nothing that is still to come.
            recheck_at: earliest(
                recheck_at.filter(|at| *at > utc),
                permit.recheck_at().filter(|at| *at > utc),
            ),
            permit,
            server_database,
        })
    }

    /// What the certificate's own end means is the grant's choice; everything else about it, a revocation list that grows too
    /// old say, is judged as before it.
    fn before_certificate_ends(&self, utc: Utc) -> Utc {
        let ends = self.evidence.as_ref().and_then(|evidence| evidence.certificate_ends);
        ends.map_or(utc, |end| utc.min(Utc(end.0.saturating_sub(1))))
    }

    /// Puts the session's names into its end record.
    pub fn name(&self, end: &mut End) {
        end.identity = Some(self.terms.identity.clone());
        end.grant = Some(self.terms.grant.clone());
        end.role = Some(self.terms.role.clone());
        end.cluster = Some(self.terms.cluster.clone());
    }

    /// What the end of the proof means at this moment. Each step is told once.
    pub fn expiry(&mut self, utc: Utc) -> Option<Expiry> {
        let (on_expiry, notice) = (self.terms.on_expiry, self.notice_at());
        let evidence = self.evidence.as_mut()?;
        let ends = evidence.ends?;
        let step = match on_expiry {
            OnExpiry::Ignore | OnExpiry::Terminate => None,
            OnExpiry::RefuseNew => Some(Expiry::RefuseNew),
            OnExpiry::FinishTransaction => Some(Expiry::FinishTransaction),
        };
        if let Some(step) = step
            && ends <= utc
            && evidence.told < Told::End
        {
            evidence.told = Told::End;
            return Some(step);
        }
        let early = notice.is_some_and(|at| at <= utc) && utc < ends;
        if early && evidence.told < Told::Notice {
            evidence.told = Told::Notice;
            return Some(Expiry::Notice(ends));
        }
        None
    }

    /// When the session must be looked at again, on the monotonic clock.
    pub fn recheck_due(&self, now: Mono, utc: Utc) -> Option<Mono> {
        let at = earliest(self.recheck_at, self.expiry_due())?;
        let micros = u64::try_from(at.0.saturating_sub(utc.0)).unwrap_or(0);
        Some(Mono(now.0.saturating_add(micros.saturating_mul(1_000))))
    }

    fn expiry_due(&self) -> Option<Utc> {
        let told = self.evidence.as_ref()?.told;
        let end = self
            .proof_ends()
            .filter(|_| self.terms.on_expiry != OnExpiry::Ignore && told < Told::End);
        earliest(end, self.notice_at().filter(|_| told < Told::Notice))
    }

    fn notice_at(&self) -> Option<Utc> {
        let ahead = self
            .terms
            .expiry_notice
            .filter(|_| self.terms.on_expiry != OnExpiry::Ignore)?;
        Some(Utc(self.proof_ends()?.0.saturating_sub(i64::from(ahead) * 1_000_000)))
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        self.evidence
            .as_ref()
            .map(|evidence| &*evidence.chain)
            .unwrap_or_default()
    }

    fn assertion(&self) -> Option<&Assertion> {
        self.evidence.as_ref()?.assertion.as_ref()
    }

    /// When the proof ends and what that means: with another of them, what was begun for the end of before counts no more.
    pub fn end_and_meaning(&self) -> (Option<Utc>, OnExpiry, Option<u32>) {
        (self.proof_ends(), self.terms.on_expiry, self.terms.expiry_notice)
    }

    /// The end of the certificate or the token, whichever comes first.
    pub fn proof_ends(&self) -> Option<Utc> {
        self.evidence.as_ref()?.ends
    }
}

struct Judged {
    permit: Permit,
    /// As the policy has it now: the difference of the clocks may have changed.
    ends: Option<Utc>,
    recheck_at: Option<Utc>,
    server_database: String,
}

fn groups(meaning: &Option<Meaning>) -> &[postern_policy::id::GroupId] {
    meaning.as_ref().map(|meaning| &*meaning.groups).unwrap_or_default()
}

fn certificate_gone(refusal: CertificateRefusal) -> EndReason {
    match refusal {
        CertificateRefusal::Expired | CertificateRefusal::CrlStale => EndReason::ProofExpired,
        _ => EndReason::PolicyChanged,
    }
}

/// Only another policy can make of a token that was good at login one that was not.
fn assertion_gone(_reason: Reason) -> EndReason {
    EndReason::PolicyChanged
}

/// The earlier of two moments, where there are any.
pub(super) fn earliest(one: Option<Utc>, other: Option<Utc>) -> Option<Utc> {
    [one, other].into_iter().flatten().min()
}
