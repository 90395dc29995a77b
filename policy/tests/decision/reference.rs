//! The rules as they read, over lists and without an index. Slow, and obviously right.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use postern_policy::attributes::Attributes;
use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide::Replication;
use postern_policy::identity::Unresolved;
use postern_policy::model::{
    AuthenticationRule, ClaimTest, Conditions, Grant, IdentityKey, Model, NamePattern, Provider, ReplicationRight,
    Subjects, Transport, WeeklyHours,
};
use postern_policy::time::Utc;

use crate::random::{Certificate, Question};

/// The name of the grant, or the reason in words.
pub fn decide(model: &Model, question: &Question) -> Result<String, String> {
    for (name, deny) in &model.denies {
        let concerned = deny.databases.is_empty() || deny.databases.iter().any(|p| matches(p, &question.database));
        if tier(model, &deny.subjects, question).is_some() && concerned && condition(&deny.conditions, question).is_ok()
        {
            return Err(format!("denied by {name}"));
        }
    }
    let mine = || {
        model
            .grants
            .iter()
            .filter_map(|(name, grant)| Some((tier(model, &grant.subjects, question)?, name, grant)))
    };
    let mut best: Option<(Rank, &String)> = None;
    let mut furthest = if mine().next().is_some() { 1 } else { 0 };
    for (tier, name, grant) in mine() {
        let Some(database) = grant
            .databases
            .iter()
            .filter(|p| matches(p, &question.database))
            .map(rank)
            .min()
        else {
            continue;
        };
        match first_failure(model, grant, question) {
            // Names come in order, so the first of a rank stays.
            Ok(()) if best.is_none_or(|(rank, _)| (tier, database) < rank) => best = Some(((tier, database), name)),
            Ok(()) => {}
            Err(step) => furthest = furthest.max(step),
        }
    }
    match best {
        Some((_, name)) => Ok(name.clone()),
        None => Err(STEPS[furthest].to_owned()),
    }
}

/// Smaller wins: the tier of the subjects, then the kind of pattern and how much it leaves open.
type Rank = (u8, (u8, usize));

/// In the order in which a grant is tried.
const STEPS: [&str; 14] = [
    "no_grant",
    "no_such_database_grant",
    "user_not_allowed",
    "replication_not_granted",
    "proof_missing",
    "key_bound_proof_missing",
    "claims_not_met",
    "certificate_not_met",
    "token_too_old_for_grant",
    "tenant_unknown",
    "wrong_network",
    "expired",
    "not_yet_valid",
    "outside_hours",
];

fn first_failure(model: &Model, grant: &Grant, question: &Question) -> Result<(), usize> {
    let identity = &model.identities[&question.identity];
    let itself = question.user == question.identity;
    let alias = !question.proofs.scram && identity.aliases.contains(&question.user);
    let role = !question.proofs.scram && question.user == grant.role;
    if !(itself || alias || role) {
        return Err(2);
    }
    let replication = match question.replication {
        Replication::No => true,
        Replication::Database => grant.replication != ReplicationRight::No,
        Replication::Physical => grant.replication == ReplicationRight::Physical,
    };
    if !replication {
        return Err(3);
    }
    let given = question.proofs;
    let wanted = [
        (grant.proofs.certificate, given.certificate),
        (grant.proofs.scram, given.scram),
        (grant.proofs.token, given.token),
        (grant.proofs.webhook, given.webhook),
    ];
    if wanted.iter().all(|(_, given)| !given) || wanted.iter().any(|(wanted, given)| *wanted && !given) {
        return Err(4);
    }
    if grant.proofs.key_bound && !(given.certificate || given.token && given.token_bound) {
        return Err(5);
    }
    condition(&grant.conditions, question)
}

fn condition(conditions: &Conditions, question: &Question) -> Result<(), usize> {
    if !conditions
        .claims
        .iter()
        .all(|(name, test)| holds(test, name, &question.claims))
    {
        return Err(6);
    }
    if !conditions
        .certificate
        .iter()
        .all(|(name, test)| holds(test, name, &question.certificate))
    {
        return Err(7);
    }
    if let Some(most) = conditions.token_max_age
        && question.token_age.is_none_or(|age| age > most)
    {
        return Err(8);
    }
    let anywhere = conditions.networks.is_empty() && !conditions.unix;
    let here = match question.source {
        Source::Unix => conditions.unix,
        Source::Ip(address) => inside(&conditions.networks, address),
    };
    if !(anywhere || here) {
        return Err(10);
    }
    if conditions.not_after.is_some_and(|end| question.now >= end) {
        return Err(11);
    }
    if conditions.not_before.is_some_and(|start| question.now < start) {
        return Err(12);
    }
    if conditions.hours.is_empty() || conditions.hours.iter().any(|hours| open(hours, question.now)) {
        Ok(())
    } else {
        Err(13)
    }
}

pub fn holds(test: &ClaimTest, name: &str, attributes: &Attributes) -> bool {
    let values: Vec<&str> = attributes
        .iter()
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect();
    match test {
        ClaimTest::Is(pattern) => values.len() == 1 && glob(&pattern.0, values[0]),
        ClaimTest::HasOneOf(patterns) => values.iter().any(|value| patterns.iter().any(|p| glob(&p.0, value))),
    }
}

