//! One small good policy, and what happens when one thing in it is changed.

use std::collections::BTreeMap;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::{ReferencedFiles, SourceFile, parse};
use crate::fault::Faults;
use crate::model::Model;

mod faults;
mod golden;
mod meaning;
mod tokens;

pub(super) const GOOD: &str = r#"
[provider.corp]
kind = "certificates"
roots = ["ca.pem"]
trust_domains = ["corp"]

[identity."svc:billing"]
keys = [{ provider = "corp", spiffe = "spiffe://corp/ns/prod/sa/billing" }]
groups = ["payments"]

[identity.alice]
scram = "SCRAM-SHA-256$4096:AQEBAQEBAQEBAQEBAQEBAQ==$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="

[group.payments]

[cluster.main]
endpoints = ["db:5432"]
roots = ["ca.pem"]

[cluster.main.role.billing_rw]
password_file = "/run/secrets/billing"

[grant.billing]
identities = ["svc:billing"]
databases = ["billing"]
cluster = "main"
role = "billing_rw"

[[authentication]]
name = "services"
transport = "tls"
method = "certificate"

[[authentication]]
name = "people"
method = "scram-sha-256"
"#;

/// Files by path.
pub(super) struct Files(pub BTreeMap<&'static str, Vec<u8>>);

impl ReferencedFiles for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| "No such file or directory".to_owned())
    }

    fn check_secret(&self, path: &str) -> Result<(), String> {
        match path {
            "/run/secrets/open" => Err("readable by others (mode 0644)".to_owned()),
            _other => Ok(()),
        }
    }
}

impl Files {
    pub fn new() -> Files {
        let leaf = CertificateParams::new(vec!["leaf".to_owned()]).expect("parameters");
        let mut authority = leaf.clone();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (leaf_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let ca = authority.self_signed(&key).expect("a root").pem();
        let leaf = leaf.self_signed(&leaf_key).expect("a leaf").pem();
        let crl = revocation_list(authority, key);
        Files(BTreeMap::from([
            ("ca.pem", ca.into_bytes()),
            ("other-ca.pem", other_root().into_bytes()),
            ("leaf.pem", leaf.into_bytes()),
            ("key.pem", leaf_key.serialize_pem().into_bytes()),
            ("crl.pem", crl.into_bytes()),
            ("torn.pem", b"-----BEGIN CERTIFICATE-----\nMIIB".to_vec()),
            ("garbage.der", vec![0x30, 0x01]),
            ("empty.pem", Vec::new()),
        ]))
    }
}

fn other_root() -> String {
    let mut params = CertificateParams::new(vec!["other".to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .self_signed(&KeyPair::generate().expect("a key"))
        .expect("a root")
        .pem()
}

fn revocation_list(authority: CertificateParams, key: KeyPair) -> String {
    let params = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2027, 1, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&Issuer::new(authority, key)).expect("a list");
    list.pem().expect("PEM")
}

pub(super) fn source(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

pub(super) fn read(text: &str) -> Result<Model, Faults> {
    parse(&[source("policy.toml", text)], &Files::new())
}

/// `GOOD` with `old`, which is in it once, replaced.
pub(super) fn changed(old: &str, new: &str) -> String {
    assert_eq!(GOOD.matches(old).count(), 1, "{old:?} is in the good policy once");
    GOOD.replace(old, new)
}

/// The faults of `text`, `line: message` each.
pub(super) fn told(text: &str) -> Vec<String> {
    told_with(text, &Files::new())
}

/// As [`told`], with these files around.
pub(super) fn told_with(text: &str, files: &Files) -> Vec<String> {
    let faults = parse(&[source("policy.toml", text)], files).err().unwrap_or_default();
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.line, fault.message))
        .collect()
}
