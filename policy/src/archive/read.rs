//! Archive to model: what a snapshot says, in the words in which policies are checked and explained.
//!
//! Every reference is followed with its bounds checked, so this works on an archive of which only the layout is known.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::layout::*;
use super::strings::try_text_of;
use crate::model::{
    Access, AuthenticationRule, CertificateAuthority, ClaimTest, Cluster, ClusterChoice, Conditions, Deny, Endpoint,
    Glob, Grant, GroupMapping, Identity, IdentityKey, KeySource, Limits, Model, NamePattern, Provider, RequiredProofs,
    Revocation, RoleCredential, ScramVerifier, ServerTls, Subjects, TokenForm, TokenIssuer, Webhook, WeeklyHours,
};
use crate::template::Template;
use crate::time::Utc;

/// A number or a place of the archive that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reference inside the snapshot leads nowhere")]
pub struct Astray;

type Read<T> = Result<T, Astray>;

impl ArchivedImage {
    /// The whole policy. Costs memory and time by the identity: for people and tests, not for decisions.
    pub fn model(&self) -> Read<Model> {
        let mut model = self.model_without_identities()?;
        for record in self.identities.iter() {
            model
                .identities
                .insert(self.owned(&record.name)?, self.identity(record)?);
        }
        Ok(model)
    }

    /// Everything but the identities: small however many there are.
    pub fn model_without_identities(&self) -> Read<Model> {
        let details = self.grant_details.iter();
        Ok(Model {
            providers: self
                .providers
                .iter()
                .map(|record| self.provider(record))
                .collect::<Read<_>>()?,
            identities: BTreeMap::new(),
            groups: self.groups.iter().map(|name| self.owned(name)).collect::<Read<_>>()?,
            group_mappings: self
                .group_mappings
                .iter()
                .map(|record| self.group_mapping(record))
                .collect::<Read<_>>()?,
            revocations: self
                .revocations
                .iter()
                .map(|record| self.revocation(record))
                .collect::<Read<_>>()?,
            clusters: self
                .clusters
                .iter()
                .map(|record| self.cluster(record))
                .collect::<Read<_>>()?,
            grants: self
                .grants
                .iter()
                .zip(details)
                .map(|(record, detail)| self.grant(record, detail))
                .collect::<Read<_>>()?,
            denies: self
                .denies
                .iter()
                .map(|record| self.deny(record))
                .collect::<Read<_>>()?,
            authentication: self
                .authentication
                .iter()
                .map(|record| self.rule(record))
                .collect::<Read<_>>()?,
        })
    }

    pub fn identity(&self, record: &ArchivedIdentityRecord) -> Read<Identity> {
        Ok(Identity {
            aliases: self
                .aliases_of(record)?
                .iter()
                .map(|alias| self.owned(alias))
                .collect::<Read<_>>()?,
            groups: self
                .groups_of(record)?
                .iter()
                .map(|group| self.group_name(group.to_native()))
                .collect::<Read<_>>()?,
            keys: self
                .keys_of(record)?
                .iter()
                .map(|key| self.key(key))
                .collect::<Read<_>>()?,
            scram: self.verifier_of(record)?.map(ArchivedScramRecord::model),
        })
    }

    pub fn groups_of<'a>(&'a self, record: &'a ArchivedIdentityRecord) -> Read<&'a [rkyv::rend::u32_le]> {
        let count = record.group_count.to_native();
        match record.groups.get(..count as usize) {
            Some(inline) => Ok(inline),
            None => piece(&self.identity_groups, record.groups[0].to_native(), count),
        }
    }

    pub fn aliases_of(&self, record: &ArchivedIdentityRecord) -> Read<&[ArchivedText]> {
        piece(
            &self.aliases,
            record.aliases.to_native(),
            record.alias_count.to_native().into(),
        )
    }

    pub fn keys_of(&self, record: &ArchivedIdentityRecord) -> Read<&[ArchivedKeyReference]> {
        piece(
            &self.identity_keys,
            record.keys.to_native(),
            record.key_count.to_native().into(),
        )
    }

    pub fn verifier_of(&self, record: &ArchivedIdentityRecord) -> Read<Option<&ArchivedScramRecord>> {
        match record.scram.to_native().checked_sub(1) {
            None => Ok(None),
            Some(place) => self.scram.get(place as usize).map(Some).ok_or(Astray),
        }
    }

    pub fn text(&self, text: &ArchivedText) -> Read<&str> {
        try_text_of(&self.strings, text).ok_or(Astray)
    }

