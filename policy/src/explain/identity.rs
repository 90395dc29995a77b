//! From the rule and the proofs to the identity, in the order of the gate.

use super::{IdentityStep, Inquiry, Presented, Unidentified};
use crate::authenticate::AuthenticationRuleView;
use crate::decide::{Facts, Proofs};
use crate::id::IdentityId;
use crate::identity::{CertificateNames, MatchedBy, Unresolved};
use crate::model::Method;
use crate::snapshot::Snapshot;

/// What to show, and what to decide on.
pub(super) fn identify<'a>(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'a>,
    rule: Option<AuthenticationRuleView<'_>>,
) -> (IdentityStep, Result<Facts<'a>, Unidentified>) {
    let proven = rule
        .ok_or(Unidentified::NoRule)
        .and_then(|rule| prove(snapshot, inquiry, rule.method));
    let outcome = proven
        .clone()
        .map(|(identity, _)| snapshot.identity_name(identity).to_owned());
    let step = IdentityStep {
        matches: matches(snapshot, inquiry),
        outcome,
    };
    (step, proven.map(|(identity, proofs)| facts(inquiry, identity, proofs)))
}

fn prove(snapshot: &Snapshot, inquiry: &Inquiry<'_>, method: Method) -> Result<(IdentityId, Proofs), Unidentified> {
    match method {
        Method::Reject => Err(Unidentified::Rejected),
        Method::Certificate => Ok((
            by_certificate(snapshot, inquiry)?,
            Proofs {
                certificate: true,
                scram: false,
            },
        )),
        Method::ScramSha256 => Ok((
            by_scram(snapshot, inquiry)?,
            Proofs {
                certificate: false,
                scram: true,
            },
        )),
        Method::CertificateAndScram => {
            let (holder, user) = (by_certificate(snapshot, inquiry)?, by_scram(snapshot, inquiry)?);
            if holder != user {
                return Err(Unidentified::Mismatch);
            }
            Ok((
                holder,
                Proofs {
                    certificate: true,
                    scram: true,
                },
            ))
        }
    }
}

fn by_certificate(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Result<IdentityId, Unidentified> {
    match inquiry.certificate {
        Presented::None => Err(Unidentified::CertificateMissing),
        Presented::Refused(reason) => Err(Unidentified::CertificateRefused(reason.to_owned())),
        Presented::Sound(names) => snapshot
            .resolve_certificate(&names)
            .map_err(|unresolved| match unresolved {
                Unresolved::Unknown => Unidentified::CertificateUnknown,
                Unresolved::Ambiguous => Unidentified::CertificateAmbiguous,
            }),
    }
}

fn by_scram(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Result<IdentityId, Unidentified> {
    let identity = snapshot
        .identity_by_name(inquiry.arrival.user)
        .ok_or(Unidentified::UserUnknown)?;
    snapshot.scram_verifier(identity).ok_or(Unidentified::NoVerifier)?;
    if inquiry.scram {
        Ok(identity)
    } else {
        Err(Unidentified::ScramMissing)
    }
}

fn matches(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Vec<(MatchedBy, String)> {
    match inquiry.certificate {
        Presented::None | Presented::Refused(_) => Vec::new(),
        Presented::Sound(names) => certificate_matches(snapshot, &names),
    }
}

fn certificate_matches(snapshot: &Snapshot, names: &CertificateNames<'_>) -> Vec<(MatchedBy, String)> {
    let mut found = Vec::new();
    snapshot.each_match(names, |by, identity| {
        found.push((by, snapshot.identity_name(identity).to_owned()))
    });
    found.sort();
    found.dedup();
    found
}

fn facts<'a>(inquiry: &Inquiry<'a>, identity: IdentityId, proofs: Proofs) -> Facts<'a> {
    Facts {
        identity,
        proofs,
        user: inquiry.arrival.user,
        database: inquiry.arrival.database,
        source: inquiry.arrival.source,
        replication: inquiry.replication,
        now: inquiry.now,
    }
}
