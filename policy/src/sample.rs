//! A small policy with something of everything, for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use crate::model::*;
use crate::time::Utc;

pub(crate) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn uri(provider: &str, pattern: &str) -> CertificateKey {
    CertificateKey::Uri {
        provider: provider.to_owned(),
        pattern: pattern.to_owned(),
    }
}

pub(crate) fn exact(name: &str) -> NamePattern {
    NamePattern::Exact(name.to_owned())
}

pub(crate) fn prefix(name: &str) -> NamePattern {
    NamePattern::Prefix(name.to_owned())
}

pub(crate) fn grant(subjects: Subjects, databases: Vec<NamePattern>, role: &str) -> Grant {
    Grant {
        subjects,
        databases,
        cluster: "main".to_owned(),
        role: role.to_owned(),
        access: Access::ReadWrite,
        conditions: Conditions::default(),
        proofs: RequiredProofs::default(),
        replication: ReplicationRight::No,
        limits: Limits::default(),
        settings: BTreeMap::new(),
    }
}

pub(crate) fn to_identities(names: &[&str]) -> Subjects {
    Subjects {
        identities: set(names),
        ..Subjects::default()
    }
}

pub(crate) fn to_groups(names: &[&str]) -> Subjects {
    Subjects {
        groups: set(names),
        ..Subjects::default()
    }
}

pub(crate) fn everyone() -> Subjects {
    Subjects {
        everyone: true,
        ..Subjects::default()
    }
}

pub(crate) fn verifier() -> ScramVerifier {
    ScramVerifier {
        iterations: 4096,
        salt: vec![7; 16],
        stored_key: [1; 32],
        server_key: [2; 32],
    }
}

pub(crate) fn credential() -> RoleCredential {
    RoleCredential {
        password_file: Some("secrets/role".to_owned()),
        methods: BTreeSet::from([ServerMethod::ScramSha256]),
        ..RoleCredential::default()
    }
}

/// Passes `check`.
pub(crate) fn policy() -> Model {
    Model {
        providers: providers(),
        identities: identities(),
        groups: set(&["apps", "people", "robots"]),
        clusters: clusters(),
        grants: grants(),
        denies: denies(),
        authentication: authentication(),
    }
}

fn providers() -> BTreeMap<String, Provider> {
    let corp = CertificateAuthority {
        roots: vec![authority().root.clone()],
        crls: vec![authority().crl.clone()],
        crl: CrlMode::Required,
        crl_max_age: Some(3600),
        trust_domains: set(&["corp"]),
    };
    let partner = CertificateAuthority {
        roots: vec![authority().other_root.clone()],
        crls: vec![],
        crl: CrlMode::Optional,
        crl_max_age: None,
        trust_domains: set(&["partner.example"]),
    };
    [("corp", corp), ("partner", partner)]
        .map(|(name, authority)| (name.to_owned(), Provider::CertificateAuthority(authority)))
        .into()
}

fn identities() -> BTreeMap<String, Identity> {
    let billing = Identity {
        aliases: set(&["billing", "invoices"]),
        groups: set(&["apps"]),
        keys: vec![
            CertificateKey::Fingerprint([0xB1; 32]),
            uri("corp", "spiffe://corp/ns/*/sa/billing"),
            uri("corp", "spiffe://corp/billing"),
            CertificateKey::Dns {
                provider: "corp".to_owned(),
                name: "billing.corp".to_owned(),
            },
        ],
        scram: None,
    };
    let alice = Identity {
        aliases: set(&["alice"]),
        groups: set(&["people"]),
        keys: vec![
            CertificateKey::PublicKey([0xA1; 32]),
            CertificateKey::CommonName {
                provider: "corp".to_owned(),
                name: "Alice Ångström".to_owned(),
            },
        ],
        scram: Some(verifier()),
    };
    let backup = Identity {
        scram: Some(verifier()),
        ..Identity::default()
    };
    BTreeMap::from([
        ("svc:billing".to_owned(), billing),
        ("user:alice@corp".to_owned(), alice),
        ("backup".to_owned(), backup),
    ])
}