    pub fn networks_of(&self, span: &ArchivedNetworkSpan) -> Read<&[ArchivedNetworkRecord]> {
        piece(&self.networks, span.start.to_native(), span.length.to_native().into())
    }

    pub fn subject_identities_of(&self, subjects: &ArchivedSubjectsRecord) -> Read<&[rkyv::rend::u32_le]> {
        span(&self.subject_identities, &subjects.identities)
    }

    pub fn subject_groups_of(&self, subjects: &ArchivedSubjectsRecord) -> Read<&[rkyv::rend::u32_le]> {
        span(&self.subject_groups, &subjects.groups)
    }

    pub fn patterns_of(&self, place: &ArchivedSpan) -> Read<&[ArchivedPatternRecord]> {
        span(&self.patterns, place)
    }

    pub fn hours_of(&self, place: &ArchivedSpan) -> Read<&[ArchivedHoursRecord]> {
        span(&self.hours, place)
    }

    pub fn transitions_of(&self, zone: &ArchivedZoneRecord) -> Read<&[ArchivedTransitionRecord]> {
        span(&self.transitions, &zone.transitions)
    }

    fn key(&self, reference: &ArchivedKeyReference) -> Read<IdentityKey> {
        let place = reference.place.to_native() as usize;
        let (tables, kind) = (&self.keys, reference.kind.to_native());
        let named = |table: &[ArchivedNameRecord]| {
            let record = table.get(place).ok_or(Astray)?;
            Ok((
                self.provider_name(record.provider.to_native())?,
                self.owned(&record.text)?,
            ))
        };
        Ok(match kind {
            key_kind::FINGERPRINT => IdentityKey::Fingerprint(tables.fingerprints.get(place).ok_or(Astray)?.digest),
            key_kind::PUBLIC_KEY => IdentityKey::PublicKey(tables.public_keys.get(place).ok_or(Astray)?.digest),
            key_kind::URI => named(&tables.uris).map(|(provider, pattern)| IdentityKey::Uri { provider, pattern })?,
            key_kind::URI_PATTERN => {
                named(&tables.uri_patterns).map(|(provider, pattern)| IdentityKey::Uri { provider, pattern })?
            }
            key_kind::DNS => named(&tables.dns).map(|(provider, name)| IdentityKey::Dns { provider, name })?,
            key_kind::COMMON_NAME => {
                named(&tables.common_names).map(|(provider, name)| IdentityKey::CommonName { provider, name })?
            }
            key_kind::SUBJECT => {
                named(&tables.subjects).map(|(provider, pattern)| IdentityKey::Subject { provider, pattern })?
            }
            key_kind::SUBJECT_PATTERN => {
                named(&tables.subject_patterns).map(|(provider, pattern)| IdentityKey::Subject { provider, pattern })?
            }
            8.. => return Err(Astray),
        })
    }

    fn provider(&self, record: &ArchivedProviderRecord) -> Read<(String, Provider)> {
        let provider = match &record.kind {
            ArchivedProviderKind::CertificateAuthority(authority) => {
                Provider::CertificateAuthority(self.certificate_authority(authority)?)
            }
            ArchivedProviderKind::Tokens(issuer) => Provider::Tokens(self.token_issuer(issuer)?),
            ArchivedProviderKind::Webhook(webhook) => Provider::Webhook(self.webhook(webhook)?),
        };
        Ok((self.owned(&record.name)?, provider))
    }

    fn certificate_authority(&self, authority: &ArchivedAuthorityRecord) -> Read<CertificateAuthority> {
        Ok(CertificateAuthority {
            roots: ders(&authority.roots),
            crls: ders(&authority.crls),
            crl: authority.crl.into(),
            crl_max_age: number(&authority.crl_max_age),
            trust_domains: self.all(&authority.trust_domains)?,
        })
    }

    pub fn token_issuer(&self, issuer: &ArchivedTokenIssuerRecord) -> Read<TokenIssuer> {
        Ok(TokenIssuer {
            form: match &issuer.form {
                ArchivedTokenFormRecord::Oidc { issuer } => TokenForm::Oidc {
                    issuer: self.owned(issuer)?,
                },
                ArchivedTokenFormRecord::JwtSvid { trust_domains } => TokenForm::JwtSvid {
                    trust_domains: self.all(trust_domains)?,
                },
            },
            audiences: self.all(&issuer.audiences)?,
            keys: match &issuer.keys {
                ArchivedKeySourceRecord::Discovery => KeySource::Discovery,
                ArchivedKeySourceRecord::Url { url } => KeySource::Url(self.owned(url)?),
                ArchivedKeySourceRecord::Inline { jwks } => KeySource::Inline(jwks.to_vec()),
            },
            algorithms: issuer.algorithms.iter().map(|algorithm| (*algorithm).into()).collect(),
            types: self.all(&issuer.types)?,
            clock_skew: issuer.clock_skew.to_native(),
            max_age: number(&issuer.max_age),
            required_claims: self.claim_tests(&issuer.required_claims)?,
            subject_claim: self.owned(&issuer.subject_claim)?,
            groups_claim: self.optional(&issuer.groups_claim)?,
            one_time: issuer.one_time,
            scope: self.owned(&issuer.scope)?,
            roots: ders(&issuer.roots),
            refresh: issuer.refresh.to_native(),
            keys_max_age: issuer.keys_max_age.to_native(),
        })
    }

