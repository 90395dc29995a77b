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
    trust_domains: Vec<&'a BTreeSet<String>>,
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
            trust_domains: model
                .providers
                .values()
                .map(|Provider::CertificateAuthority(authority)| &authority.trust_domains)
                .collect(),
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
        Ok(value::object_name(self.image.text(&record.name)?).is_ok() && all(aliases, is_plain)?)
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
            key_kind::DNS => key::dns_name(self.image.text(&name(&tables.dns)?.text)?).is_ok(),
            key_kind::COMMON_NAME => key::common_name(self.image.text(&name(&tables.common_names)?.text)?).is_ok(),
            // Patterns are few, and each may overlap with any other.
            key_kind::URI_PATTERN => false,
            6.. => return Err(Astray),
        })
    }

    fn is_plain_uri(&self, record: &ArchivedNameRecord) -> Read<bool> {
        let uri = self.image.text(&record.text)?;
        let domains = self
            .trust_domains
            .get(record.provider.to_native() as usize)
            .ok_or(Astray)?;
        Ok(key::uri_pattern(uri, domains).is_ok())
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