/// With every way to cut the text at a star.
fn glob(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => (0..=text.len()).any(|cut| text.is_char_boundary(cut) && glob(rest, &text[cut..])),
        _ => text.strip_prefix(first).is_some_and(|text| glob(rest, text)),
    }
}

/// By a clock on the wall of that zone.
fn open(hours: &WeeklyHours, now: Utc) -> bool {
    let zone = TimeZoneDatabase::bundled().get(&hours.zone).unwrap();
    let local = Timestamp::from_microsecond(now.0).unwrap().to_zoned(zone);
    let day = i32::from(local.weekday().to_monday_zero_offset());
    let minute = day * 1440 + i32::from(local.hour()) * 60 + i32::from(local.minute());
    (i32::from(hours.from)..i32::from(hours.to)).contains(&minute)
}

fn inside(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address.to_canonical()))
}

/// 0 for the identity itself, 1 for a group of it, 2 for everyone: the smallest that applies.
fn tier(model: &Model, subjects: &Subjects, question: &Question) -> Option<u8> {
    let groups = &model.identities[&question.identity].groups;
    if subjects.identities.contains(&question.identity) {
        Some(0)
    } else if !subjects.groups.is_disjoint(groups) || !subjects.groups.is_disjoint(&question.given) {
        Some(1)
    } else {
        subjects.everyone.then_some(2)
    }
}

/// Smaller is more specific.
fn rank(pattern: &NamePattern) -> (u8, usize) {
    match pattern {
        NamePattern::Exact(_) => (0, 0),
        NamePattern::Prefix(prefix) => (1, usize::MAX - prefix.len()),
        NamePattern::Any => (2, 0),
    }
}

fn matches(pattern: &NamePattern, name: &str) -> bool {
    match pattern {
        NamePattern::Exact(exact) => exact == name,
        NamePattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
        NamePattern::Any => true,
    }
}

pub fn authentication_rule<'m>(model: &'m Model, arrival: &Arrival<'_>) -> Option<&'m AuthenticationRule> {
    model.authentication.iter().find(|rule| {
        let tcp = arrival.source != Source::Unix;
        let transport = match rule.transport {
            Transport::Any => true,
            Transport::Tls => tcp && arrival.tls,
            Transport::Plain => tcp && !arrival.tls,
            Transport::Unix => !tcp,
        };
        let source = match arrival.source {
            Source::Unix => false,
            Source::Ip(address) => inside(&rule.networks, address),
        };
        let name = |patterns: &[NamePattern], name| patterns.is_empty() || patterns.iter().any(|p| matches(p, name));
        (rule.listeners.is_empty() || rule.listeners.contains(arrival.listener))
            && transport
            && (rule.networks.is_empty() || source)
            && name(&rule.databases, arrival.database)
            && name(&rule.users, arrival.user)
    })
}

pub fn resolve(model: &Model, certificate: &Certificate) -> Result<String, Unresolved> {
    let owners = model
        .identities
        .iter()
        .filter(|(_, identity)| identity.keys.iter().any(|key| has(model, certificate, key)));
    let owners: Vec<&String> = owners.map(|(name, _)| name).collect();
    match owners[..] {
        [] => Err(Unresolved::Unknown),
        [one] => Ok(one.clone()),
        _ => Err(Unresolved::Ambiguous),
    }
}

fn has(model: &Model, certificate: &Certificate, key: &IdentityKey) -> bool {
    let trusted = |provider: &String| certificate.validated_by.contains(&provider.as_str());
    match key {
        IdentityKey::Fingerprint(digest) => certificate.fingerprint == *digest,
        IdentityKey::PublicKey(digest) => certificate.public_key == *digest,
        IdentityKey::Uri { provider, pattern } => {
            let Provider::CertificateAuthority(authority) = &model.providers[provider] else {
                return false;
            };
            let [uri] = certificate.uris[..] else { return false };
            // In any spelling of the scheme: no spelling slips past the trust domain.
            let spiffe = uri.to_lowercase().starts_with("spiffe://");
            let domain = spiffe.then(|| uri.split('/').nth(2).unwrap().to_owned());
            trusted(provider)
                && domain.is_none_or(|domain| authority.trust_domains.contains(&domain))
                && uri_matches(pattern, uri)
        }
        IdentityKey::Dns { provider, name } => {
            trusted(provider)
                && certificate
                    .dns
                    .iter()
                    .any(|dns| dns.to_lowercase() == name.to_lowercase())
        }
        IdentityKey::CommonName { provider, name } => trusted(provider) && certificate.common_names == [name.as_str()],
        IdentityKey::Subject { .. } => false,
    }
}

fn uri_matches(pattern: &str, uri: &str) -> bool {
    let (pattern, uri): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), uri.split('/').collect());
    pattern.len() == uri.len()
        && pattern
            .iter()
            .zip(&uri)
            .all(|(p, u)| p == u || (*p == "*" && !u.is_empty()))
}
