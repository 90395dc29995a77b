//! Finds grants between which the written order cannot choose.
//!
//! Where several grants match, identity goes before group before everyone, then an exact database before a longer prefix
//! before a shorter one before any. Two grants that are equal by that, may match at the same time and differ in effect
//! (role, cluster, access, settings, limits) are a fault of both. Whether they may match at the same time is answered
//! cautiously: hours in different time zones count as overlapping, and proofs and replication never keep two grants apart,
//! since one attempt can bring both proofs and ask for no replication.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::{Item, ModelFault, Object, Why};
use crate::model::{ClaimTest, Conditions, Grant, Identity, IdentityKey, Model, NamePattern};

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    let mut ties = Ties::default();
    let by_database = grants_by_database(model);
    for (database, grants) in &by_database {
        compare_everyone(grants, &mut ties, database);
        compare_identities(grants, &mut ties, database);
    }
    compare_groups(model, &by_database, &mut ties);
    found.extend(ties.0.into_iter().map(|(later, tie)| tie.fault(later)));
}

/// For each group the databases that it and perhaps another group have grants for, with different effect. An identity that
/// finds one of them twice among its groups may have a tie; any other has none through its groups.
pub(crate) fn contested(model: &Model) -> HashMap<&str, Vec<&NamePattern>> {
    let by_group = grants_by_group(&grants_by_database(model));
    let by_group = by_group.into_iter();
    by_group
        .map(|(group, grants)| (group, grants.into_iter().map(|(database, _)| database).collect()))
        .collect()
}

#[derive(Clone, Copy)]
struct Named<'m> {
    name: &'m str,
    grant: &'m Grant,
}

/// For a grant, the first that it ties with: one fault per grant says enough, and a herd of ties stays linear.
#[derive(Default)]
struct Ties<'m>(BTreeMap<&'m str, Tie<'m>>);

struct Tie<'m> {
    earlier: &'m str,
    database: &'m NamePattern,
    subject: String,
    differs: &'static str,
}

impl<'m> Ties<'m> {
    /// Compares two grants of the same rank for `subject`.
    fn compare(&mut self, a: Named<'m>, b: Named<'m>, database: &'m NamePattern, subject: impl FnOnce() -> String) {
        let (earlier, later) = if a.name < b.name { (a, b) } else { (b, a) };
        if earlier.name == later.name || self.0.get(later.name).is_some_and(|tie| tie.earlier <= earlier.name) {
            return;
        }
        if let Some(differs) = difference(earlier.grant, later.grant)
            && may_meet(&earlier.grant.conditions, &later.grant.conditions)
        {
            self.0.insert(
                later.name,
                Tie {
                    earlier: earlier.name,
                    database,
                    subject: subject(),
                    differs,
                },
            );
        }
    }
}

impl Tie<'_> {
    fn fault(self, later: &str) -> ModelFault {
        let Tie {
            earlier,
            database,
            subject,
            differs,
        } = self;
        ModelFault {
            object: Object::Grant(later.to_owned()),
            key: None,
            item: Some(Item::Text(database.to_string())),
            other: Some(Object::Grant(earlier.to_owned())),
            why: Why::new(format!(
                "it and grant `{earlier}` both give {subject} database `{database}`, with a different {differs}"
            ))
            .help("name the identity rather than its group, or the database rather than a pattern, in the one that should win"),
        }
    }
}

/// The first effect in which two grants differ.
fn difference(a: &Grant, b: &Grant) -> Option<&'static str> {
    [
        (a.cluster != b.cluster, "cluster"),
        (a.role != b.role, "role"),
        (a.access != b.access, "access"),
        (a.connect_database != b.connect_database, "database to connect to"),
        (a.settings != b.settings, "set of `settings`"),
        (a.limits != b.limits, "limit"),
        (a.on_expiry != b.on_expiry, "`on_expiry`"),
        (a.expiry_notice != b.expiry_notice, "`expiry_notice`"),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}

/// Two patterns of equal rank match a common name exactly when they are equal, so grants meet in these groups.
fn grants_by_database(model: &Model) -> BTreeMap<&NamePattern, Vec<Named<'_>>> {
    let mut groups: BTreeMap<&NamePattern, Vec<Named<'_>>> = BTreeMap::new();
    for (name, grant) in &model.grants {
        for pattern in grant.databases.iter().collect::<BTreeSet<_>>() {
            groups.entry(pattern).or_default().push(Named { name, grant });
        }
    }
    groups.retain(|_, grants| {
        grants
            .iter()
            .any(|named| difference(named.grant, grants[0].grant).is_some())
    });
    groups
}

fn compare_everyone<'m>(grants: &[Named<'m>], ties: &mut Ties<'m>, database: &'m NamePattern) {
    let for_everyone: Vec<_> = grants.iter().filter(|named| named.grant.subjects.everyone).collect();
    for (index, a) in for_everyone.iter().enumerate() {
        for b in &for_everyone[index + 1..] {
            ties.compare(**a, **b, database, || "everyone".to_owned());
        }
    }
}

fn compare_identities<'m>(grants: &[Named<'m>], ties: &mut Ties<'m>, database: &'m NamePattern) {
    let mut by_identity: BTreeMap<&str, Vec<Named<'m>>> = BTreeMap::new();
    for named in grants {
        for identity in &named.grant.subjects.identities {
            by_identity.entry(identity).or_default().push(*named);
        }
    }
    for (identity, grants) in by_identity {
        for (index, a) in grants.iter().enumerate() {
            for b in &grants[index + 1..] {
                ties.compare(*a, *b, database, || format!("identity `{identity}`"));
            }
        }
    }
}

