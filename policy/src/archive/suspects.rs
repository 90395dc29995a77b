//! The semantic rules of a policy on an archive of a million identities, in a fraction of a second.
//!
//! [`crate::check::check`] works on a model, and a model of a million identities takes seconds to build. Nearly all identities
//! are beyond doubt by a look at their record. So the model that is checked holds everything *but* those: a sieve that lets
//! sound ones through and never a faulty one. What it keeps back is judged by `check` itself, with its own words, so no rule
//! stands here twice. A test holds both ways against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::identity_hash;
use super::layout::*;
use super::read::Astray;
use super::uri::{count_pieces, matches};
use crate::check::{key, tie, value};
use crate::model::{Model, NamePattern, Provider};

type Read<T> = Result<T, Astray>;

impl ArchivedImage {
    /// The policy without identities that break no rule, alone or together with others. `shared` are the owners of keys that
    /// more than one entry has, from [`ArchivedImage::verify`].
    pub fn model_to_check(&self, shared: &[u32]) -> Read<Model> {
        let mut model = self.model_without_identities()?;
        let suspects = Sieve::new(self, &model)?.suspects(shared)?;
        for number in suspects {
            let record = self.identities.get(number as usize).ok_or(Astray)?;
            model
                .identities
                .insert(self.text(&record.name)?.to_owned(), self.identity(record)?);
        }
        Ok(model)
    }
}

struct Sieve<'a> {
    image: &'a ArchivedImage,
    /// By provider.
    providers: Vec<&'a Provider>,
    /// What every SCRAM rule shows; `None` where they differ, or there is none.
    iterations: Option<u32>,
    any_scram_rule: bool,
    /// By group: numbers of the databases of [`tie::contested`].
    contested: Vec<Vec<u32>>,
}

impl<'a> Sieve<'a> {
    fn new(image: &'a ArchivedImage, model: &'a Model) -> Read<Self> {
        let scram_rules = || model.authentication.iter().filter(|rule| rule.method.uses_scram());
        let first = scram_rules().next().map(|rule| rule.scram_iterations);
        Ok(Self {
            image,
            providers: model.providers.values().collect(),
            iterations: first.filter(|first| scram_rules().all(|rule| rule.scram_iterations == *first)),
            any_scram_rule: first.is_some(),
            contested: contested_by_group(image, model)?,
        })
    }

    fn suspects(&self, shared: &[u32]) -> Read<BTreeSet<u32>> {
        let mut suspects: BTreeSet<u32> = shared.iter().copied().collect();
        let mut databases = Vec::new();
        for (number, record) in (0u32..).zip(self.image.identities.iter()) {
            let sound = self.is_plainly_named(record)?
                && self.has_plain_proofs(record)?
                && !self.may_tie(record, &mut databases)?
                && record.has_grants == 0
                && record.has_denies == 0;
            if !sound {
                suspects.insert(number);
            }
            self.add_namesakes(record, &mut suspects)?;
        }
        self.add_owners_under_patterns(&mut suspects)?;
        Ok(suspects)
    }

    fn is_plainly_named(&self, record: &ArchivedIdentityRecord) -> Read<bool> {
        let aliases = self.image.aliases_of(record)?;
        let is_plain = |alias: &ArchivedText| Ok(value::postgres_name(self.image.text(alias)?).is_ok());
        let name = self.image.text(&record.name)?;
        // Names with a place in them are few, and each may come to the same as another.
        let filled = |alias: &ArchivedText| Ok(!self.image.text(alias)?.contains('{'));
        let is_filled = !name.contains('{') && all(aliases, filled)?;
        Ok(is_filled && value::object_name(name).is_ok() && all(aliases, is_plain)?)
    }

    /// An identity and another (or itself) whose name is an alias of it.
    fn add_namesakes(&self, record: &ArchivedIdentityRecord, suspects: &mut BTreeSet<u32>) -> Read<()> {
        for alias in self.image.aliases_of(record)? {
            let alias = self.image.text(alias)?;
            for number in self.image.identity_index.candidates(identity_hash(alias)) {
                let other = self.image.identities.get(number as usize).ok_or(Astray)?;
                if self.image.text(&other.name)? == alias {
                    let own = self
                        .image
                        .identity_index
                        .candidates(identity_hash(self.image.text(&record.name)?));
                    suspects.insert(number);
                    suspects.extend(own);
                }
            }
        }
        Ok(())
    }

