//! From the rule and the proofs to the identity, in the order of the gate.

use super::{Asserted, Assertion, IdentityStep, Inquiry, Presented, Unidentified};
use crate::attributes::NONE;
use crate::authenticate::AuthenticationRuleView;
use crate::decide::{Facts, Proofs};
use crate::id::IdentityId;
use crate::identity::{CertificateNames, MatchedBy, Unresolved};
use crate::model::{Asked, Method};
use crate::snapshot::Snapshot;

/// What to show, and what to decide on.
pub(super) fn identify<'a>(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'a>,
    rule: Option<AuthenticationRuleView<'_>>,
) -> (IdentityStep, Result<Facts<'a>, Unidentified>) {
    let proven = rule
        .ok_or(Unidentified::NoRule)
        .and_then(|rule| prove(snapshot, inquiry, &rule));
    let outcome = proven
        .clone()
        .map(|proven| snapshot.identity_name_for(proven.identity, proven.assertion.map(|assertion| assertion.subject)));
    let step = IdentityStep {
        matches: matches(snapshot, inquiry),
        outcome,
    };
    (step, proven.map(|proven| facts(inquiry, &proven)))
}

/// What the rule's method has established.
#[derive(Clone)]
struct Proven<'a> {
    identity: IdentityId,
    proofs: Proofs,
    assertion: Option<Assertion<'a>>,
}

fn prove<'a>(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'a>,
    rule: &AuthenticationRuleView<'_>,
) -> Result<Proven<'a>, Unidentified> {
    if rule.method == Method::Reject {
        return Err(Unidentified::Rejected);
    }
    let holder = match rule.method.uses_certificates() {
        true => Some(by_certificate(snapshot, inquiry)?),
        false => None,
    };
    let mut proofs = Proofs {
        certificate: holder.is_some(),
        ..Proofs::default()
    };
    let mut assertion = None;
    let other = match rule.method.asks() {
        Asked::Nothing => None,
        Asked::Scram => {
            proofs.scram = true;
            Some(by_scram(snapshot, inquiry)?)
        }
        Asked::TokenAsPassword | Asked::OauthBearer | Asked::PasswordForWebhook => {
            let (identity, sound) = by_assertion(snapshot, inquiry, rule)?;
            proofs.webhook = rule.method.uses_webhook();
            proofs.token = !proofs.webhook;
            proofs.token_bound = sound.key_bound;
            assertion = Some(sound);
            Some(identity)
        }
    };
    let identity = match (holder, other) {
        (Some(one), Some(other)) if one != other => return Err(Unidentified::Mismatch),
        (Some(identity), _) | (None, Some(identity)) => identity,
        (None, None) => return Err(Unidentified::Rejected),
    };
    Ok(Proven {
        identity,
        proofs,
        assertion,
    })
}

fn by_assertion<'a>(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'a>,
    rule: &AuthenticationRuleView<'_>,
) -> Result<(IdentityId, Assertion<'a>), Unidentified> {
    let assertion = match inquiry.assertion {
        Asserted::None => return Err(Unidentified::TokenMissing),
        Asserted::Refused(reason) => return Err(Unidentified::AssertionRefused(reason.to_owned())),
        Asserted::Sound(assertion) => assertion,
    };
    if !rule.takes(assertion.provider) {
        return Err(Unidentified::ProviderNotTaken);
    }
    let resolved = snapshot.resolve_subject(assertion.provider, assertion.subject);
    let identity = resolved.map_err(|unresolved| match unresolved {
        Unresolved::Unknown => Unidentified::SubjectUnknown,
        Unresolved::Ambiguous => Unidentified::SubjectAmbiguous,
    })?;
    Ok((identity, assertion))
}

fn by_certificate(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Result<IdentityId, Unidentified> {
    match inquiry.certificate {
        Presented::None => Err(Unidentified::CertificateMissing),
        Presented::Refused(reason) => Err(Unidentified::CertificateRefused(reason.to_owned())),
        Presented::Sound(names, _) => snapshot
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
        Presented::Sound(names, _) => certificate_matches(snapshot, &names),
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

fn facts<'a>(inquiry: &Inquiry<'a>, proven: &Proven<'a>) -> Facts<'a> {
    let assertion = proven.assertion;
    Facts {
        identity: proven.identity,
        proofs: proven.proofs,
        subject: assertion.map(|assertion| assertion.subject),
        groups: assertion.map(|assertion| assertion.groups).unwrap_or_default(),
        claims: assertion.map_or(&NONE, |assertion| assertion.claims),
        certificate: match inquiry.certificate {
            Presented::Sound(_, attributes) if proven.proofs.certificate => attributes,
            Presented::Sound(..) | Presented::None | Presented::Refused(_) => &NONE,
        },
        token_age: assertion.and_then(|assertion| assertion.token_age),
        user: inquiry.arrival.user,
        database: inquiry.arrival.database,
        source: inquiry.arrival.source,
        replication: inquiry.replication,
        now: inquiry.now,
    }
}
