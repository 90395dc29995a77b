//! Grants, denies, the one cluster, and how clients have to prove themselves.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use postern_policy::model::{
    Access, AuthenticationRule, Cluster, ClusterChoice, Conditions, Deny, Endpoint, Grant, Method, NamePattern,
    RoleCredential, ServerMethod, ServerTls, ServerTlsMode, Subjects, Transport, WeeklyHours,
};

use super::identities::name;
use super::random::Random;
use super::{CIRCLES, DENIES, GRANTS, GROUPS, Sample, database, group, prefix};

/// How names of grants begin that name one identity.
pub const OF_ONE: &str = "of-one-";
/// First byte of the source of every question.
pub const INNER: u8 = 10;

const CLUSTER: &str = "main";
const ROLES: [&str; 5] = ["owner", "writer", "migrator", "reader", "auditor"];
/// Of [`GRANTS`], beside one for each group: by prefix, and for every database.
const BY_PREFIX: usize = 3_000;
const FOR_EVERY_DATABASE: usize = 500;
const OF_ONE_IDENTITY: usize = GRANTS - GROUPS - BY_PREFIX - FOR_EVERY_DATABASE;
/// Of [`DENIES`], the rest are about groups.
const DENIES_OF_IDENTITIES: usize = 500;
const DENIES_OF_NETWORKS: usize = 10;

pub fn clusters(sample: &Sample) -> BTreeMap<String, Cluster> {
    let credential = RoleCredential {
        password_file: Some(sample.password_file.clone()),
        methods: BTreeSet::from([ServerMethod::ScramSha256]),
        ..RoleCredential::default()
    };
    let main = Cluster {
        tenant: None,
        endpoints: vec![Endpoint::Tcp {
            host: "127.0.0.1".to_owned(),
            port: sample.port,
        }],
        tls: ServerTls {
            mode: ServerTlsMode::Disable,
            ..ServerTls::default()
        },
        connect_timeout: 2_000,
        login_timeout: 5_000,
        postern_settings: true,
        roles: ROLES.map(|role| (role.to_owned(), credential.clone())).into(),
    };
    BTreeMap::from([(CLUSTER.to_owned(), main)])
}

/// The one that all roles have.
pub fn credential(cluster: &Cluster) -> Option<RoleCredential> {
    cluster.roles.values().next().cloned()
}

pub fn grants(sample: &Sample) -> BTreeMap<String, Grant> {
    let exact = (0..GROUPS).map(|number| (format!("of-{}", group(number)), of_group(number)));
    let by_prefix = (0..BY_PREFIX).map(|number| (format!("tenants-of-{}", group(number)), tenants_of_group(number)));
    let wide = (GROUPS - FOR_EVERY_DATABASE..GROUPS).map(|number| (format!("all-for-{}", group(number)), wide(number)));
    let mut random = Random::new(sample.seed ^ 1);
    let of_one = (0..OF_ONE_IDENTITY).map(|number| {
        let subject = name(random.below(sample.identities));
        (format!("{OF_ONE}{number:04}"), of_identity(number, subject))
    });
    exact.chain(by_prefix).chain(wide).chain(of_one).collect()
}

pub fn denies(sample: &Sample) -> BTreeMap<String, Deny> {
    let mut random = Random::new(sample.seed ^ 2);
    let of_identity = |number: usize| {
        let subject = Subjects {
            identities: [name(random.below(sample.identities))].into(),
            ..Subjects::default()
        };
        let databases = vec![NamePattern::Exact(format!("closed_{number:03}"))];
        (format!("of-one-{number:03}"), deny(subject, databases))
    };
    let identities: Vec<_> = (0..DENIES_OF_IDENTITIES).map(of_identity).collect();
    let of_group = |number: usize| {
        let databases = vec![NamePattern::Prefix(format!("{}secret_", prefix(number % CIRCLES)))];
        (format!("of-{}", group(number)), deny(to_group(number), databases))
    };
    let of_network = |number: usize| {
        let everyone = Subjects {
            everyone: true,
            ..Subjects::default()
        };
        let mut deny = deny(everyone, Vec::new());
        deny.conditions.networks = vec![network([172, 16, number as u8, 0], 24)];
        (format!("from-lab-{number:02}"), deny)
    };
    let groups = (0..DENIES - DENIES_OF_IDENTITIES - DENIES_OF_NETWORKS).map(of_group);
    let networks = (0..DENIES_OF_NETWORKS).map(of_network);
    identities.into_iter().chain(groups).chain(networks).collect()
}

pub fn authentication() -> Vec<AuthenticationRule> {
    let rule = |name: &str, listener: &str, transport, method| AuthenticationRule {
        name: name.to_owned(),
        listeners: [listener.to_owned()].into(),
        transport,
        method,
        scram_iterations: super::ITERATIONS,
        ..AuthenticationRule::default()
    };
    vec![
        rule("outside", "outside", Transport::Tls, Method::CertificateAndScram),
        rule("services", "certificates", Transport::Tls, Method::Certificate),
        rule("passwords", "passwords", Transport::Any, Method::ScramSha256),
    ]
}

/// The same database for a whole circle of groups, each as another role.
fn of_group(number: usize) -> Grant {
    let mut grant = grant(to_group(number), NamePattern::Exact(database(number % CIRCLES)), number);
    if number.is_multiple_of(3) {
        grant.conditions.networks = vec![network([10, 0, 0, 0], 8), network([192, 168, 0, 0], 16)];
    }
    if number.is_multiple_of(10) {
        grant.conditions.hours = working_hours();
    }
    grant
}

fn tenants_of_group(number: usize) -> Grant {
    let mut grant = grant(to_group(number), NamePattern::Prefix(prefix(number % CIRCLES)), number);
    grant.limits.sessions = Some(20);
    grant
}

/// All alike, since an identity may be in several of these groups; from a network that no question comes from.
fn wide(number: usize) -> Grant {
    let mut grant = grant(to_group(number), NamePattern::Any, ROLES.len() * CIRCLES - 1);
    grant.conditions.networks = vec![network([192, 168, 7, 0], 24)];
    grant
}

fn of_identity(number: usize, subject: String) -> Grant {
    let subjects = Subjects {
        identities: [subject].into(),
        ..Subjects::default()
    };
    grant(subjects, NamePattern::Exact(format!("own_{number:04}")), number)
}

fn grant(subjects: Subjects, database: NamePattern, number: usize) -> Grant {
    let role = ROLES[number / CIRCLES % ROLES.len()];
    Grant {
        subjects,
        databases: vec![database],
        cluster: ClusterChoice::Named(CLUSTER.to_owned()),
        role: role.to_owned(),
        access: match role {
            "reader" | "auditor" => Access::ReadOnly,
            _ => Access::ReadWrite,
        },
        ..Grant::default()
    }
}

fn deny(subjects: Subjects, databases: Vec<NamePattern>) -> Deny {
    Deny {
        subjects,
        databases,
        conditions: Conditions::default(),
    }
}

fn to_group(number: usize) -> Subjects {
    Subjects {
        groups: [group(number)].into(),
        ..Subjects::default()
    }
}

fn working_hours() -> Vec<WeeklyHours> {
    const DAY: u16 = 24 * 60;
    let day = |day: u16| WeeklyHours {
        from: day * DAY + 6 * 60,
        to: day * DAY + 20 * 60,
        zone: "Europe/Vienna".to_owned(),
    };
    (0..5).map(day).collect()
}

fn network(address: [u8; 4], prefix: u8) -> IpNet {
    IpNet::new_assert(address.into(), prefix)
}
