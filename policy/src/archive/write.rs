//! Model to archive. Walks the model's ordered maps, so equal models give equal tables.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use super::keys::identity_hash;
use super::layout::*;
use super::reach::{MAX_NAME, Pattern, ReachIndex, Rule, Subject};
use super::strings::Strings;
use super::table::HashTable;
use super::zones;
use crate::compile::CompileFault;
use crate::model::{
    AuthenticationRule, ClusterChoice, Conditions, Deny, Grant, Identity, IdentityKey, Model, NamePattern, Revocation,
    Subjects, WeeklyHours,
};

impl Image {
    pub fn of(model: &Model) -> Result<Self, CompileFault> {
        let mut writer = Writer::new(model);
        writer.groups();
        writer.group_mappings()?;
        writer.revocations()?;
        writer.identities()?;
        let grants = writer.grants()?;
        let denies = writer.denies()?;
        writer.mark_named_identities(&grants, &denies);
        writer.image.grant_index = ReachIndex::build(&grants, model.groups.len());
        writer.image.deny_index = ReachIndex::build(&denies, model.groups.len());
        writer.image.providers = model
            .providers
            .iter()
            .map(|(name, provider)| writer.strings.provider(name, provider))
            .collect();
        writer.image.clusters = model
            .clusters
            .iter()
            .map(|(name, cluster)| writer.strings.cluster(name, cluster))
            .collect();
        writer.image.authentication = model
            .authentication
            .iter()
            .map(|rule| writer.rule(rule))
            .collect::<Result<_, _>>()?;
        writer.finish()
    }
}

struct Writer<'a> {
    model: &'a Model,
    image: Image,
    strings: Strings<'a>,
    group_numbers: HashMap<&'a str, u32>,
    provider_numbers: BTreeMap<&'a str, u32>,
    cluster_numbers: BTreeMap<&'a str, u32>,
    zone_numbers: BTreeMap<&'a str, u32>,
    /// Names in the order of `Image::identities`.
    identity_order: Vec<&'a str>,
}

impl<'a> Writer<'a> {
    fn new(model: &'a Model) -> Self {
        Self {
            model,
            image: Image::default(),
            strings: Strings::default(),
            group_numbers: (0u32..)
                .zip(&model.groups)
                .map(|(number, name)| (name.as_str(), number))
                .collect(),
            provider_numbers: (0u32..)
                .zip(model.providers.keys())
                .map(|(number, name)| (name.as_str(), number))
                .collect(),
            cluster_numbers: (0u32..)
                .zip(model.clusters.keys())
                .map(|(number, name)| (name.as_str(), number))
                .collect(),
            zone_numbers: BTreeMap::new(),
            identity_order: model.identities.keys().map(String::as_str).collect(),
        }
    }

    fn finish(mut self) -> Result<Image, CompileFault> {
        self.image.identity_index = HashTable::build(self.identity_order.iter().map(|name| identity_hash(name)));
        self.image.strings = self.strings.finish();
        self.image.keys.index(&self.image.strings);
        Ok(self.image)
    }

    fn groups(&mut self) {
        self.image.groups = self.model.groups.iter().map(|name| self.strings.add(name)).collect();
    }

    fn group_mappings(&mut self) -> Result<(), CompileFault> {
        for mapping in &self.model.group_mappings {
            let record = GroupMappingRecord {
                provider: self.provider(&mapping.provider)?,
                external: self.strings.add(&mapping.external),
                group: self.group(&mapping.group)?,
            };
            self.image.group_mappings.push(record);
        }
        Ok(())
    }

    fn revocations(&mut self) -> Result<(), CompileFault> {
        for (name, revocation) in &self.model.revocations {
            let record = self.revocation(name, revocation)?;
            self.image.revocations.push(record);
        }
        Ok(())
    }

