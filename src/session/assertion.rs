//! What a provider says of who is calling, by a token or by a webhook's answer: kept by the session that was let in by it,
//! and judged by the same function at login and at every re-check.

use std::sync::Arc;

use postern_policy::attributes::Attributes;
use postern_policy::id::{GroupId, IdentityId, ProviderId};
use postern_policy::identity::Unresolved;
use postern_policy::snapshot::Snapshot;

use crate::audit::{self, Name, Reason};
use crate::identity::token::{OneTime, TokenRefusal, Verified};
use crate::identity::webhook::Asserted;
use crate::in_force::InForce;
use crate::time::Utc;

/// A provider's word, and when and on which connection it was given.
#[derive(Clone)]
pub enum Assertion {
    Token {
        provider: Name,
        verified: Arc<Verified>,
        /// SHA-256 of the certificate that the client showed.
        certificate: Option<[u8; 32]>,
        /// When it was shown: what the token says of time is judged at this moment. Its end is [`Standing`]'s concern.
        ///
        /// [`Standing`]: super::Standing
        shown: Utc,
    },
    Webhook {
        provider: Name,
        answer: Arc<Asserted>,
    },
}

/// What it comes to under one policy.
pub struct Meaning {
    pub identity: IdentityId,
    pub subject: Box<str>,
    /// Groups of the policy.
    pub groups: Vec<GroupId>,
    pub key_bound: bool,
    /// Seconds from the token's `iat` to when it was shown.
    pub token_age: Option<u32>,
    /// The end of the token, with the difference of the clocks that its provider is granted.
    pub ends: Option<Utc>,
    /// To be spent at the permit.
    pub once: Option<OneTime>,
}

impl Assertion {
    /// Who it is about under this policy, or why nobody.
    pub fn judge(&self, in_force: &InForce) -> Result<Meaning, Reason> {
        match self {
            Self::Token {
                provider,
                verified,
                certificate,
                shown,
            } => judge_token(in_force, provider, verified, certificate.as_ref(), *shown),
            Self::Webhook { provider, answer } => judge_answer(in_force, provider, answer),
        }
    }

    pub fn claims(&self) -> &Attributes {
        match self {
            Self::Token { verified, .. } => verified.claims(),
            Self::Webhook { answer, .. } => &answer.attributes,
        }
    }

    pub fn provider(&self) -> &Name {
        match self {
            Self::Token { provider, .. } | Self::Webhook { provider, .. } => provider,
        }
    }

    pub fn is_token(&self) -> bool {
        matches!(self, Self::Token { .. })
    }

    /// For the record.
    pub fn record(&self, in_force: &InForce) -> audit::Assertion {
        match self {
            Self::Token { provider, verified, .. } => {
                let known = in_force.issuers.named(provider);
                let subject = known.and_then(|known| verified.claims().only(&known.rules.subject_claim));
                let revocation = known.zip(subject).and_then(|(known, subject)| {
                    in_force.snapshot.revoked(&verified.revocable(known.provider, subject))
                });
                audit::Assertion {
                    subject: subject.map(Into::into),
                    token_id: verified.token_id().map(Into::into),
                    key_id: verified.key_id().map(Into::into),
                    expires: Some(verified.expires()),
                    revocation: revocation.map(Name::from),
                    ..audit::Assertion::by(provider.clone())
                }
            }
            Self::Webhook { provider, answer } => audit::Assertion {
                subject: Some((&*answer.subject).into()),
                ..audit::Assertion::by(provider.clone())
            },
        }
    }
}

/// The record's name for what is wrong with a token.
pub fn reason_name(refusal: TokenRefusal) -> &'static str {
    match refusal {
        TokenRefusal::Unresolved => Reason::SubjectUnknown.as_str(),
        TokenRefusal::ProviderUnavailable => Reason::ProviderUnavailable.as_str(),
        other => other.as_str(),
    }
}

pub(super) fn token_reason(refusal: TokenRefusal) -> Reason {
    Reason::from_name(reason_name(refusal)).unwrap_or(Reason::TokenMalformed)
}

fn judge_token(
    in_force: &InForce,
    provider: &str,
    verified: &Verified,
    certificate: Option<&[u8; 32]>,
    shown: Utc,
) -> Result<Meaning, Reason> {
    let known = in_force.issuers.named(provider).ok_or(Reason::TokenIssuerUnknown)?;
    let said = verified.judge(&known.rules, shown, certificate).map_err(token_reason)?;
    let snapshot = &in_force.snapshot;
    if snapshot
        .revoked(&verified.revocable(known.provider, &said.subject))
        .is_some()
    {
        return Err(Reason::TokenRevoked);
    }
    Ok(Meaning {
        identity: resolve(snapshot, known.provider, &said.subject)?,
        groups: mapped(snapshot, known.provider, verified.groups(&known.rules)),
        subject: said.subject,
        key_bound: said.key_bound,
        token_age: verified.issued_at().map(|issued| seconds_between(issued, shown)),
        ends: Some(said.ends),
        once: said.once,
    })
}

fn judge_answer(in_force: &InForce, provider: &str, answer: &Asserted) -> Result<Meaning, Reason> {
    let snapshot = &in_force.snapshot;
    // A provider of another kind that bears the name now has not said it.
    let known = in_force.webhooks.named(provider).ok_or(Reason::ProviderUnavailable)?;
    let provider = known.provider;
    Ok(Meaning {
        identity: resolve(snapshot, provider, &answer.subject)?,
        groups: mapped(snapshot, provider, answer.groups.iter().map(|group| &**group)),
        subject: answer.subject.clone(),
        key_bound: false,
        token_age: None,
        ends: None,
        once: None,
    })
}

fn resolve(snapshot: &Snapshot, provider: ProviderId, subject: &str) -> Result<IdentityId, Reason> {
    snapshot
        .resolve_subject(provider, subject)
        .map_err(|unresolved| match unresolved {
            Unresolved::Unknown => Reason::SubjectUnknown,
            Unresolved::Ambiguous => Reason::SubjectAmbiguous,
        })
}

fn mapped<'a>(snapshot: &Snapshot, provider: ProviderId, external: impl Iterator<Item = &'a str>) -> Vec<GroupId> {
    let mut groups: Vec<GroupId> = external
        .flat_map(|group| snapshot.mapped_groups(provider, group))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn seconds_between(from: Utc, to: Utc) -> u32 {
    u32::try_from(to.0.saturating_sub(from.0).max(0) / 1_000_000).unwrap_or(u32::MAX)
}
