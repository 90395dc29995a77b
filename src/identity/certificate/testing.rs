//! Certificate authorities, certificates and policies for tests. Dates are days; "today" is the first of January 2026.

use std::collections::BTreeSet;

use postern_policy::model::{CertificateAuthority, CrlMode, Identity, IdentityKey, Model, Provider};
use postern_policy::snapshot::Snapshot;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use super::{Cache, CertificateRefusal, Judged, judge};
use crate::in_force::InForce;
use crate::time::Utc;

pub type Der = CertificateDer<'static>;

pub const TODAY: Day = Day(2026, 1, 1);

#[derive(Clone, Copy)]
pub struct Day(pub i32, pub u8, pub u8);

impl Day {
    pub fn utc(self) -> Utc {
        Utc(date_time_ymd(self.0, self.1, self.2).unix_timestamp() * 1_000_000)
    }
}

pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn root(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// An intermediate, changed before it is signed.
    pub fn under(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub fn der(&self) -> Der {
        self.0.der().clone()
    }

    pub fn issue(&self, params: &CertificateParams) -> Der {
        self.issue_for(params, &KeyPair::generate().unwrap())
    }

    pub fn issue_for(&self, params: &CertificateParams, key: &KeyPair) -> Der {
        params.signed_by(key, &self.0).unwrap().der().clone()
    }

    pub fn crl(&self, from: Day, next: Day, revoked: &[u8]) -> Vec<u8> {
        let revoke = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2025, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(from.0, from.1, from.2),
            next_update: date_time_ymd(next.0, next.1, next.2),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().der().to_vec()
    }

    /// As a provider of a policy, without CRLs.
    pub fn provider(&self) -> CertificateAuthority {
        CertificateAuthority {
            roots: vec![self.der().to_vec()],
            crls: Vec::new(),
            crl: CrlMode::Optional,
            crl_max_age: None,
            trust_domains: BTreeSet::from(["corp".to_owned()]),
        }
    }

    pub fn with_crls(&self, mode: CrlMode, crls: Vec<Vec<u8>>) -> CertificateAuthority {
        CertificateAuthority {
            crls,
            crl: mode,
            ..self.provider()
        }
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A client certificate of 2025 and 2026 with serial number 5 and nothing else in it.
pub fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from_slice(&[5]));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 12, 31);
    params
}

pub fn leaf_with(names: &[SanType]) -> CertificateParams {
    let mut params = leaf();
    params.subject_alt_names = names.to_vec();
    params
}

pub fn leaf_named(name: &str) -> CertificateParams {
    let mut params = leaf();
    params.distinguished_name = common_name(name);
    params
}

pub fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

pub fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

pub fn by_uri(provider: &str, pattern: &str) -> IdentityKey {
    IdentityKey::Uri {
        provider: provider.into(),
        pattern: pattern.into(),
    }
}

pub fn by_dns(provider: &str, name: &str) -> IdentityKey {
    IdentityKey::Dns {
        provider: provider.into(),
        name: name.into(),
    }
}

pub fn by_common_name(provider: &str, name: &str) -> IdentityKey {
    IdentityKey::CommonName {
        provider: provider.into(),
        name: name.into(),
    }
}

pub fn by_fingerprint(der: &Der) -> IdentityKey {
    IdentityKey::Fingerprint(super::fingerprint(der))
}

/// A policy of these providers and of identities with these keys, in force.
pub fn gate(providers: &[(&str, CertificateAuthority)], identities: &[(&str, &[IdentityKey])]) -> InForce {
    let providers = providers.iter().map(|(name, ca)| {
        let provider = Provider::CertificateAuthority(ca.clone());
        ((*name).to_owned(), provider)
    });
    let identities = identities.iter().map(|(name, keys)| {
        let identity = Identity {
            keys: keys.to_vec(),
            ..Identity::default()
        };
        ((*name).to_owned(), identity)
    });
    let model = Model {
        providers: providers.collect(),
        identities: identities.collect(),
        ..Model::default()
    };
    InForce::new(Snapshot::of(&model, 1).unwrap()).unwrap()
}

/// Who these certificates are today, by name.
pub fn who(gate: &InForce, chain: &[&Der]) -> Result<String, CertificateRefusal> {
    who_at(gate, chain, TODAY)
}

pub fn who_at(gate: &InForce, chain: &[&Der], day: Day) -> Result<String, CertificateRefusal> {
    let judged = judged(gate, chain, day.utc())?;
    Ok(gate.snapshot.identity_name(judged.identity()).to_owned())
}

pub fn judged(gate: &InForce, chain: &[&Der], now: Utc) -> Result<Judged, CertificateRefusal> {
    let chain: Vec<Der> = chain.iter().map(|der| (*der).clone()).collect();
    judge(&gate.snapshot, &gate.trust, &mut Cache::new(0), &chain, now)
}