    fn revocation(&mut self, name: &'a str, revocation: &'a Revocation) -> Result<RevocationRecord, CompileFault> {
        let mut texts = |set: &'a std::collections::BTreeSet<String>| -> Vec<Text> {
            set.iter().map(|text| self.strings.add(text)).collect()
        };
        Ok(RevocationRecord {
            token_ids: texts(&revocation.token_ids),
            subjects: texts(&revocation.subjects),
            key_ids: texts(&revocation.key_ids),
            name: self.strings.add(name),
            provider: self.provider(&revocation.provider)?,
            issued_before: revocation.issued_before.map(|moment| moment.0),
        })
    }

    fn identities(&mut self) -> Result<(), CompileFault> {
        self.image.identities.reserve(self.model.identities.len());
        for (number, (name, identity)) in (0u32..).zip(&self.model.identities) {
            let record = self.identity(number, name, identity)?;
            self.image.identities.push(record);
        }
        Ok(())
    }

    fn identity(&mut self, number: u32, name: &'a str, identity: &'a Identity) -> Result<IdentityRecord, CompileFault> {
        let mut record = IdentityRecord {
            name: self.strings.add(name),
            aliases: self.image.aliases.len() as u32,
            alias_count: small(identity.aliases.len(), "aliases of one identity")?,
            keys: self.image.identity_keys.len() as u32,
            key_count: small(identity.keys.len(), "keys of one identity")?,
            group_count: identity.groups.len() as u32,
            ..IdentityRecord::default()
        };
        for alias in &identity.aliases {
            let alias = self.strings.add(alias);
            self.image.aliases.push(alias);
        }
        for key in &identity.keys {
            let reference = self.key(number, key)?;
            self.image.identity_keys.push(reference);
        }
        self.membership(identity, &mut record)?;
        if let Some(verifier) = &identity.scram {
            self.image.scram.push(ScramRecord {
                iterations: verifier.iterations,
                salt: verifier.salt.clone(),
                stored_key: verifier.stored_key,
                server_key: verifier.server_key,
            });
            record.scram = self.image.scram.len() as u32;
        }
        Ok(record)
    }

    fn membership(&mut self, identity: &'a Identity, record: &mut IdentityRecord) -> Result<(), CompileFault> {
        let numbers = identity
            .groups
            .iter()
            .map(|group| self.group(group))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(inline) = record.groups.get_mut(..numbers.len()) {
            inline.copy_from_slice(&numbers);
        } else {
            record.groups[0] = self.image.identity_groups.len() as u32;
            self.image.identity_groups.extend_from_slice(&numbers);
        }
        Ok(())
    }

    fn key(&mut self, owner: u32, key: &'a IdentityKey) -> Result<KeyReference, CompileFault> {
        let tables = &mut self.image.keys;
        let (kind, place) = match key {
            IdentityKey::Fingerprint(digest) => (
                key_kind::FINGERPRINT,
                file(&mut tables.fingerprints, PinRecord { digest: *digest, owner }),
            ),
            IdentityKey::PublicKey(digest) => (
                key_kind::PUBLIC_KEY,
                file(&mut tables.public_keys, PinRecord { digest: *digest, owner }),
            ),
            IdentityKey::Uri { provider, pattern } => {
                let record = self.name(owner, provider, pattern)?;
                let tables = &mut self.image.keys;
                if ShapeRecord::of(pattern).is_some() {
                    (key_kind::URI_PATTERN, file(&mut tables.uri_patterns, record))
                } else {
                    (key_kind::URI, file(&mut tables.uris, record))
                }
            }
            IdentityKey::Dns { provider, name } => {
                let record = self.name(owner, provider, name)?;
                (key_kind::DNS, file(&mut self.image.keys.dns, record))
            }
            IdentityKey::CommonName { provider, name } => {
                let record = self.name(owner, provider, name)?;
                (key_kind::COMMON_NAME, file(&mut self.image.keys.common_names, record))
            }
            IdentityKey::Subject { provider, pattern } => {
                let record = self.name(owner, provider, pattern)?;
                let tables = &mut self.image.keys;
                if pattern.contains('*') {
                    (key_kind::SUBJECT_PATTERN, file(&mut tables.subject_patterns, record))
                } else {
                    (key_kind::SUBJECT, file(&mut tables.subjects, record))
                }
            }
        };
        Ok(KeyReference { kind, place })
    }

    fn name(&mut self, owner: u32, provider: &'a str, text: &'a str) -> Result<NameRecord, CompileFault> {
        Ok(NameRecord {
            provider: self.provider(provider)?,
            text: self.strings.add(text),
            owner,
        })
    }

    fn grants(&mut self) -> Result<Vec<Rule<'a>>, CompileFault> {
        self.model
            .grants
            .iter()
            .map(|(name, grant)| self.grant(name, grant))
            .collect()
    }

    fn grant(&mut self, name: &'a str, grant: &'a Grant) -> Result<Rule<'a>, CompileFault> {
        let (cluster, tenant) = match &grant.cluster {
            ClusterChoice::Named(name) => (self.cluster(name)?, None),
            ClusterChoice::ByTenant(template) => (BY_TENANT, Some(self.strings.add(&template.0))),
        };
        let record = GrantRecord {
            conditions: self.conditions(&grant.conditions)?,
            role: self.strings.add(&grant.role),
            name: self.strings.add(name),
            cluster,
            access: grant.access.into(),
            replication: grant.replication.into(),
            certificate: grant.proofs.certificate,
            scram: grant.proofs.scram,
            key_bound: grant.proofs.key_bound,
            token: grant.proofs.token,
            webhook: grant.proofs.webhook,
            spare: [0; 1],
            proof_conditions: self.proof_conditions(&grant.conditions),
        };
        let (rule, subjects, databases) = self.reach(&grant.subjects, &grant.databases)?;
        let settings = grant
            .settings
            .iter()
            .map(|(key, value)| (self.strings.add(key), self.strings.add(&value.0)))
            .collect();
        self.image.grants.push(record);
        self.image.grant_details.push(GrantDetail {
            subjects,
            databases,
            settings,
            tenant,
            connect_database: grant
                .connect_database
                .as_ref()
                .map(|template| self.strings.add(&template.0)),
            on_expiry: grant.on_expiry.into(),
            expiry_notice: grant.expiry_notice,
            sessions: grant.limits.sessions,
            session_length: grant.limits.session_length,
            idle: grant.limits.idle,
        });
        Ok(rule)
    }

    fn denies(&mut self) -> Result<Vec<Rule<'a>>, CompileFault> {
        self.model
            .denies
            .iter()
            .map(|(name, deny)| self.deny(name, deny))
            .collect()
    }

    fn deny(&mut self, name: &'a str, deny: &'a Deny) -> Result<Rule<'a>, CompileFault> {
        let conditions = self.conditions(&deny.conditions)?;
        let proof_conditions = self.proof_conditions(&deny.conditions);
        let name = self.strings.add(name);
        let (mut rule, subjects, databases) = self.reach(&deny.subjects, &deny.databases)?;
        rule.reach_every_database_if_none();
        self.image.denies.push(DenyRecord {
            conditions,
            name,
            subjects,
            databases,
            proof_conditions,
        });
        Ok(rule)
    }

    /// As grants and denies refer to it: one more than its place, zero where it is empty.
    fn proof_conditions(&mut self, conditions: &'a Conditions) -> u32 {
        let record = ProofConditionsRecord {
            claims: self.strings.claim_tests(&conditions.claims),
            certificate: self.strings.claim_tests(&conditions.certificate),
            token_max_age: conditions.token_max_age,
        };
        if record.claims.is_empty() && record.certificate.is_empty() && record.token_max_age.is_none() {
            return 0;
        }
        file(&mut self.image.proof_conditions, record) + 1
    }

    fn reach(
        &mut self,
        subjects: &'a Subjects,
        databases: &'a [NamePattern],
    ) -> Result<(Rule<'a>, SubjectsRecord, Span), CompileFault> {
        let identities = subjects
            .identities
            .iter()
            .map(|name| self.identity_number(name))
            .collect::<Result<Vec<_>, _>>()?;
        let groups = subjects
            .groups
            .iter()
            .map(|name| self.group(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut rule = Rule {
            subjects: Vec::new(),
            databases: Vec::new(),
        };
        rule.subjects
            .extend(identities.iter().map(|number| Subject::Identity(*number)));
        rule.subjects
            .extend(groups.iter().map(|number| Subject::Group(*number)));
        rule.subjects.extend(subjects.everyone.then_some(Subject::Everyone));
        let record = SubjectsRecord {
            identities: append(&mut self.image.subject_identities, &identities),
            groups: append(&mut self.image.subject_groups, &groups),
            everyone: subjects.everyone,
        };
        let mut patterns = Vec::with_capacity(databases.len());
        for pattern in databases {
            let record = self.strings.pattern(pattern);
            rule.databases.push(reach_pattern(pattern, record)?);
            patterns.push(record);
        }
        let databases = append(&mut self.image.patterns, &patterns);
        Ok((rule, record, databases))
    }

    fn mark_named_identities(&mut self, grants: &[Rule<'_>], denies: &[Rule<'_>]) {
        for subject in grants.iter().flat_map(|rule| &rule.subjects) {
            if let Subject::Identity(number) = subject {
                self.image.identities[*number as usize].has_grants = 1;
            }
        }
        for subject in denies.iter().flat_map(|rule| &rule.subjects) {
            if let Subject::Identity(number) = subject {
                self.image.identities[*number as usize].has_denies = 1;
            }
        }
    }

    fn conditions(&mut self, conditions: &'a Conditions) -> Result<ConditionsRecord, CompileFault> {
        let networks = self.networks(&conditions.networks);
        let hours = conditions
            .hours
            .iter()
            .map(|hours| self.hours(hours))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(ConditionsRecord {
            not_before: conditions.not_before.map_or(i64::MIN, |moment| moment.0),
            not_after: conditions.not_after.map_or(i64::MAX, |moment| moment.0),
            networks: NetworkSpan {
                start: networks.start,
                length: small(conditions.networks.len(), "networks of one rule")?,
                unix: u16::from(conditions.unix),
            },
            hours: append(&mut self.image.hours, &hours),
        })
    }

    fn networks(&mut self, networks: &[IpNet]) -> Span {
        let records: Vec<NetworkRecord> = networks.iter().map(NetworkRecord::of).collect();
        append(&mut self.image.networks, &records)
    }

    fn hours(&mut self, hours: &'a WeeklyHours) -> Result<HoursRecord, CompileFault> {
        let zone = match self.zone_numbers.get(hours.zone.as_str()) {
            Some(known) => *known,
            None => self.zone(&hours.zone)?,
        };
        Ok(HoursRecord {
            from: hours.from,
            to: hours.to,
            zone,
        })
    }

    fn zone(&mut self, name: &'a str) -> Result<u32, CompileFault> {
        let transitions = zones::transitions(name).ok_or_else(|| CompileFault::dangling("time zone", name))?;
        let record = ZoneRecord {
            name: self.strings.add(name),
            transitions: append(&mut self.image.transitions, &transitions),
        };
        let number = file(&mut self.image.zones, record);
        self.zone_numbers.insert(name, number);
        Ok(number)
    }

    fn rule(&mut self, rule: &'a AuthenticationRule) -> Result<RuleRecord, CompileFault> {
        Ok(RuleRecord {
            providers: rule
                .providers
                .iter()
                .map(|name| self.provider(name))
                .collect::<Result<_, _>>()?,
            discovery: rule.discovery.as_deref().map(|name| self.provider(name)).transpose()?,
            answer_floor: rule.answer_floor,
            name: self.strings.add(&rule.name),
            listeners: rule.listeners.iter().map(|name| self.strings.add(name)).collect(),
            transport: rule.transport.into(),
            networks: self.networks(&rule.networks),
            databases: rule.databases.iter().map(|name| self.strings.pattern(name)).collect(),
            users: rule.users.iter().map(|name| self.strings.pattern(name)).collect(),
            method: rule.method.into(),
            scram_iterations: rule.scram_iterations,
        })
    }

    fn provider(&self, name: &str) -> Result<u32, CompileFault> {
        self.provider_numbers
            .get(name)
            .copied()
            .ok_or_else(|| CompileFault::dangling("provider", name))
    }

    fn cluster(&self, name: &str) -> Result<u32, CompileFault> {
        self.cluster_numbers
            .get(name)
            .copied()
            .ok_or_else(|| CompileFault::dangling("cluster", name))
    }

    fn group(&self, name: &str) -> Result<u32, CompileFault> {
        self.group_numbers
            .get(name)
            .copied()
            .ok_or_else(|| CompileFault::dangling("group", name))
    }

    fn identity_number(&self, name: &str) -> Result<u32, CompileFault> {
        let place = self.identity_order.binary_search(&name);
        place
            .map(|number| number as u32)
            .map_err(|_| CompileFault::dangling("identity", name))
    }
}

fn reach_pattern(pattern: &NamePattern, record: PatternRecord) -> Result<(Pattern<'_>, Text), CompileFault> {
    let reach = match (pattern, record) {
        (NamePattern::Exact(name), PatternRecord::Exact(text)) => (Pattern::Exact(name), text),
        (NamePattern::Prefix(prefix), PatternRecord::Prefix(text)) => (Pattern::Prefix(prefix), text),
        (NamePattern::Exact(_) | NamePattern::Prefix(_) | NamePattern::Any, _) => (Pattern::Any, Text::default()),
    };
    match reach.0 {
        Pattern::Exact(name) | Pattern::Prefix(name) if name.len() > MAX_NAME => {
            Err(CompileFault::NameTooLong { name: name.to_owned() })
        }
        Pattern::Exact(_) | Pattern::Prefix(_) | Pattern::Any => Ok(reach),
    }
}

/// Puts `record` at the end of its table and says where that is.
fn file<T>(table: &mut Vec<T>, record: T) -> u32 {
    table.push(record);
    table.len() as u32 - 1
}

fn append<T: Copy>(table: &mut Vec<T>, records: &[T]) -> Span {
    let start = table.len() as u32;
    table.extend_from_slice(records);
    Span {
        start,
        length: records.len() as u32,
    }
}

fn small(count: usize, what: &'static str) -> Result<u16, CompileFault> {
    u16::try_from(count).map_err(|_| CompileFault::TooMany { what, count })
}