    pub fn webhook(&self, webhook: &ArchivedWebhookRecord) -> Read<Webhook> {
        Ok(Webhook {
            url: self.owned(&webhook.url)?,
            roots: ders(&webhook.roots),
            authorization_file: self.optional(&webhook.authorization_file)?,
            deadline: webhook.deadline.to_native(),
            concurrency: webhook.concurrency.to_native(),
            cache_max_age: webhook.cache_max_age.to_native(),
        })
    }

    fn group_mapping(&self, record: &ArchivedGroupMappingRecord) -> Read<GroupMapping> {
        Ok(GroupMapping {
            provider: self.provider_name(record.provider.to_native())?,
            external: self.owned(&record.external)?,
            group: self.group_name(record.group.to_native())?,
        })
    }

    fn revocation(&self, record: &ArchivedRevocationRecord) -> Read<(String, Revocation)> {
        let revocation = Revocation {
            provider: self.provider_name(record.provider.to_native())?,
            token_ids: self.all(&record.token_ids)?,
            subjects: self.all(&record.subjects)?,
            key_ids: self.all(&record.key_ids)?,
            issued_before: record.issued_before.as_ref().map(|moment| Utc(moment.to_native())),
        };
        Ok((self.owned(&record.name)?, revocation))
    }

    fn claim_tests(&self, records: &[ArchivedClaimTestRecord]) -> Read<BTreeMap<String, ClaimTest>> {
        records.iter().map(|record| self.claim_test(record)).collect()
    }

    fn claim_test(&self, record: &ArchivedClaimTestRecord) -> Read<(String, ClaimTest)> {
        let mut patterns = record.patterns.iter().map(|pattern| self.owned(pattern).map(Glob));
        let test = match record.has_one_of {
            true => ClaimTest::HasOneOf(patterns.collect::<Read<_>>()?),
            false => ClaimTest::Is(patterns.next().ok_or(Astray)??),
        };
        Ok((self.owned(&record.name)?, test))
    }

    /// Conditions on the proof, where a grant or deny has any.
    pub fn proof_conditions_of(&self, place: rkyv::rend::u32_le) -> Read<Option<&ArchivedProofConditionsRecord>> {
        match place.to_native().checked_sub(1) {
            None => Ok(None),
            Some(place) => self.proof_conditions.get(place as usize).map(Some).ok_or(Astray),
        }
    }

    fn cluster(&self, record: &ArchivedClusterRecord) -> Read<(String, Cluster)> {
        let cluster = Cluster {
            tenant: self.optional(&record.tenant)?,
            endpoints: record
                .endpoints
                .iter()
                .map(|endpoint| self.endpoint(endpoint))
                .collect::<Read<_>>()?,
            tls: ServerTls {
                mode: record.tls.mode.into(),
                roots: record.tls.roots.iter().map(|der| der.to_vec()).collect(),
                server_name: self.optional(&record.tls.server_name)?,
                pinned_key: record.tls.pinned_key.as_ref().copied(),
                common_name: self.optional(&record.tls.common_name)?,
            },
            connect_timeout: record.connect_timeout.to_native(),
            login_timeout: record.login_timeout.to_native(),
            postern_settings: record.postern_settings,
            roles: record.roles.iter().map(|role| self.role(role)).collect::<Read<_>>()?,
        };
        Ok((self.owned(&record.name)?, cluster))
    }

    pub fn endpoint(&self, record: &ArchivedEndpointRecord) -> Read<Endpoint> {
        Ok(match record {
            ArchivedEndpointRecord::Tcp { host, port } => Endpoint::Tcp {
                host: self.owned(host)?,
                port: port.to_native(),
            },
            ArchivedEndpointRecord::Unix { path } => Endpoint::Unix {
                path: self.owned(path)?,
            },
        })
    }

