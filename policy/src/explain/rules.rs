//! Each rule, grant and deny with the first condition that failed.

use super::{Finding, RuleStep, Step, words};
use crate::archive::layout::{
    ArchivedIdentityRecord, ArchivedImage, ArchivedPatternRecord, ArchivedSpan, ArchivedSubjectsRecord,
};
use crate::archive::strings::text_of;
use crate::authenticate::{Arrival, pattern_matches, rule_miss};
use crate::decide::{Case, Facts};
use crate::snapshot::Snapshot;
use crate::words::Word;

pub(super) fn authentication(snapshot: &Snapshot, arrival: &Arrival<'_>) -> Vec<RuleStep> {
    let image = snapshot.image();
    let mut steps = Vec::new();
    for record in image.authentication.iter() {
        let miss = rule_miss(image, record, arrival);
        steps.push(RuleStep {
            rule: text_of(&image.strings, &record.name).to_owned(),
            method: crate::model::Method::from(record.method).as_str(),
            miss: miss.map(|miss| (miss, words::rule_finding(image, record, arrival, miss))),
        });
        if miss.is_none() {
            break;
        }
    }
    steps
}

pub(super) fn denies(snapshot: &Snapshot, facts: &Facts<'_>) -> Vec<Step> {
    let image = snapshot.image();
    let Some(record) = snapshot.identity_record(facts.identity) else {
        return Vec::new();
    };
    let case = Case::new(image, record, facts);
    let mut steps = Vec::new();
    for (number, deny) in (0u32..).zip(image.denies.iter()) {
        let Some(concern) = Concern::of(image, record, facts, &deny.subjects) else {
            continue;
        };
        let everywhere = deny.databases.length == 0;
        let miss = if everywhere || best_pattern(image, &deny.databases, facts.database).is_some() {
            case.judge_deny(number)
                .err()
                .map(|miss| words::condition_finding(image, (&deny.conditions, deny.proof_conditions), facts, miss))
        } else {
            Some(words::database_finding(image, &deny.databases, facts.database))
        };
        let name = text_of(&image.strings, &deny.name).to_owned();
        steps.push(Step {
            name,
            by: concern.by,
            to: None,
            miss,
        });
    }
    steps
}

/// In the order in which they win; those for other databases last.
pub(super) fn grants(snapshot: &Snapshot, facts: &Facts<'_>) -> Vec<Step> {
    let image = snapshot.image();
    let Some(record) = snapshot.identity_record(facts.identity) else {
        return Vec::new();
    };
    let case = Case::new(image, record, facts);
    let mut ranked = Vec::new();
    for (number, (grant, detail)) in (0u32..).zip(image.grants.iter().zip(image.grant_details.iter())) {
        let Some(concern) = Concern::of(image, record, facts, &detail.subjects) else {
            continue;
        };
        let pattern = best_pattern(image, &detail.databases, facts.database);
        let miss = match pattern {
            None => Some(words::database_finding(image, &detail.databases, facts.database)),
            Some(_) => case
                .judge_grant(number)
                .err()
                .map(|refusal| words::grant_finding(snapshot, record, grant, facts, refusal)),
        };
        let cluster = case.cluster(number).and_then(|cluster| snapshot.cluster(cluster));
        let cluster = cluster.map(|cluster| cluster.name().to_owned()).unwrap_or_default();
        let step = Step {
            name: text_of(&image.strings, &grant.name).to_owned(),
            by: concern.by,
            to: Some((text_of(&image.strings, &grant.role).to_owned(), cluster)),
            miss,
        };
        ranked.push(((pattern.is_none(), concern.tier, pattern, number), step));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, step)| step).collect()
}

/// Why a rule is about an identity.
struct Concern {
    /// Smaller wins: the identity, a group, everyone.
    tier: u8,
    by: String,
}

impl Concern {
    fn of(
        image: &ArchivedImage,
        record: &ArchivedIdentityRecord,
        facts: &Facts<'_>,
        subjects: &ArchivedSubjectsRecord,
    ) -> Option<Self> {
        if image
            .subject_identities_of(subjects)
            .ok()?
            .iter()
            .any(|named| *named == facts.identity.number())
        {
            return Some(Self {
                tier: 0,
                by: "identity".to_owned(),
            });
        }
        let own = image.groups_of(record).ok()?;
        if let Some(group) = image
            .subject_groups_of(subjects)
            .ok()?
            .iter()
            .find(|group| own.contains(group) || facts.groups.iter().any(|given| **group == given.number()))
        {
            let name = image.groups.get(group.to_native() as usize)?;
            return Some(Self {
                tier: 1,
                by: format!("group {}", text_of(&image.strings, name)),
            });
        }
        subjects.everyone.then(|| Self {
            tier: 2,
            by: "everyone".to_owned(),
        })
    }
}

/// Of the patterns that match, the rank of the most specific: smaller is more so.
fn best_pattern(image: &ArchivedImage, databases: &ArchivedSpan, database: &str) -> Option<(u8, usize)> {
    let patterns = image.patterns_of(databases).ok()?;
    let rank = |pattern: &ArchivedPatternRecord| match pattern {
        ArchivedPatternRecord::Exact(_) => (0, 0),
        ArchivedPatternRecord::Prefix(prefix) => (1, usize::MAX - prefix.length.to_native() as usize),
        ArchivedPatternRecord::Any => (2, 0),
    };
    patterns
        .iter()
        .filter(|pattern| pattern_matches(image, pattern, database))
        .map(rank)
        .min()
}

impl Finding {
    pub(super) fn new(condition: &'static str, wanted: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            condition,
            wanted: wanted.into(),
            got: got.into(),
        }
    }
}