    fn has_plain_proofs(&self, record: &ArchivedIdentityRecord) -> Read<bool> {
        let keys = self.image.keys_of(record)?;
        let verifier = self.image.verifier_of(record)?;
        let provable = !keys.is_empty() || verifier.is_some();
        let verifier_is_plain = match verifier {
            None => true,
            Some(verifier) => {
                let shown = !self.any_scram_rule || self.iterations == Some(verifier.iterations.to_native());
                let fits = self.image.text(&record.name)?.len() <= value::POSTGRES_NAME;
                shown && fits && value::verifier(&verifier.model()).is_ok()
            }
        };
        Ok(provable && verifier_is_plain && all(keys, |key| self.is_plain_key(key))?)
    }

    fn is_plain_key(&self, reference: &ArchivedKeyReference) -> Read<bool> {
        let tables = &self.image.keys;
        let name = |table: &'a [ArchivedNameRecord]| table.get(reference.place.to_native() as usize).ok_or(Astray);
        Ok(match reference.kind.to_native() {
            key_kind::FINGERPRINT | key_kind::PUBLIC_KEY => true,
            key_kind::URI => self.is_plain_uri(name(&tables.uris)?)?,
            key_kind::DNS => self.is_plain_name(name(&tables.dns)?, key::Form::OfCertificates, key::dns_name)?,
            key_kind::COMMON_NAME => {
                self.is_plain_name(name(&tables.common_names)?, key::Form::OfCertificates, key::common_name)?
            }
            key_kind::SUBJECT => self.is_plain_name(name(&tables.subjects)?, key::Form::Subject, key::subject)?,
            // Patterns are few, and each may overlap with any other.
            key_kind::URI_PATTERN | key_kind::SUBJECT_PATTERN => false,
            8.. => return Err(Astray),
        })
    }

    fn is_plain_uri(&self, record: &ArchivedNameRecord) -> Read<bool> {
        let uri = self.image.text(&record.text)?;
        let provider = self.provider_of(record)?;
        Ok(key::fits(provider, key::Form::Uri).is_ok() && key::uri_pattern(uri, provider.trust_domains()).is_ok())
    }

    fn is_plain_name(
        &self,
        record: &ArchivedNameRecord,
        form: key::Form,
        rule: fn(&str) -> Result<(), crate::check::Why>,
    ) -> Read<bool> {
        let fits = key::fits(self.provider_of(record)?, form).is_ok();
        Ok(fits && rule(self.image.text(&record.text)?).is_ok())
    }

    fn provider_of(&self, record: &ArchivedNameRecord) -> Read<&'a Provider> {
        let place = record.provider.to_native() as usize;
        self.providers.get(place).copied().ok_or(Astray)
    }

    /// Owners of plain URIs that a pattern of their provider matches.
    fn add_owners_under_patterns(&self, suspects: &mut BTreeSet<u32>) -> Read<()> {
        let keys = &self.image.keys;
        if keys.uri_patterns.is_empty() {
            return Ok(());
        }
        for record in keys.uris.iter() {
            let (provider, uri) = (record.provider.to_native(), self.image.text(&record.text)?);
            let pieces = count_pieces(uri) as u64;
            for shape in keys.uri_shapes.iter().filter(|shape| shape.pieces == pieces) {
                for number in keys.uri_pattern_index.candidates(shape.native().hash(provider, uri)) {
                    let pattern = keys.uri_patterns.get(number as usize).ok_or(Astray)?;
                    if pattern.provider == provider && matches(self.image.text(&pattern.text)?, uri) {
                        suspects.insert(record.owner.to_native());
                    }
                }
            }
        }
        Ok(())
    }

    fn may_tie(&self, record: &ArchivedIdentityRecord, databases: &mut Vec<u32>) -> Read<bool> {
        databases.clear();
        for group in self.image.groups_of(record)? {
            databases.extend(self.contested.get(group.to_native() as usize).ok_or(Astray)?);
        }
        // A provider may put it into any of its mapped groups beside those.
        if !databases.is_empty() && !self.image.group_mappings.is_empty() {
            return Ok(true);
        }
        databases.sort_unstable();
        Ok(databases.windows(2).any(|pair| pair.first() == pair.last()))
    }
}