    fn role(&self, record: &ArchivedRoleRecord) -> Read<(String, RoleCredential)> {
        let credential = RoleCredential {
            password_file: self.optional(&record.password_file)?,
            certificate_file: self.optional(&record.certificate_file)?,
            key_file: self.optional(&record.key_file)?,
            methods: record.methods.iter().map(|method| (*method).into()).collect(),
        };
        Ok((self.owned(&record.name)?, credential))
    }

    fn grant(&self, record: &ArchivedGrantRecord, detail: &ArchivedGrantDetail) -> Read<(String, Grant)> {
        let setting =
            |pair: &rkyv::tuple::ArchivedTuple2<_, _>| Ok((self.owned(&pair.0)?, Template(self.owned(&pair.1)?)));
        let grant = Grant {
            subjects: self.subjects(&detail.subjects)?,
            databases: self.databases(&detail.databases)?,
            cluster: self.cluster_choice(record, detail)?,
            connect_database: self.optional(&detail.connect_database)?.map(Template),
            role: self.owned(&record.role)?,
            access: Access::from(record.access),
            conditions: self.conditions_with(&record.conditions, record.proof_conditions)?,
            proofs: RequiredProofs {
                certificate: record.certificate,
                scram: record.scram,
                token: record.token,
                webhook: record.webhook,
                key_bound: record.key_bound,
            },
            replication: record.replication.into(),
            limits: detail.limits(),
            on_expiry: detail.on_expiry.into(),
            expiry_notice: number(&detail.expiry_notice),
            settings: detail.settings.iter().map(setting).collect::<Read<_>>()?,
        };
        Ok((self.owned(&record.name)?, grant))
    }

    fn cluster_choice(&self, record: &ArchivedGrantRecord, detail: &ArchivedGrantDetail) -> Read<ClusterChoice> {
        match (record.cluster.to_native(), self.optional(&detail.tenant)?) {
            (BY_TENANT, Some(tenant)) => Ok(ClusterChoice::ByTenant(Template(tenant))),
            (BY_TENANT, None) | (_, Some(_)) => Err(Astray),
            (number, None) => {
                let cluster = self.clusters.get(number as usize).ok_or(Astray)?;
                Ok(ClusterChoice::Named(self.owned(&cluster.name)?))
            }
        }
    }

    fn deny(&self, record: &ArchivedDenyRecord) -> Read<(String, Deny)> {
        let deny = Deny {
            subjects: self.subjects(&record.subjects)?,
            databases: self.databases(&record.databases)?,
            conditions: self.conditions_with(&record.conditions, record.proof_conditions)?,
        };
        Ok((self.owned(&record.name)?, deny))
    }

    fn rule(&self, record: &ArchivedRuleRecord) -> Read<AuthenticationRule> {
        Ok(AuthenticationRule {
            name: self.owned(&record.name)?,
            listeners: record
                .listeners
                .iter()
                .map(|name| self.owned(name))
                .collect::<Read<BTreeSet<_>>>()?,
            transport: record.transport.into(),
            networks: span(&self.networks, &record.networks)?
                .iter()
                .map(network)
                .collect::<Read<_>>()?,
            databases: record
                .databases
                .iter()
                .map(|name| self.pattern(name))
                .collect::<Read<_>>()?,
            users: record
                .users
                .iter()
                .map(|name| self.pattern(name))
                .collect::<Read<_>>()?,
            method: record.method.into(),
            scram_iterations: record.scram_iterations.to_native(),
            providers: record
                .providers
                .iter()
                .map(|number| self.provider_name(number.to_native()))
                .collect::<Read<_>>()?,
            discovery: record
                .discovery
                .as_ref()
                .map(|number| self.provider_name(number.to_native()))
                .transpose()?,
            answer_floor: record.answer_floor.to_native(),
        })
    }

    fn subjects(&self, record: &ArchivedSubjectsRecord) -> Read<Subjects> {
        let identity = |number: &rkyv::rend::u32_le| {
            self.owned(&self.identities.get(number.to_native() as usize).ok_or(Astray)?.name)
        };
        Ok(Subjects {
            identities: self
                .subject_identities_of(record)?
                .iter()
                .map(identity)
                .collect::<Read<_>>()?,
            groups: self
                .subject_groups_of(record)?
                .iter()
                .map(|group| self.group_name(group.to_native()))
                .collect::<Read<_>>()?,
            everyone: record.everyone,
        })
    }

    fn databases(&self, place: &ArchivedSpan) -> Read<Vec<NamePattern>> {
        self.patterns_of(place)?
            .iter()
            .map(|pattern| self.pattern(pattern))
            .collect()
    }

