//! What bytecheck cannot know: that the numbers inside an archive lead somewhere, that tables are sorted, and that every index
//! finds exactly what its table holds.
//!
//! Indexes of identities and keys are proved by searching for every entry (a million of them in a fraction of a second);
//! those of grants and denies are built again and compared.

use std::collections::BTreeSet;

use super::keys::{dns_hash, identity_hash, name_hash, pin_hash};
use super::layout::*;
use super::packing::Packing;
use super::reach::{MAX_NAME, Pattern, ReachIndex, Rule, Subject};
use super::read::Astray;
use super::table::ArchivedHashTable;

/// What is wrong inside an archive whose layout is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    #[error(transparent)]
    Astray(#[from] Astray),
    #[error("the {0} of the snapshot are not in order")]
    Order(&'static str),
    #[error("the index of {0} in the snapshot does not agree with them")]
    Index(&'static str),
}

pub type Verified = Result<(), Inconsistent>;

impl ArchivedImage {
    /// On success, the owners of keys that more than one entry has: not broken, but for `check` to judge.
    pub fn verify(&self) -> Result<Vec<u32>, Inconsistent> {
        self.verify_order()?;
        self.verify_identities()?;
        let shared = self.verify_keys()?;
        self.verify_zones()?;
        self.verify_proofs()?;
        self.verify_reach()?;
        Ok(shared)
    }

    fn verify_order(&self) -> Verified {
        ascending("groups", self.groups.iter().map(|name| self.text(name)))?;
        ascending(
            "identities",
            self.identities.iter().map(|record| self.text(&record.name)),
        )?;
        ascending("grants", self.grants.iter().map(|record| self.text(&record.name)))?;
        ascending("denies", self.denies.iter().map(|record| self.text(&record.name)))?;
        ascending("providers", self.providers.iter().map(|record| self.text(&record.name)))?;
        ascending("clusters", self.clusters.iter().map(|record| self.text(&record.name)))?;
        ascending(
            "revocations",
            self.revocations.iter().map(|record| self.text(&record.name)),
        )?;
        for cluster in self.clusters.iter() {
            ascending("roles", cluster.roles.iter().map(|record| self.text(&record.name)))?;
        }
        if self.grants.len() == self.grant_details.len() {
            Ok(())
        } else {
            Err(Astray.into())
        }
    }

    fn verify_identities(&self) -> Verified {
        let index = &self.identity_index;
        sized("identities", index, self.identities.len())?;
        let mut packing = Packing::default();
        for (number, record) in (0u32..).zip(self.identities.iter()) {
            found(
                "identities",
                index.candidates(identity_hash(self.text(&record.name)?)),
                number,
            )?;
            let groups = self.groups_of(record)?;
            let known = |group: &rkyv::rend::u32_le| (group.to_native() as usize) < self.groups.len();
            if !groups.iter().all(known) {
                return Err(Astray.into());
            }
            if !groups.is_sorted_by(|left, right| left < right) {
                return Err(Inconsistent::Order("groups of an identity"));
            }
            let aliases = self.aliases_of(record)?.iter().map(|alias| self.text(alias));
            ascending("aliases of an identity", aliases)?;
            packing.add(self, number, record)?;
        }
        packing.finish(self)
    }

    fn verify_keys(&self) -> Result<Vec<u32>, Inconsistent> {
        let tables = &self.keys;
        let mut shared = Vec::new();
        self.verify_pins(
            "fingerprints",
            &tables.fingerprints,
            &tables.fingerprint_index,
            &mut shared,
        )?;
        self.verify_pins(
            "public keys",
            &tables.public_keys,
            &tables.public_key_index,
            &mut shared,
        )?;
        let by_name = |provider, text: &str| Some(name_hash(provider, text));
        self.verify_names("URIs", &tables.uris, &tables.uri_index, &mut shared, by_name)?;
        self.verify_names(
            "common names",
            &tables.common_names,
            &tables.common_name_index,
            &mut shared,
            by_name,
        )?;
        self.verify_names(
            "subjects",
            &tables.subjects,
            &tables.subject_index,
            &mut shared,
            by_name,
        )?;
        self.verify_subject_patterns(&mut shared)?;
        self.verify_names("DNS names", &tables.dns, &tables.dns_index, &mut shared, dns_hash)?;
        let mut shapes = BTreeSet::new();
        self.verify_names(
            "URI patterns",
            &tables.uri_patterns,
            &tables.uri_pattern_index,
            &mut shared,
            |provider, text| {
                let shape = ShapeRecord::of(text)?;
                shapes.insert(shape);
                Some(shape.hash(provider, text))
            },
        )?;
        let exact = |record: &ArchivedNameRecord| {
            self.text(&record.text)
                .is_ok_and(|text| ShapeRecord::of(text).is_none())
        };
        if !tables.uris.iter().all(exact) || !tables.uri_shapes.iter().map(ArchivedShapeRecord::native).eq(shapes) {
            return Err(Inconsistent::Index("URI patterns"));
        }
        Ok(shared)
    }

    /// They have no index: what is asked of them is that each is one, and is whose it says.
    fn verify_subject_patterns(&self, shared: &mut Vec<u32>) -> Verified {
        for record in self.keys.subject_patterns.iter() {
            if record.provider.to_native() as usize >= self.providers.len() {
                return Err(Astray.into());
            }
            if !self.text(&record.text)?.contains('*') {
                return Err(Inconsistent::Index("subject patterns"));
            }
            shared.push(record.owner.to_native());
        }
        let plain = |record: &ArchivedNameRecord| self.text(&record.text).is_ok_and(|text| !text.contains('*'));
        if self.keys.subjects.iter().all(plain) {
            Ok(())
        } else {
            Err(Inconsistent::Index("subject patterns"))
        }
    }

    /// Mappings of groups and revocations are found by halving; conditions on proofs have one owner each, in its order.
    fn verify_proofs(&self) -> Verified {
        let mut previous = None;
        for record in self.group_mappings.iter() {
            let (provider, group) = (record.provider.to_native(), record.group.to_native());
            if provider as usize >= self.providers.len() || group as usize >= self.groups.len() {
                return Err(Astray.into());
            }
            let place = (provider, self.text(&record.external)?, group);
            if previous.is_some_and(|previous| previous >= place) {
                return Err(Inconsistent::Order("group mappings"));
            }
            previous = Some(place);
        }
        for record in self.revocations.iter() {
            if record.provider.to_native() as usize >= self.providers.len() {
                return Err(Astray.into());
            }
            for texts in [&record.token_ids, &record.subjects, &record.key_ids] {
                ascending("revocations", texts.iter().map(|text| self.text(text)))?;
            }
        }
        let of_grants = self.grants.iter().map(|grant| grant.proof_conditions.to_native());
        let of_denies = self.denies.iter().map(|deny| deny.proof_conditions.to_native());
        let used = of_grants.chain(of_denies).filter(|place| *place != 0);
        if used.eq(1..=self.proof_conditions.len() as u32) {
            Ok(())
        } else {
            Err(Inconsistent::Order("conditions on proofs"))
        }
    }

    fn verify_pins(
        &self,
        what: &'static str,
        pins: &[ArchivedPinRecord],
        index: &ArchivedHashTable,
        shared: &mut Vec<u32>,
    ) -> Verified {
        sized(what, index, pins.len())?;
        for (number, pin) in (0u32..).zip(pins) {
            let same = |other: u32| pins.get(other as usize).is_some_and(|other| other.digest == pin.digest);
            if found_among(what, index.candidates(pin_hash(&pin.digest)), number, same)? {
                shared.push(pin.owner.to_native());
            }
        }
        Ok(())
    }

    fn verify_names(
        &self,
        what: &'static str,
        names: &[ArchivedNameRecord],
        index: &ArchivedHashTable,
        shared: &mut Vec<u32>,
        mut hash: impl FnMut(u32, &str) -> Option<u64>,
    ) -> Verified {
        sized(what, index, names.len())?;
        for (number, name) in (0u32..).zip(names) {
            let provider = name.provider.to_native();
            if provider as usize >= self.providers.len() {
                return Err(Astray.into());
            }
            let text = self.text(&name.text)?;
            let hash = hash(provider, text).ok_or(Inconsistent::Index(what))?;
            let same = |other: u32| {
                let other = names.get(other as usize).filter(|other| other.provider == provider);
                other.is_some_and(|other| self.text(&other.text) == Ok(text))
            };
            if found_among(what, index.candidates(hash), number, same)? {
                shared.push(name.owner.to_native());
            }
        }
        Ok(())
    }

    /// The offsets are those of the tz database of whoever compiled; only their form is checked.
    fn verify_zones(&self) -> Verified {
        const DAY: i64 = 24 * 60 * 60;
        for zone in self.zones.iter() {
            self.text(&zone.name)?;
            let transitions = self.transitions_of(zone)?;
            if transitions.is_empty() || !transitions.is_sorted_by(|left, right| left.at < right.at) {
                return Err(Inconsistent::Order("offsets of a time zone"));
            }
            if transitions
                .iter()
                .any(|transition| !(-DAY..DAY).contains(&transition.offset.to_native()))
            {
                return Err(Inconsistent::Order("offsets of a time zone"));
            }
        }
        Ok(())
    }

    fn verify_reach(&self) -> Verified {
        let grants = self
            .grant_details
            .iter()
            .map(|detail| self.reach(&detail.subjects, &detail.databases));
        let grants = grants.collect::<Result<Vec<_>, _>>()?;
        if !self.grant_index.equals(&ReachIndex::build(&grants, self.groups.len())) {
            return Err(Inconsistent::Index("grants"));
        }
        let denies = self
            .denies
            .iter()
            .map(|deny| self.reach(&deny.subjects, &deny.databases));
        let mut denies = denies.collect::<Result<Vec<_>, _>>()?;
        denies.iter_mut().for_each(Rule::reach_every_database_if_none);
        if !self.deny_index.equals(&ReachIndex::build(&denies, self.groups.len())) {
            return Err(Inconsistent::Index("denies"));
        }
        self.verify_marks(&grants, &denies)
    }

    fn reach(&self, subjects: &ArchivedSubjectsRecord, databases: &ArchivedSpan) -> Result<Rule<'_>, Inconsistent> {
        let mut rule = Rule {
            subjects: Vec::new(),
            databases: Vec::new(),
        };
        for identity in self.subject_identities_of(subjects)? {
            rule.subjects.push(Subject::Identity(identity.to_native()));
        }
        for group in self.subject_groups_of(subjects)? {
            rule.subjects.push(Subject::Group(group.to_native()));
        }
        rule.subjects.extend(subjects.everyone.then_some(Subject::Everyone));
        for pattern in self.patterns_of(databases)? {
            let (pattern, text) = match pattern {
                ArchivedPatternRecord::Exact(text) => (Pattern::Exact(self.text(text)?), text.native()),
                ArchivedPatternRecord::Prefix(text) => (Pattern::Prefix(self.text(text)?), text.native()),
                ArchivedPatternRecord::Any => (Pattern::Any, Text::default()),
            };
            if text.length as usize > MAX_NAME {
                return Err(Inconsistent::Order("lengths of database names"));
            }
            rule.databases.push((pattern, text));
        }
        Ok(rule)
    }

    /// The marks in the identity records, without which a decision would not look for rules of the identity's own.
    fn verify_marks(&self, grants: &[Rule<'_>], denies: &[Rule<'_>]) -> Verified {
        let named = |rules: &[Rule<'_>]| {
            let mut marks = vec![0u16; self.identities.len()];
            for subject in rules.iter().flat_map(|rule| &rule.subjects) {
                if let Subject::Identity(number) = subject {
                    *marks.get_mut(*number as usize).ok_or(Astray)? = 1;
                }
            }
            Ok::<_, Inconsistent>(marks)
        };
        let (grants, denies) = (named(grants)?, named(denies)?);
        let marks = grants.iter().zip(&denies).map(|(grant, deny)| (*grant, *deny));
        let stored = self
            .identities
            .iter()
            .map(|record| (record.has_grants.to_native(), record.has_denies.to_native()));
        if stored.eq(marks) {
            Ok(())
        } else {
            Err(Inconsistent::Index("grants of single identities"))
        }
    }
}

fn ascending<'a>(what: &'static str, names: impl Iterator<Item = Result<&'a str, Astray>>) -> Verified {
    let mut previous = None;
    for name in names {
        let name = name?;
        if previous.is_some_and(|previous| previous >= name) {
            return Err(Inconsistent::Order(what));
        }
        previous = Some(name);
    }
    Ok(())
}

/// The index has the size for `items` and as many entries: with each item found, there is no other in it.
fn sized(what: &'static str, index: &ArchivedHashTable, items: usize) -> Verified {
    if index.fits(items) && index.count() == items {
        Ok(())
    } else {
        Err(Inconsistent::Index(what))
    }
}

fn found(what: &'static str, mut candidates: impl Iterator<Item = u32>, number: u32) -> Verified {
    if candidates.any(|candidate| candidate == number) {
        Ok(())
    } else {
        Err(Inconsistent::Index(what))
    }
}

/// Like [`found`]; whether another entry has the same key.
fn found_among(
    what: &'static str,
    candidates: impl Iterator<Item = u32>,
    number: u32,
    same: impl Fn(u32) -> bool,
) -> Result<bool, Inconsistent> {
    let (mut found, mut shared) = (false, false);
    for candidate in candidates {
        found |= candidate == number;
        shared |= candidate != number && same(candidate);
    }
    if found {
        Ok(shared)
    } else {
        Err(Inconsistent::Index(what))
    }
}