fn clusters() -> BTreeMap<String, Cluster> {
    let main = Cluster {
        tenant: Some("acme".to_owned()),
        endpoints: vec![
            Endpoint::Tcp {
                host: "db-1.corp".to_owned(),
                port: 5432,
            },
            Endpoint::Unix {
                path: "/run/postgresql/.s.PGSQL.5432".to_owned(),
            },
        ],
        tls: ServerTls {
            mode: ServerTlsMode::VerifyFull,
            roots: vec![authority().root.clone()],
            server_name: Some("db.corp".to_owned()),
            pinned_key: None,
            common_name: Some("db".to_owned()),
        },
        connect_timeout: 2_000,
        login_timeout: 5_000,
        postern_settings: true,
        roles: ["app_rw", "reader", "replicator", "owner"]
            .map(|role| (role.to_owned(), credential()))
            .into(),
    };
    let mut pinned = main.clone();
    pinned.tls = ServerTls {
        pinned_key: Some([9; 32]),
        ..ServerTls::default()
    };
    BTreeMap::from([("main".to_owned(), main), ("pinned".to_owned(), pinned)])
}

fn grants() -> BTreeMap<String, Grant> {
    let mut billing = grant(
        to_groups(&["apps"]),
        vec![exact("billing"), prefix("billing_")],
        "app_rw",
    );
    billing.settings = BTreeMap::from([("statement_timeout".to_owned(), "30s".to_owned())]);
    billing.limits = Limits {
        sessions: Some(20),
        session_length: None,
        idle: Some(600),
    };
    let mut people = grant(to_groups(&["people"]), vec![NamePattern::Any], "reader");
    people.access = Access::ReadOnly;
    people.conditions.networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    people.conditions.hours = (0..5)
        .map(|day| WeeklyHours {
            from: day * 1440 + 480,
            to: day * 1440 + 1080,
            zone: "Europe/Vienna".to_owned(),
        })
        .collect();
    let mut backup = grant(to_identities(&["backup"]), vec![exact("app")], "replicator");
    backup.replication = ReplicationRight::Database;
    backup.conditions.not_before = Some(Utc(1_700_000_000_000_000));
    backup.conditions.not_after = Some(Utc(1_900_000_000_000_000));
    backup.proofs.scram = true;
    BTreeMap::from([
        ("billing".to_owned(), billing),
        ("people".to_owned(), people),
        ("backup".to_owned(), backup),
    ])
}

fn denies() -> BTreeMap<String, Deny> {
    let mut lab = Deny {
        subjects: everyone(),
        databases: vec![],
        conditions: Conditions::default(),
    };
    lab.conditions.networks = vec!["10.66.0.0/16".parse().unwrap()];
    let secret = Deny {
        subjects: to_groups(&["people"]),
        databases: vec![prefix("secret_")],
        conditions: Conditions::default(),
    };
    BTreeMap::from([("lab".to_owned(), lab), ("secret".to_owned(), secret)])
}

fn authentication() -> Vec<AuthenticationRule> {
    let rule = |name: &str, transport, method| AuthenticationRule {
        name: name.to_owned(),
        listeners: BTreeSet::new(),
        transport,
        networks: vec![],
        databases: vec![],
        users: vec![],
        method,
        scram_iterations: 4096,
    };
    let mut machines = rule("machines", Transport::Tls, Method::Certificate);
    machines.listeners = set(&["inner"]);
    machines.networks = vec!["10.0.0.0/8".parse().unwrap()];
    let mut people = rule("people", Transport::Tls, Method::CertificateAndScram);
    people.users = vec![prefix("user:")];
    people.databases = vec![NamePattern::Any];
    vec![machines, people, rule("rest", Transport::Any, Method::ScramSha256)]
}

/// DER.
struct Authority {
    root: Vec<u8>,
    crl: Vec<u8>,
    other_root: Vec<u8>,
}

/// The same one for the whole test process.
fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let other_root = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 2, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = crl.signed_by(&Issuer::new(params, key)).unwrap();
        Authority {
            root: root.der().to_vec(),
            crl: crl.der().to_vec(),
            other_root: other_root.der().to_vec(),
        }
    })
}
