//! Small random policies over a small vocabulary, so that their parts meet often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use postern_policy::attributes::Attributes;
use postern_policy::authenticate::Source;
use postern_policy::decide::{Proofs, Replication};
use postern_policy::id::GroupId;
use postern_policy::model::*;
use postern_policy::snapshot::Snapshot;
use postern_policy::time::Utc;

/// SplitMix64: the seed in a failure's message is all that is needed to see it again.
pub struct Random(u64);

#[derive(Debug, Clone)]
pub struct Question {
    pub identity: String,
    pub proofs: Proofs,
    pub user: String,
    pub database: String,
    pub source: Source,
    pub replication: Replication,
    pub now: Utc,
    /// Groups that a provider puts the identity into.
    pub given: BTreeSet<String>,
    pub claims: Attributes,
    pub certificate: Attributes,
    pub token_age: Option<u32>,
}

impl Question {
    pub fn given(&self, snapshot: &Snapshot) -> Vec<GroupId> {
        let provider = snapshot.token_issuers()[0].0;
        let mapped = self
            .given
            .iter()
            .flat_map(|group| snapshot.mapped_groups(provider, group));
        mapped.collect()
    }
}

#[derive(Debug, Clone)]
pub struct Certificate {
    pub fingerprint: [u8; 32],
    pub public_key: [u8; 32],
    pub validated_by: Vec<&'static str>,
    pub uris: Vec<&'static str>,
    pub dns: Vec<&'static str>,
    pub common_names: Vec<&'static str>,
}

