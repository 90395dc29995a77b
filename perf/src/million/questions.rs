//! What clients ask of the policy, drawn at random: who they are, what they want, and whether they should get it.

use std::net::{IpAddr, Ipv4Addr};

use postern_policy::attributes::NONE;
use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide::{Facts, Proofs, Replication};
use postern_policy::id::{IdentityId, ProviderId};
use postern_policy::identity::CertificateNames;
use postern_policy::model::{Identity, IdentityKey, Model};
use postern_policy::snapshot::Snapshot;
use postern_policy::time::Utc;

use super::random::Random;
use super::rules::INNER;
use super::{CIRCLES, database, number_of_group, prefix};

/// A Monday, 15:33 in Vienna: within working hours.
pub const NOW: Utc = Utc(1_790_000_000_000_000);

/// Three in ten miss.
const MISSES_IN_TEN: usize = 3;

/// Owned, so that everything is ready before anything is timed.
#[derive(Debug, Clone)]
pub struct Question {
    pub kind: Kind,
    pub key: Key,
    pub user: String,
    pub database: String,
    pub source: Source,
    /// Whether the policy knows who it is.
    pub known: bool,
    /// Whether it should be let in.
    pub granted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The start-up `user` is the key.
    Name,
    Fingerprint([u8; 32]),
    Uri(String),
}

/// By what the identity is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Name,
    Fingerprint,
    Uri,
    UriUnderPattern,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Name, Self::Fingerprint, Self::Uri, Self::UriUnderPattern];

    pub fn title(self) -> &'static str {
        match self {
            Self::Name => "SCRAM name",
            Self::Fingerprint => "certificate's fingerprint",
            Self::Uri => "SPIFFE ID, exact",
            Self::UriUnderPattern => "SPIFFE ID under a pattern",
        }
    }
}

/// Whose questions, and how they miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Any identity, always known: no grant, or another's database. For the decision by itself.
    Decision,
    /// Any identity; also unknown ones. For the whole way to a permit.
    Whole,
    /// Identities with a key of this kind; the misses are unknown. For the lookup by itself.
    Lookup(Kind),
}

impl Share {
    pub const ALL: [Self; 6] = [
        Self::Decision,
        Self::Whole,
        Self::Lookup(Kind::Name),
        Self::Lookup(Kind::Fingerprint),
        Self::Lookup(Kind::Uri),
        Self::Lookup(Kind::UriUnderPattern),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Miss {
    Unknown,
    /// A database that nobody has a grant for.
    NoGrant,
    /// A database that others have grants for.
    WrongDatabase,
}

pub struct Questions(pub Vec<Question>);

impl Questions {
    pub fn draw(model: &Model, seed: u64, count: usize, share: Share) -> Self {
        let wanted = |identity: &Identity| match share {
            Share::Decision | Share::Whole => true,
            Share::Lookup(kind) => kind_of(identity) == kind,
        };
        let pool: Vec<_> = model
            .identities
            .iter()
            .filter(|(_, identity)| wanted(identity))
            .collect();
        let mut random = Random::new(seed);
        let mut draw = || {
            let (name, identity) = pool[random.below(pool.len())];
            question(name, identity, share, &mut random)
        };
        Self((0..count).map(|_| draw()).collect())
    }
}

/// A question's key in the form that the policy is asked with.
pub enum Lookup<'a> {
    Name(&'a str),
    Certificate { fingerprint: [u8; 32], uris: &'a [&'a str] },
}

impl Lookup<'_> {
    /// As the gate does after a proof.
    pub fn resolve(&self, snapshot: &Snapshot, validated_by: &[ProviderId]) -> Option<IdentityId> {
        match self {
            Self::Name(name) => snapshot.identity_by_name(name),
            Self::Certificate { fingerprint, uris } => snapshot
                .resolve_certificate(&CertificateNames {
                    fingerprint: *fingerprint,
                    public_key: *fingerprint,
                    validated_by,
                    uris,
                    dns: &[],
                    common_names: &[],
                })
                .ok(),
        }
    }
}