/// Two groups meet in an identity that is in both, so this walks the identities, once.
fn compare_groups<'m>(model: &'m Model, by_database: &BTreeMap<&'m NamePattern, Vec<Named<'m>>>, ties: &mut Ties<'m>) {
    let by_group = grants_by_group(by_database);
    if by_group.is_empty() {
        return;
    }
    let mut candidates: Vec<(&NamePattern, Named<'_>)> = Vec::new();
    let mapped = mapped_groups(model);
    for (provider, groups) in &mapped {
        candidates.clear();
        for group in groups {
            candidates.extend(by_group.get(group).into_iter().flatten().copied());
        }
        compare_candidates(&mut candidates, ties, || {
            format!("whoever provider `{provider}` puts into both groups")
        });
    }
    for (name, identity) in &model.identities {
        candidates.clear();
        let own = identity.groups.iter().map(String::as_str);
        for group in own.chain(groups_by_providers(identity, &mapped)) {
            candidates.extend(by_group.get(group).into_iter().flatten().copied());
        }
        // A grant that names the identity itself has it at a higher rank.
        candidates.retain(|(_, named)| !named.grant.subjects.identities.contains(name));
        compare_candidates(&mut candidates, ties, || format!("identity `{name}` (by its groups)"));
    }
}

fn compare_candidates<'m>(
    candidates: &mut [(&'m NamePattern, Named<'m>)],
    ties: &mut Ties<'m>,
    subject: impl Fn() -> String,
) {
    candidates.sort_unstable_by_key(|(database, named)| (*database, named.name));
    for (index, (database, a)) in candidates.iter().enumerate() {
        for (_, b) in candidates[index + 1..]
            .iter()
            .take_while(|(other, _)| other == database)
        {
            ties.compare(*a, *b, database, &subject);
        }
    }
}

/// By provider, the groups that it may put somebody into: any of them together.
fn mapped_groups(model: &Model) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut mapped: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for mapping in &model.group_mappings {
        mapped.entry(&mapping.provider).or_default().insert(&mapping.group);
    }
    mapped
}

/// Groups that an identity with groups of its own may be put into as well. Without any of its own the providers say it all.
fn groups_by_providers<'m>(
    identity: &'m Identity,
    mapped: &'m BTreeMap<&'m str, BTreeSet<&'m str>>,
) -> impl Iterator<Item = &'m str> {
    let keys = if identity.groups.is_empty() || mapped.is_empty() {
        &[]
    } else {
        identity.keys.as_slice()
    };
    let providers: BTreeSet<&str> = keys
        .iter()
        .filter_map(|key| match key {
            IdentityKey::Subject { provider, .. } | IdentityKey::Uri { provider, .. } => Some(provider.as_str()),
            IdentityKey::Fingerprint(_)
            | IdentityKey::PublicKey(_)
            | IdentityKey::Dns { .. }
            | IdentityKey::CommonName { .. } => None,
        })
        .collect();
    providers
        .into_iter()
        .filter_map(|provider| mapped.get(provider))
        .flatten()
        .copied()
}

type ByGroup<'m> = HashMap<&'m str, Vec<(&'m NamePattern, Named<'m>)>>;

/// Only of databases where groups have more than one grant.
fn grants_by_group<'m>(by_database: &BTreeMap<&'m NamePattern, Vec<Named<'m>>>) -> ByGroup<'m> {
    let mut by_group = ByGroup::new();
    for (database, grants) in by_database {
        if grants
            .iter()
            .filter(|named| !named.grant.subjects.groups.is_empty())
            .count()
            < 2
        {
            continue;
        }
        for named in grants {
            for group in &named.grant.subjects.groups {
                by_group.entry(group).or_default().push((database, *named));
            }
        }
    }
    by_group
}

/// Whether one attempt could meet both conditions.
fn may_meet(a: &Conditions, b: &Conditions) -> bool {
    sources_meet(a, b)
        && windows_meet(a, b)
        && hours_meet(a, b)
        && claims_meet(&a.claims, &b.claims)
        && claims_meet(&a.certificate, &b.certificate)
}

/// Only two different words for the one value of a claim keep two grants apart.
fn claims_meet(a: &BTreeMap<String, ClaimTest>, b: &BTreeMap<String, ClaimTest>) -> bool {
    let word = |test: &ClaimTest| match test {
        ClaimTest::Is(pattern) if !pattern.0.contains('*') => Some(pattern.0.clone()),
        ClaimTest::Is(_) | ClaimTest::HasOneOf(_) => None,
    };
    let apart = |name: &String, one: &ClaimTest| match (word(one), b.get(name).and_then(word)) {
        (Some(one), Some(other)) => one != other,
        (None, _) | (_, None) => false,
    };
    !a.iter().any(|(name, one)| apart(name, one))
}

fn sources_meet(a: &Conditions, b: &Conditions) -> bool {
    let anywhere = |conditions: &Conditions| conditions.networks.is_empty() && !conditions.unix;
    let meet = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    anywhere(a)
        || anywhere(b)
        || (a.unix && b.unix)
        || a.networks
            .iter()
            .any(|one| b.networks.iter().any(|other| meet(one, other)))
}

fn windows_meet(a: &Conditions, b: &Conditions) -> bool {
    let from = a.not_before.max(b.not_before);
    let to = [a.not_after, b.not_after].into_iter().flatten().min();
    match (from, to) {
        (Some(from), Some(to)) => from < to,
        (None, _) | (_, None) => true,
    }
}

fn hours_meet(a: &Conditions, b: &Conditions) -> bool {
    a.hours.is_empty()
        || b.hours.is_empty()
        || a.hours.iter().any(|one| {
            b.hours
                .iter()
                .any(|other| one.zone != other.zone || (one.from < other.to && other.from < one.to))
        })
}