    fn pattern(&self, record: &ArchivedPatternRecord) -> Read<NamePattern> {
        Ok(match record {
            ArchivedPatternRecord::Exact(name) => NamePattern::Exact(self.owned(name)?),
            ArchivedPatternRecord::Prefix(prefix) => NamePattern::Prefix(self.owned(prefix)?),
            ArchivedPatternRecord::Any => NamePattern::Any,
        })
    }

    fn conditions_with(&self, record: &ArchivedConditionsRecord, proof: rkyv::rend::u32_le) -> Read<Conditions> {
        let conditions = self.conditions(record)?;
        Ok(match self.proof_conditions_of(proof)? {
            None => conditions,
            Some(proof) => Conditions {
                claims: self.claim_tests(&proof.claims)?,
                certificate: self.claim_tests(&proof.certificate)?,
                token_max_age: number(&proof.token_max_age),
                ..conditions
            },
        })
    }

    fn conditions(&self, record: &ArchivedConditionsRecord) -> Read<Conditions> {
        let moment = |at: i64, none: i64| (at != none).then_some(Utc(at));
        Ok(Conditions {
            networks: self
                .networks_of(&record.networks)?
                .iter()
                .map(network)
                .collect::<Read<_>>()?,
            unix: record.networks.unix.to_native() != 0,
            not_before: moment(record.not_before.to_native(), i64::MIN),
            not_after: moment(record.not_after.to_native(), i64::MAX),
            hours: self
                .hours_of(&record.hours)?
                .iter()
                .map(|hours| self.weekly_hours(hours))
                .collect::<Read<_>>()?,
            ..Conditions::default()
        })
    }

    fn weekly_hours(&self, record: &ArchivedHoursRecord) -> Read<WeeklyHours> {
        let zone = self.zones.get(record.zone.to_native() as usize).ok_or(Astray)?;
        Ok(WeeklyHours {
            from: record.from.to_native(),
            to: record.to.to_native(),
            zone: self.owned(&zone.name)?,
        })
    }

    fn group_name(&self, number: u32) -> Read<String> {
        self.owned(self.groups.get(number as usize).ok_or(Astray)?)
    }

    fn provider_name(&self, number: u32) -> Read<String> {
        self.owned(&self.providers.get(number as usize).ok_or(Astray)?.name)
    }

    fn all<C: FromIterator<String>>(&self, texts: &[ArchivedText]) -> Read<C> {
        texts.iter().map(|text| self.owned(text)).collect()
    }

    fn owned(&self, text: &ArchivedText) -> Read<String> {
        self.text(text).map(str::to_owned)
    }

    fn optional(&self, text: &rkyv::option::ArchivedOption<ArchivedText>) -> Read<Option<String>> {
        text.as_ref().map(|text| self.owned(text)).transpose()
    }
}

impl ArchivedGrantDetail {
    pub fn limits(&self) -> Limits {
        Limits {
            sessions: self.sessions.as_ref().map(|limit| limit.to_native()),
            session_length: self.session_length.as_ref().map(|limit| limit.to_native()),
            idle: self.idle.as_ref().map(|limit| limit.to_native()),
        }
    }
}

impl ArchivedScramRecord {
    pub fn model(&self) -> ScramVerifier {
        ScramVerifier {
            iterations: self.iterations.to_native(),
            salt: self.salt.to_vec(),
            stored_key: self.stored_key,
            server_key: self.server_key,
        }
    }
}

pub fn network(record: &ArchivedNetworkRecord) -> Read<IpNet> {
    let [a, b, c, d, ..] = record.address;
    match record.version {
        4 => Ipv4Net::new(Ipv4Addr::new(a, b, c, d), record.prefix)
            .map(IpNet::V4)
            .map_err(|_| Astray),
        6 => Ipv6Net::new(Ipv6Addr::from(record.address), record.prefix)
            .map(IpNet::V6)
            .map_err(|_| Astray),
        0..=3 | 5 | 7.. => Err(Astray),
    }
}

fn ders(list: &[rkyv::vec::ArchivedVec<u8>]) -> Vec<Vec<u8>> {
    list.iter().map(|der| der.to_vec()).collect()
}

fn number(number: &rkyv::option::ArchivedOption<rkyv::rend::u32_le>) -> Option<u32> {
    number.as_ref().map(|number| number.to_native())
}

fn piece<T>(table: &[T], start: u32, length: u32) -> Read<&[T]> {
    let start = start as usize;
    table.get(start..start + length as usize).ok_or(Astray)
}

pub fn span<'a, T>(table: &'a [T], span: &ArchivedSpan) -> Read<&'a [T]> {
    piece(table, span.start.to_native(), span.length.to_native())
}