fn contested_by_group(image: &ArchivedImage, model: &Model) -> Read<Vec<Vec<u32>>> {
    let contested = tie::contested(model);
    let mut numbers: BTreeMap<&NamePattern, u32> = BTreeMap::new();
    let mut by_group = Vec::with_capacity(image.groups.len());
    for group in image.groups.iter() {
        let databases: &[&NamePattern] = contested.get(image.text(group)?).map_or(&[], Vec::as_slice);
        let mut of_group = Vec::with_capacity(databases.len());
        for database in databases {
            let fresh = numbers.len() as u32;
            of_group.push(*numbers.entry(*database).or_insert(fresh));
        }
        by_group.push(of_group);
    }
    Ok(by_group)
}

fn all<T>(items: &[T], rule: impl Fn(&T) -> Read<bool>) -> Read<bool> {
    items.iter().try_fold(true, |so_far, item| Ok(so_far && rule(item)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::compile::compile;
    use crate::model::{Access, Identity, IdentityKey, Model};
    use crate::sample::{self, exact, grant, prefix, set, to_groups, uri, verifier};
    use crate::snapshot::{HeapBytes, Snapshot, SnapshotFault};

    fn loaded(model: &Model) -> Result<(), Vec<crate::check::ModelFault>> {
        match Snapshot::load(Box::new(HeapBytes::copy_of(&compile(model).unwrap())), 1) {
            Ok(_) => Ok(()),
            Err(SnapshotFault::Policy(faults)) => Err(faults),
            Err(other) => panic!("{other}"),
        }
    }

    /// A hundred sound identities beside those of the sample, each in other groups.
    fn policy() -> Model {
        let mut model = sample::policy();
        for number in 0..100u8 {
            let identity = Identity {
                aliases: set(&[&format!("alias-{number}")]),
                groups: if number % 2 == 0 {
                    set(&["robots"])
                } else {
                    set(&["robots", "apps"])
                },
                keys: vec![
                    IdentityKey::Fingerprint([number; 32]),
                    uri("corp", &format!("spiffe://corp/robot/{number}")),
                    IdentityKey::CommonName {
                        provider: "corp".to_owned(),
                        name: format!("robot {number}"),
                    },
                ],
                scram: Some(verifier()),
            };
            model.identities.insert(format!("robot-{number:02}"), identity);
        }
        model
    }

    fn suspects(model: &Model) -> BTreeSet<String> {
        let snapshot = Snapshot::of(model, 1).unwrap();
        let shared = snapshot.image().verify().unwrap();
        snapshot
            .image()
            .model_to_check(&shared)
            .unwrap()
            .identities
            .into_keys()
            .collect()
    }

    #[test]
    fn sound_identities_are_let_through() {
        let model = policy();
        assert_eq!(check(&model), []);
        // One is named by a grant, two have URI patterns, one has a pattern of subjects and a name made of them.
        let kept = set(&["backup", "staff:{subject}", "svc:billing", "svc:report"]);
        assert_eq!(suspects(&model), kept);
        assert_eq!(loaded(&model), Ok(()));
    }

    /// Each breaks one rule about identities, alone or together. `check` on the whole model is the judge.
    #[test]
    fn every_fault_that_check_finds_is_found_in_the_snapshot() {
        type Break = fn(&mut Model);
        let breaks: [(&str, Break); 28] = [
            ("name", |m| rename(m, "robot 7")),
            ("name of a SCRAM user too long", |m| rename(m, &"r".repeat(64))),
            ("alias", |m| robot(m).aliases = set(&["a\u{1}"])),
            ("alias is another's name", |m| robot(m).aliases = set(&["robot-50"])),
            ("alias is its own name", |m| robot(m).aliases = set(&["robot-07"])),
            ("no proof", |m| (robot(m).keys, robot(m).scram) = (vec![], None)),
            ("fingerprint of another", |m| {
                robot(m).keys[0] = IdentityKey::Fingerprint([50; 32])
            }),
            ("its own fingerprint twice", |m| {
                robot(m).keys.push(IdentityKey::Fingerprint([7; 32]))
            }),
            ("URI of another", |m| {
                robot(m).keys[1] = uri("corp", "spiffe://corp/robot/50")
            }),
            ("URI under a pattern of another", |m| {
                robot(m).keys[1] = uri("corp", "spiffe://corp/ns/x/sa/billing")
            }),
            ("pattern over others", |m| {
                robot(m).keys[1] = uri("corp", "spiffe://corp/robot/*")
            }),
            ("trust domain", |m| {
                robot(m).keys[1] = uri("corp", "spiffe://partner.example/x")
            }),
            ("URI that is none", |m| robot(m).keys[1] = uri("corp", "robot")),
            ("common name of another", |m| {
                robot(m).keys[2] = common_name("corp", "robot 50")
            }),
            ("common name", |m| robot(m).keys[2] = common_name("corp", "")),
            ("DNS name", |m| {
                robot(m).keys[2] = IdentityKey::Dns {
                    provider: "corp".to_owned(),
                    name: "A.b".to_owned(),
                }
            }),
            ("iterations", |m| robot(m).scram.as_mut().unwrap().iterations = 5_000),
            ("salt", |m| robot(m).scram.as_mut().unwrap().salt = vec![1; 8]),
            ("tie between groups", |m| {
                m.grants.insert(
                    "robots".to_owned(),
                    grant(to_groups(&["robots"]), vec![exact("billing")], "reader"),
                );
            }),
            ("tie between grants of one group", |m| {
                let mut other = grant(to_groups(&["apps"]), vec![prefix("billing_")], "app_rw");
                other.access = Access::ReadOnly;
                m.grants.insert("other".to_owned(), other);
            }),
            ("subject of another", |m| {
                robot(m).keys.push(subject("idp", "carol@example.org"))
            }),
            ("subject", |m| robot(m).keys.push(subject("idp", "a\u{7}"))),
            ("subject of an authority", |m| robot(m).keys.push(subject("corp", "x"))),
            ("common name of a webhook", |m| {
                robot(m).keys[2] = common_name("desk", "x")
            }),
            ("pattern of subjects over another", |m| {
                robot(m).keys.push(subject("idp", "robot@*"))
            }),
            ("name made of subjects that another comes to", |m| {
                let other = Identity {
                    keys: vec![subject("desk", "*")],
                    ..Identity::default()
                };
                m.identities.insert("staff:{subject}x".to_owned(), other);
            }),
            ("tie between a group of its own and a mapped one", |m| {
                robot(m).keys.push(subject("idp", "robot-7"));
                let mut tie = grant(to_groups(&["dba"]), vec![exact("shared")], "reader");
                tie.access = Access::ReadOnly;
                m.grants.insert("tie-1".to_owned(), tie);
                let other = grant(to_groups(&["robots"]), vec![exact("shared")], "reader");
                m.grants.insert("tie-2".to_owned(), other);
            }),
            ("iterations of a second rule", |m| {
                m.authentication[4].scram_iterations = 8_192
            }),
        ];
        for (what, spoil) in breaks {
            let mut model = policy();
            spoil(&mut model);
            let wanted = check(&model);
            assert!(!wanted.is_empty(), "{what}: the judge has nothing against it");
            assert_eq!(loaded(&model), Err(wanted), "{what}");
        }
    }

    #[test]
    fn the_same_name_under_another_provider_is_no_fault() {
        let mut model = policy();
        robot(&mut model).keys[2] = common_name("partner", "robot 50");
        assert_eq!((check(&model), loaded(&model)), (vec![], Ok(())));
    }

    fn robot(model: &mut Model) -> &mut Identity {
        model.identities.get_mut("robot-07").unwrap()
    }

    fn rename(model: &mut Model, name: &str) {
        let robot = model.identities.remove("robot-07").unwrap();
        model.identities.insert(name.to_owned(), robot);
    }

    fn subject(provider: &str, pattern: &str) -> IdentityKey {
        IdentityKey::Subject {
            provider: provider.to_owned(),
            pattern: pattern.to_owned(),
        }
    }

    fn common_name(provider: &str, name: &str) -> IdentityKey {
        IdentityKey::CommonName {
            provider: provider.to_owned(),
            name: name.to_owned(),
        }
    }
}
