//! A small policy with something of everything, for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use crate::model::*;
use crate::template::Template;
use crate::time::Utc;

pub(crate) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn uri(provider: &str, pattern: &str) -> IdentityKey {
    IdentityKey::Uri {
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
        cluster: ClusterChoice::Named("main".to_owned()),
        role: role.to_owned(),
        ..Grant::default()
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
        groups: set(&["apps", "dba", "people", "robots"]),
        group_mappings: BTreeSet::from([mapping("idp", "db-admins", "dba"), mapping("idp", "staff", "people")]),
        revocations: BTreeMap::from([("stolen".to_owned(), revocation())]),
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
    let authorities = [("corp", corp), ("partner", partner)]
        .map(|(name, authority)| (name.to_owned(), Provider::CertificateAuthority(authority)));
    let mut providers = BTreeMap::from(authorities);
    let svid = TokenIssuer {
        form: TokenForm::JwtSvid {
            trust_domains: set(&["mesh"]),
        },
        keys: KeySource::Inline(b"{\"keys\": []}".to_vec()),
        ..token_issuer()
    };
    providers.insert("idp".to_owned(), Provider::Tokens(token_issuer()));
    providers.insert("mesh".to_owned(), Provider::Tokens(svid));
    providers.insert("desk".to_owned(), Provider::Webhook(webhook()));
    providers
}

pub(crate) fn token_issuer() -> TokenIssuer {
    TokenIssuer {
        form: TokenForm::Oidc {
            issuer: "https://login.example.org/corp".to_owned(),
        },
        audiences: set(&["postern"]),
        keys: KeySource::Url("https://login.example.org/corp/keys".to_owned()),
        algorithms: BTreeSet::from([TokenAlgorithm::Rs256, TokenAlgorithm::EdDsa]),
        types: set(&["at+jwt"]),
        clock_skew: 30,
        max_age: Some(3_600),
        required_claims: BTreeMap::from([("email_verified".to_owned(), is("true"))]),
        subject_claim: "email".to_owned(),
        groups_claim: Some("groups".to_owned()),
        one_time: true,
        scope: "openid postern".to_owned(),
        roots: vec![authority().root.clone()],
        refresh: 300,
        keys_max_age: 86_400,
    }
}

fn webhook() -> Webhook {
    Webhook {
        url: "https://desk.example.org:8443/postern?v=1".to_owned(),
        roots: vec![],
        authorization_file: Some("secrets/desk".to_owned()),
        deadline: 2_000,
        concurrency: 64,
        cache_max_age: 60,
    }
}

fn mapping(provider: &str, external: &str, group: &str) -> GroupMapping {
    GroupMapping {
        provider: provider.to_owned(),
        external: external.to_owned(),
        group: group.to_owned(),
    }
}

fn revocation() -> Revocation {
    Revocation {
        provider: "idp".to_owned(),
        token_ids: set(&["a1", "b2"]),
        subjects: set(&["mallory@example.org"]),
        key_ids: set(&["2024"]),
        issued_before: Some(Utc(1_790_000_000_000_000)),
    }
}

pub(crate) fn is(pattern: &str) -> ClaimTest {
    ClaimTest::Is(Glob(pattern.to_owned()))
}

fn identities() -> BTreeMap<String, Identity> {
    let billing = Identity {
        aliases: set(&["billing", "invoices"]),
        groups: set(&["apps"]),
        keys: vec![
            IdentityKey::Fingerprint([0xB1; 32]),
            uri("corp", "spiffe://corp/ns/*/sa/billing"),
            uri("corp", "spiffe://corp/billing"),
            IdentityKey::Dns {
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
            IdentityKey::PublicKey([0xA1; 32]),
            IdentityKey::CommonName {
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
    let subject = |provider: &str, pattern: &str| Identity {
        keys: vec![IdentityKey::Subject {
            provider: provider.to_owned(),
            pattern: pattern.to_owned(),
        }],
        ..Identity::default()
    };
    let staff = Identity {
        aliases: set(&["{subject}"]),
        ..subject("idp", "*@example.org")
    };
    let mesh = Identity {
        keys: vec![
            uri("mesh", "spiffe://mesh/ns/*/sa/report"),
            uri("mesh", "spiffe://mesh/report"),
        ],
        groups: set(&["apps"]),
        ..Identity::default()
    };
    BTreeMap::from([
        ("staff:{subject}".to_owned(), staff),
        ("user:carol".to_owned(), subject("idp", "carol@example.org")),
        ("guest".to_owned(), subject("desk", "guest")),
        ("svc:report".to_owned(), mesh),
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
    pinned.tenant = Some("globex".to_owned());
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
    billing.settings = BTreeMap::from([("statement_timeout".to_owned(), Template::from("30s"))]);
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
    let mut dba = grant(to_groups(&["dba"]), vec![exact("ops")], "owner");
    dba.cluster = ClusterChoice::ByTenant(Template::from("{claim.tenant}"));
    dba.connect_database = Some(Template::from("ops_{claim.tenant}"));
    dba.proofs.token = true;
    dba.on_expiry = OnExpiry::FinishTransaction;
    dba.expiry_notice = Some(60);
    dba.conditions.claims = BTreeMap::from([
        ("tenant".to_owned(), is("*")),
        (
            "roles".to_owned(),
            ClaimTest::HasOneOf(vec![Glob("dba".to_owned()), Glob("ops-*".to_owned())]),
        ),
    ]);
    dba.conditions.token_max_age = Some(600);
    dba.settings = BTreeMap::from([(
        "application_name".to_owned(),
        Template::from("{subject} {application_name}"),
    )]);
    BTreeMap::from([
        ("billing".to_owned(), billing),
        ("dba".to_owned(), dba),
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
    let mut trial = Deny {
        subjects: everyone(),
        databases: vec![exact("ops")],
        conditions: Conditions::default(),
    };
    trial.conditions.claims = BTreeMap::from([("plan".to_owned(), is("trial"))]);
    BTreeMap::from([
        ("lab".to_owned(), lab),
        ("secret".to_owned(), secret),
        ("trial".to_owned(), trial),
    ])
}

fn authentication() -> Vec<AuthenticationRule> {
    let rule = |name: &str, transport, method| AuthenticationRule {
        name: name.to_owned(),
        transport,
        method,
        scram_iterations: 4096,
        answer_floor: 100,
        ..AuthenticationRule::default()
    };
    let mut machines = rule("machines", Transport::Tls, Method::Certificate);
    machines.listeners = set(&["inner"]);
    machines.networks = vec!["10.0.0.0/8".parse().unwrap()];
    let mut people = rule("people", Transport::Tls, Method::CertificateAndScram);
    people.users = vec![prefix("user:")];
    people.databases = vec![NamePattern::Any];
    let mut tokens = rule("tokens", Transport::Tls, Method::OauthBearer);
    tokens.users = vec![prefix("staff:")];
    tokens.providers = set(&["idp", "mesh"]);
    tokens.discovery = Some("idp".to_owned());
    let mut guests = rule("guests", Transport::Tls, Method::CertificateAndWebhook);
    guests.users = vec![exact("guest")];
    guests.providers = set(&["desk"]);
    vec![
        machines,
        people,
        tokens,
        guests,
        rule("rest", Transport::Any, Method::ScramSha256),
    ]
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
