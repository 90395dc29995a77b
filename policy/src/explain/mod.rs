//! Why a decision is what it is, rule by rule, for people: `postern explain`. It answers by the very functions that decide,
//! so it cannot disagree with the gate; only the words are its own. Not fast, and not on any connection's way.

mod display;
mod identity;
mod rules;
mod words;

use crate::attributes::Attributes;
use crate::authenticate::{Arrival, RuleMiss};
use crate::decide::{Permit, Refusal, Replication};
use crate::id::{GroupId, ProviderId};
use crate::identity::{CertificateNames, MatchedBy};
use crate::snapshot::Snapshot;
use crate::time::Utc;

/// A connection that somebody asks about.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'a> {
    pub arrival: Arrival<'a>,
    pub certificate: Presented<'a>,
    /// Whether the client knows the password of the start-up user's verifier.
    pub scram: bool,
    /// The client's token or the webhook's answer, as far as others have judged it.
    pub assertion: Asserted<'a>,
    pub replication: Replication,
    pub now: Utc,
}

/// What a token or a webhook says, as far as others have judged it.
#[derive(Debug, Clone, Copy)]
pub enum Asserted<'a> {
    None,
    Sound(Assertion<'a>),
    /// The reason by its stable name.
    Refused(&'a str),
}

/// What a provider says of its subject.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    pub provider: ProviderId,
    pub subject: &'a str,
    /// Groups of the policy, mapped.
    pub groups: &'a [GroupId],
    pub claims: &'a Attributes,
    pub token_age: Option<u32>,
    pub key_bound: bool,
}

/// The client's certificate, as far as others have judged it.
#[derive(Debug, Clone, Copy)]
pub enum Presented<'a> {
    None,
    /// Nothing is wrong with its chain, dates and revocation, as far as its keys need them.
    Sound(CertificateNames<'a>, &'a Attributes),
    /// The reason by its stable name.
    Refused(&'a str),
}

/// The answer and every step to it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Authentication rules up to the one that matched, or all of them.
    pub authentication: Vec<RuleStep>,
    pub identity: IdentityStep,
    /// Denies that name the identity, a group of it or everyone; none where there is no identity.
    pub denies: Vec<Step>,
    /// Grants likewise, in the order in which they win.
    pub grants: Vec<Step>,
    pub decision: Decision,
}

/// One authentication rule.
#[derive(Debug, Clone)]
pub struct RuleStep {
    pub rule: String,
    /// As the policy writes it.
    pub method: &'static str,
    /// The first part that does not match, or `None` for the rule that counts.
    pub miss: Option<(RuleMiss, Finding)>,
}

/// How the proofs led to an identity.
#[derive(Debug, Clone)]
pub struct IdentityStep {
    /// What of the certificate matched whom.
    pub matches: Vec<(MatchedBy, String)>,
    /// The identity, or why there is none.
    pub outcome: Result<String, Unidentified>,
}

/// Why the proofs lead to no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unidentified {
    NoRule,
    Rejected,
    CertificateMissing,
    CertificateRefused(String),
    CertificateUnknown,
    CertificateAmbiguous,
    /// The start-up user is no identity of the policy.
    UserUnknown,
    /// The identity has no SCRAM verifier.
    NoVerifier,
    /// The client does not know the password.
    ScramMissing,
    TokenMissing,
    /// The token, or the webhook's answer.
    AssertionRefused(String),
    /// The rule does not take what this provider says.
    ProviderNotTaken,
    SubjectUnknown,
    SubjectAmbiguous,
    /// The proofs are of two identities.
    Mismatch,
}

/// One grant or deny that concerns the identity.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: String,
    /// By what it concerns it: `identity`, `group apps`, `everyone`.
    pub by: String,
    /// Where a grant leads: role and cluster.
    pub to: Option<(String, String)>,
    /// The first condition that failed; `None` where all hold.
    pub miss: Option<Finding>,
}

/// A condition that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub condition: &'static str,
    pub wanted: String,
    pub got: String,
}

/// The end of it.
#[derive(Debug, Clone)]
pub enum Decision {
    /// `decide` was never reached.
    Unidentified(Unidentified),
    Permitted {
        permit: Permit,
        grant: String,
        role: String,
        cluster: String,
    },
    Refused {
        refusal: Refusal,
        deny: Option<String>,
    },
}

/// Walks the steps of the gate for `inquiry`.
pub fn explain(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Explanation {
    let authentication = rules::authentication(snapshot, &inquiry.arrival);
    let rule = snapshot.authentication_rule(&inquiry.arrival);
    let (identity, proven) = identity::identify(snapshot, inquiry, rule);
    let (denies, grants, decision) = match proven {
        Err(unidentified) => (Vec::new(), Vec::new(), Decision::Unidentified(unidentified)),
        Ok(facts) => (
            rules::denies(snapshot, &facts),
            rules::grants(snapshot, &facts),
            decision(snapshot, snapshot.decide(&facts)),
        ),
    };
    Explanation {
        authentication,
        identity,
        denies,
        grants,
        decision,
    }
}

fn decision(snapshot: &Snapshot, decision: Result<Permit, Refusal>) -> Decision {
    match decision {
        Ok(permit) => {
            let grant = snapshot.grant(permit.grant());
            let cluster = snapshot.cluster(permit.cluster());
            Decision::Permitted {
                permit,
                grant: grant.map(|grant| grant.name().to_owned()).unwrap_or_default(),
                role: grant.map(|grant| grant.role().to_owned()).unwrap_or_default(),
                cluster: cluster.map(|cluster| cluster.name().to_owned()).unwrap_or_default(),
            }
        }
        Err(refusal) => {
            let deny = match refusal {
                Refusal::DeniedByRule(id) => snapshot.deny_name(id).map(str::to_owned),
                Refusal::NoGrant
                | Refusal::NoSuchDatabaseGrant
                | Refusal::UserNotAllowed
                | Refusal::ReplicationNotGranted
                | Refusal::ProofMissing
                | Refusal::KeyBoundProofMissing
                | Refusal::ClaimsNotMet
                | Refusal::CertificateNotMet
                | Refusal::TokenTooOld
                | Refusal::TenantUnknown
                | Refusal::WrongNetwork
                | Refusal::Expired
                | Refusal::NotYetValid
                | Refusal::OutsideHours => None,
            };
            Decision::Refused { refusal, deny }
        }
    }
}

#[cfg(test)]
mod tests;