const GROUPS: [&str; 12] = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "ga", "gb"];
const IDENTITIES: [&str; 5] = ["a", "b", "reader", "svc:x", "user:y"];
const ROLES: [&str; 3] = ["owner", "reader", "writer"];
const DATABASES: [&str; 6] = ["app", "app_eu", "app_eu_1", "billing", "b", ""];
const PREFIXES: [&str; 5] = ["app", "app_", "app_eu_", "b", ""];
const NETWORKS: [&str; 7] = [
    "10.0.0.0/8",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "0.0.0.0/0",
    "2001:db8::/32",
    "::/0",
    "192.168.7.9/16",
];
const ADDRESSES: [&str; 7] = [
    "10.1.2.3",
    "10.9.9.9",
    "192.168.0.1",
    "2001:db8::1",
    "2a00::1",
    "::ffff:10.1.2.3",
    "::ffff:1.1.1.1",
];
/// Half-hour offsets, a half-hour daylight saving, a skipped day (2011-12-30), Ramadan changes, and no change at all.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Vienna",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
];
/// Microseconds: around changes of those zones, and the borders of the table of offsets.
const MOMENTS: [i64; 8] = [
    1_774_746_000_000_000, // 2026-03-29 01:00, Vienna forward
    1_792_890_000_000_000, // 2026-10-25 01:00, Vienna back
    1_773_558_000_000_000, // 2026-03-15 07:00, a week after New York forward
    1_325_239_200_000_000, // 2011-12-30 10:00, Apia skips a day
    946_684_800_000_000,   // 2000-01-01
    3_345_062_400_000_000, // 2076-01-01
    1_700_000_000_000_000,
    1_767_225_600_000_000, // 2026-01-01
];
const URIS: [&str; 8] = [
    "spiffe://corp/ns/prod/sa/x",
    "spiffe://corp/ns/test/sa/x",
    "spiffe://corp/ns/prod/sa/y",
    "spiffe://other/ns/prod/sa/x",
    "spiffe://corp/ns//sa/x",
    "https://corp/ns/prod",
    "urn:x",
    "SPIFFE://corp/ns/prod/sa/x",
];
const PATTERNS: [&str; 6] = [
    "spiffe://corp/ns/*/sa/x",
    "spiffe://corp/ns/prod/sa/*",
    "spiffe://corp/ns/*/sa/*",
    "spiffe://other/ns/*/sa/x",
    "https://corp/*/prod",
    "spiffe://corp/*/prod/sa/y",
];
const DNS: [&str; 4] = ["x.corp", "X.Corp", "y.corp", "z.corp"];
const COMMON_NAMES: [&str; 3] = ["Alice", "alice", "Bob"];
const CLAIMS: [&str; 3] = ["plan", "roles", "tenant"];
const VALUES: [&str; 4] = ["x", "y", "xy", "xay"];
const PROVIDERS: [&str; 3] = ["pa", "pb", "pc"];

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    /// True once in `times`.
    pub fn chance(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from).max(1) as u64) as i64
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn some<T: Copy>(&mut self, from: &[T], most: u64) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.pick(from)).collect()
    }

    fn some_names(&mut self, from: &[&str], most: u64) -> BTreeSet<String> {
        self.some(from, most).into_iter().map(str::to_owned).collect()
    }

    /// Every identity can prove itself in each way: by [`fingerprint_of`] and by SCRAM.
    pub fn model(&mut self) -> Model {
        Model {
            providers: BTreeMap::from([("idp".to_owned(), Provider::Tokens(issuer()))]),
            group_mappings: GROUPS.iter().map(|name| mapping(name)).collect(),
            revocations: BTreeMap::new(),
            identities: IDENTITIES
                .iter()
                .map(|name| ((*name).to_owned(), self.identity(name)))
                .collect(),
            groups: GROUPS.iter().map(|name| (*name).to_owned()).collect(),
            clusters: ["east", "west"].map(|name| (name.to_owned(), cluster())).into(),
            grants: (0..1 + self.below(10))
                .map(|number| (format!("grant-{number:02}"), self.grant()))
                .collect(),
            denies: (0..self.below(3))
                .map(|number| (format!("deny-{number}"), self.deny()))
                .collect(),
            authentication: METHOD_LISTENERS
                .map(|(listener, method)| rule_of_listener(listener, method))
                .into(),
        }
    }

    fn identity(&mut self, name: &str) -> Identity {
        let groups = if self.chance(4) { 12 } else { 3 };
        let groups = if groups == 12 {
            GROUPS.iter().map(|name| (*name).to_owned()).collect()
        } else {
            self.some_names(&GROUPS, 3)
        };
        Identity {
            aliases: self.some_names(&["alias", "nick", "writer"], 2),
            groups,
            keys: vec![IdentityKey::Fingerprint(fingerprint_of(name))],
            scram: Some(verifier()),
        }
    }

    fn grant(&mut self) -> Grant {
        Grant {
            subjects: self.subjects(),
            databases: (0..1 + self.below(3)).map(|_| self.pattern()).collect(),
            cluster: ClusterChoice::Named(self.pick(&["east", "west"]).to_owned()),
            role: self.pick(&ROLES).to_owned(),
            access: Access::ReadWrite,
            conditions: self.conditions(),
            proofs: RequiredProofs {
                certificate: self.chance(5),
                scram: self.chance(6),
                key_bound: self.chance(5),
                token: self.chance(8),
                webhook: self.chance(9),
            },
            replication: self.pick(&[
                ReplicationRight::No,
                ReplicationRight::Database,
                ReplicationRight::Physical,
            ]),
            limits: Limits {
                sessions: Some(self.below(9) as u32),
                session_length: None,
                idle: self.chance(2).then_some(60),
            },
            ..Grant::default()
        }
    }

    fn deny(&mut self) -> Deny {
        let databases = (0..self.below(3)).map(|_| self.pattern()).collect();
        let mut deny = Deny {
            subjects: self.subjects(),
            databases,
            conditions: self.conditions(),
        };
        // A deny without conditions leaves little to decide.
        if deny.conditions == Conditions::default() {
            deny.conditions.networks = vec!["10.1.2.0/24".parse().unwrap()];
        }
        deny
    }

    fn subjects(&mut self) -> Subjects {
        Subjects {
            identities: self.some_names(&IDENTITIES, 2),
            groups: self.some_names(&GROUPS, 2),
            everyone: self.chance(5),
        }
    }

    fn pattern(&mut self) -> NamePattern {
        match self.below(5) {
            0 | 1 => NamePattern::Exact(self.pick(&DATABASES).to_owned()),
            2 | 3 => NamePattern::Prefix(self.pick(&PREFIXES).to_owned()),
            _ => NamePattern::Any,
        }
    }

    fn conditions(&mut self) -> Conditions {
        let hours = if self.chance(2) { 0 } else { 1 + self.below(3) };
        Conditions {
            networks: if self.chance(2) { vec![] } else { self.networks() },
            unix: self.chance(6),
            not_before: self.chance(4).then(|| self.moment()),
            not_after: self.chance(4).then(|| self.moment()),
            hours: (0..hours).map(|_| self.hours()).collect(),
            claims: self.claim_tests(),
            certificate: self.claim_tests(),
            token_max_age: self.chance(8).then_some(60),
        }
    }

    fn networks(&mut self) -> Vec<ipnet::IpNet> {
        self.some(&NETWORKS, 3)
            .into_iter()
            .map(|network| network.parse().unwrap())
            .collect()
    }

    fn hours(&mut self) -> WeeklyHours {
        let from = self.below(10_079) as u16;
        let to = from + 1 + self.below(u64::from(10_080 - from - 1)) as u16;
        WeeklyHours {
            from,
            to,
            zone: self.pick(&ZONES).to_owned(),
        }
    }

    /// Near a change of some zone, to the microsecond or within days.
    fn moment(&mut self) -> Utc {
        let near = self.pick(&MOMENTS);
        let span = self.pick(&[2, 3_600_000_000, 8 * 86_400_000_000]);
        Utc(near + self.between(-span, span))
    }

    pub fn question(&mut self, model: &Model) -> Question {
        let identity = self.pick(&IDENTITIES).to_owned();
        let alias = model.identities[&identity].aliases.first().cloned();
        let user = match self.below(5) {
            0 | 1 => identity.clone(),
            2 => alias.unwrap_or_else(|| identity.clone()),
            3 => self.pick(&ROLES).to_owned(),
            _ => self.user().to_owned(),
        };
        let proofs = self.proofs();
        Question {
            identity,
            proofs,
            given: if proofs.token || proofs.webhook {
                self.some_names(&GROUPS, 2)
            } else {
                BTreeSet::new()
            },
            claims: if proofs.token || proofs.webhook {
                self.attributes()
            } else {
                Attributes::default()
            },
            certificate: if proofs.certificate {
                self.attributes()
            } else {
                Attributes::default()
            },
            token_age: if proofs.token {
                self.pick(&[None, Some(10), Some(60), Some(61)])
            } else {
                None
            },
            user,
            database: self.database().to_owned(),
            source: self.source(),
            replication: self.pick(&[
                Replication::No,
                Replication::No,
                Replication::Database,
                Replication::Physical,
            ]),
            now: self.moment(),
        }
    }

    fn proofs(&mut self) -> Proofs {
        let (certificate, scram, token, webhook) = self.pick(&[
            (true, false, false, false),
            (true, false, false, false),
            (false, true, false, false),
            (true, true, false, false),
            (false, false, true, false),
            (true, false, true, false),
            (false, false, false, true),
            (false, false, false, false),
        ]);
        Proofs {
            certificate,
            scram,
            token,
            token_bound: token && self.chance(2),
            webhook,
        }
    }

    /// Few names and few values, of which some have several.
    fn attributes(&mut self) -> Attributes {
        (0..self.below(5))
            .map(|_| (self.pick(&CLAIMS), self.pick(&VALUES)))
            .collect()
    }

    fn claim_tests(&mut self) -> BTreeMap<String, ClaimTest> {
        (0..self.below(2))
            .map(|_| (self.pick(&CLAIMS).to_owned(), self.claim_test()))
            .collect()
    }

    fn claim_test(&mut self) -> ClaimTest {
        let (one, other) = (self.glob(), self.glob());
        if self.chance(2) {
            ClaimTest::Is(one)
        } else {
            ClaimTest::HasOneOf(vec![one, other])
        }
    }

    /// Values have few characters, so that some fit.
    fn glob(&mut self) -> Glob {
        Glob((0..=self.below(4)).map(|_| self.pick(&['x', 'y', '*', '*'])).collect())
    }

    pub fn user(&mut self) -> &'static str {
        self.pick(&["a", "user:y", "user:z", "alias", "writer", "nobody", ""])
    }

    pub fn database(&mut self) -> &'static str {
        self.pick(&[
            "app", "app_eu", "app_eu_1", "app_us", "billing", "b", "other", "", "äpp",
        ])
    }

    pub fn listener(&mut self) -> &'static str {
        self.pick(&["inner", "outer", "socket"])
    }

    pub fn source(&mut self) -> Source {
        match self.below(9) {
            0 | 1 => Source::Unix,
            2 => Source::Ip(IpAddr::V4(Ipv4Addr::from(self.next() as u32))),
            _ => Source::Ip(self.pick(&ADDRESSES).parse().unwrap()),
        }
    }

    pub fn rules(&mut self) -> Vec<AuthenticationRule> {
        (0..self.below(6)).map(|number| self.rule(number)).collect()
    }

    fn rule(&mut self, number: u64) -> AuthenticationRule {
        AuthenticationRule {
            name: format!("rule-{number}"),
            listeners: self.some_names(&["inner", "outer", "socket"], 2),
            transport: self.pick(&[Transport::Any, Transport::Tls, Transport::Plain, Transport::Unix]),
            networks: if self.chance(2) { vec![] } else { self.networks() },
            databases: (0..self.below(3)).map(|_| self.pattern()).collect(),
            users: (0..self.below(3)).map(|_| self.user_pattern()).collect(),
            method: self.pick(&[
                Method::Certificate,
                Method::ScramSha256,
                Method::CertificateAndScram,
                Method::Reject,
            ]),
            scram_iterations: 4096,
            ..AuthenticationRule::default()
        }
    }

    fn user_pattern(&mut self) -> NamePattern {
        match self.below(3) {
            0 => NamePattern::Exact(self.user().to_owned()),
            1 => NamePattern::Prefix(self.pick(&["user:", "a", "w"]).to_owned()),
            _ => NamePattern::Any,
        }
    }

    pub fn providers(&mut self) -> BTreeMap<String, Provider> {
        let mut provider = |name: &&str| {
            let authority = CertificateAuthority {
                roots: vec![],
                crls: vec![],
                crl: CrlMode::Optional,
                crl_max_age: None,
                trust_domains: self.some_names(&["corp", "other"], 3),
            };
            ((*name).to_owned(), Provider::CertificateAuthority(authority))
        };
        PROVIDERS.iter().map(&mut provider).collect()
    }

    pub fn keyed_identities(&mut self) -> BTreeMap<String, Identity> {
        let mut keyed = |name: &&str| {
            let keys = (0..self.below(4)).map(|_| self.key()).collect();
            (
                (*name).to_owned(),
                Identity {
                    keys,
                    ..Identity::default()
                },
            )
        };
        IDENTITIES.iter().map(&mut keyed).collect()
    }

    fn key(&mut self) -> IdentityKey {
        let provider = self.pick(&PROVIDERS).to_owned();
        match self.below(7) {
            0 => IdentityKey::Fingerprint(self.digest()),
            1 => IdentityKey::PublicKey(self.digest()),
            2 => IdentityKey::Uri {
                provider,
                pattern: self.pick(&URIS).to_owned(),
            },
            3 | 4 => IdentityKey::Uri {
                provider,
                pattern: self.pick(&PATTERNS).to_owned(),
            },
            5 => IdentityKey::Dns {
                provider,
                name: self.pick(&DNS).to_owned(),
            },
            _ => IdentityKey::CommonName {
                provider,
                name: self.pick(&COMMON_NAMES).to_owned(),
            },
        }
    }

    fn digest(&mut self) -> [u8; 32] {
        [self.below(12) as u8; 32]
    }

    pub fn certificate(&mut self) -> Certificate {
        let mut names = |from: &[&'static str]| match self.below(3) {
            0 => vec![],
            1 => vec![self.pick(from)],
            _ => self.some(from, 2),
        };
        let (uris, dns, common_names) = (names(&URIS), names(&DNS), names(&COMMON_NAMES));
        Certificate {
            fingerprint: self.digest(),
            public_key: self.digest(),
            validated_by: self
                .some(&PROVIDERS, 3)
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            uris,
            dns,
            common_names,
        }
    }
}