impl Question {
    pub fn arrival(&self) -> Arrival<'_> {
        let (listener, tls) = match self.key {
            Key::Name => ("passwords", false),
            Key::Fingerprint(_) | Key::Uri(_) => ("certificates", true),
        };
        Arrival {
            listener,
            tls,
            source: self.source,
            database: &self.database,
            user: &self.user,
        }
    }

    /// Hands the ready lookup to `ask`: what is timed begins and ends in there.
    pub fn ask<T>(&self, ask: impl FnOnce(&Lookup<'_>) -> T) -> T {
        match &self.key {
            Key::Name => ask(&Lookup::Name(&self.user)),
            Key::Fingerprint(digest) => ask(&Lookup::Certificate {
                fingerprint: *digest,
                uris: &[],
            }),
            Key::Uri(uri) => ask(&Lookup::Certificate {
                fingerprint: [0; 32],
                uris: &[uri],
            }),
        }
    }

    pub fn facts(&self, identity: IdentityId) -> Facts<'_> {
        let scram = self.key == Key::Name;
        Facts {
            identity,
            proofs: Proofs {
                certificate: !scram,
                scram,
                ..Proofs::default()
            },
            subject: None,
            groups: &[],
            claims: &NONE,
            certificate: &NONE,
            token_age: None,
            user: &self.user,
            database: &self.database,
            source: self.source,
            replication: Replication::No,
            now: NOW,
        }
    }
}

fn question(name: &str, identity: &Identity, share: Share, random: &mut Random) -> Question {
    let miss = (random.below(10) < MISSES_IN_TEN).then(|| miss(share, random));
    let mut question = Question {
        kind: kind_of(identity),
        key: key(identity, random),
        user: name.to_owned(),
        database: database_for(identity, miss, random),
        source: source(random),
        known: miss != Some(Miss::Unknown),
        granted: miss.is_none(),
    };
    if miss == Some(Miss::Unknown) {
        make_unknown(&mut question, random);
    }
    question
}

fn miss(share: Share, random: &mut Random) -> Miss {
    match share {
        Share::Lookup(_) => Miss::Unknown,
        Share::Decision => [Miss::NoGrant, Miss::WrongDatabase][random.below(2)],
        Share::Whole => [Miss::Unknown, Miss::NoGrant, Miss::WrongDatabase][random.below(3)],
    }
}

fn kind_of(identity: &Identity) -> Kind {
    match identity.keys.first() {
        None => Kind::Name,
        Some(IdentityKey::Uri { pattern, .. }) if pattern.contains('*') => Kind::UriUnderPattern,
        Some(IdentityKey::Uri { .. }) => Kind::Uri,
        Some(_) => Kind::Fingerprint,
    }
}

fn key(identity: &Identity, random: &mut Random) -> Key {
    match identity.keys.first() {
        Some(IdentityKey::Uri { pattern, .. }) => {
            Key::Uri(pattern.replace('*', &format!("x{}", random.below(100_000))))
        }
        Some(IdentityKey::Fingerprint(digest)) => Key::Fingerprint(*digest),
        _ => Key::Name,
    }
}

fn make_unknown(question: &mut Question, random: &mut Random) {
    match &mut question.key {
        Key::Name => question.user.push('x'),
        Key::Fingerprint(digest) => *digest = random.bytes(),
        Key::Uri(uri) => *uri = uri.replace("/sa/", "/nobody/"),
    }
}

fn database_for(identity: &Identity, miss: Option<Miss>, random: &mut Random) -> String {
    let groups: Vec<usize> = identity
        .groups
        .iter()
        .filter_map(|name| number_of_group(name))
        .collect();
    let own = groups[random.below(groups.len())];
    match miss {
        Some(Miss::NoGrant) => format!("nowhere_{:03}", random.below(CIRCLES)),
        Some(Miss::WrongDatabase) => loop {
            let circle = random.below(CIRCLES);
            if groups.iter().all(|group| group % CIRCLES != circle) {
                return database(circle);
            }
        },
        // Only the first groups have databases by prefix.
        Some(Miss::Unknown) | None if own < CIRCLES * 3 && random.below(3) == 0 => {
            format!("{}{}", prefix(own % CIRCLES), random.below(1_000))
        }
        Some(Miss::Unknown) | None => database(own % CIRCLES),
    }
}

fn source(random: &mut Random) -> Source {
    let [b, c, d] = random.bytes();
    Source::Ip(IpAddr::V4(Ipv4Addr::new(INNER, b, c, d)))
}