/// Listeners whose one rule has the method.
pub const METHOD_LISTENERS: [(&str, Method); 3] = [
    ("certificate", Method::Certificate),
    ("scram", Method::ScramSha256),
    ("both", Method::CertificateAndScram),
];

pub fn fingerprint_of(identity: &str) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint[..identity.len()].copy_from_slice(identity.as_bytes());
    fingerprint
}

/// Its groups have the names of ours.
fn mapping(group: &str) -> GroupMapping {
    GroupMapping {
        provider: "idp".to_owned(),
        external: group.to_owned(),
        group: group.to_owned(),
    }
}

fn issuer() -> TokenIssuer {
    TokenIssuer {
        form: TokenForm::Oidc {
            issuer: "https://login.example.org".to_owned(),
        },
        audiences: BTreeSet::from(["postern".to_owned()]),
        keys: KeySource::Discovery,
        algorithms: BTreeSet::from([TokenAlgorithm::Es256]),
        types: BTreeSet::new(),
        clock_skew: 30,
        max_age: None,
        required_claims: BTreeMap::new(),
        subject_claim: "sub".to_owned(),
        groups_claim: None,
        one_time: false,
        scope: String::new(),
        roots: vec![],
        refresh: 300,
        keys_max_age: 600,
    }
}

fn rule_of_listener(listener: &str, method: Method) -> AuthenticationRule {
    AuthenticationRule {
        name: listener.to_owned(),
        listeners: BTreeSet::from([listener.to_owned()]),
        method,
        scram_iterations: 4096,
        ..AuthenticationRule::default()
    }
}

fn verifier() -> ScramVerifier {
    ScramVerifier {
        iterations: 4096,
        salt: vec![1; 16],
        stored_key: [2; 32],
        server_key: [3; 32],
    }
}

fn cluster() -> Cluster {
    Cluster {
        tenant: None,
        endpoints: vec![],
        tls: ServerTls::default(),
        connect_timeout: 1,
        login_timeout: 1,
        postern_settings: true,
        roles: BTreeMap::new(),
    }
}
