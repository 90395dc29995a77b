//! The authentication rules: how a client has to prove who it is. As `pg_hba.conf`: ordered, the first match decides, and
//! only the text of what the client says is looked at, never whether a database, a name or a grant exists.

use core::net::IpAddr;

use crate::archive::codes::ArchivedTransportCode;
use crate::archive::layout::{ArchivedImage, ArchivedPatternRecord, ArchivedRuleRecord, ArchivedText};
use crate::archive::read;
use crate::archive::strings::text_of;
use crate::conditions::{Address, in_any};
use crate::id::{ProviderId, RuleId};
use crate::model::Method;
use crate::snapshot::Snapshot;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The client's address; the one that the PROXY protocol tells, where it is used. An IPv4-mapped IPv6 address counts as
    /// the IPv4 address it carries.
    Ip(IpAddr),
    /// A Unix socket.
    Unix,
}

/// A connection that has said what it wants and has proved nothing.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Name of the listener in the process configuration.
    pub listener: &'a str,
    pub tls: bool,
    pub source: Source,
    /// Decoded: an absent database is the user's name.
    pub database: &'a str,
    pub user: &'a str,
}

/// A rule of the policy in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationRuleView<'a> {
    pub id: RuleId,
    pub name: &'a str,
    pub method: Method,
    /// PBKDF2 iterations of every verifier that the rule may ask for, and so of its mock answers.
    pub scram_iterations: u32,
    providers: &'a [rkyv::rend::u32_le],
    /// The token issuer that OAUTHBEARER sends clients to.
    pub discovery: Option<ProviderId>,
    /// Milliseconds from the StartupMessage before which no refusal is told.
    pub answer_floor: u32,
}

impl AuthenticationRuleView<'_> {
    /// Whether tokens of this issuer (or answers of this webhook) count under the rule.
    pub fn takes(&self, provider: ProviderId) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|named| *named == provider.0)
    }

    /// The providers that the rule names; none where it takes those of any issuer.
    pub fn providers(&self) -> impl Iterator<Item = ProviderId> {
        self.providers.iter().map(|number| ProviderId(number.to_native()))
    }
}

/// The part of a rule that an arrival does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleMiss {
    Listener,
    Transport,
    Network,
    Database,
    User,
}

impl RuleMiss {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Transport => "transport",
            Self::Network => "network",
            Self::Database => "database",
            Self::User => "user",
        }
    }
}

impl Snapshot {
    /// The first rule that matches; without one nobody is let in.
    pub fn authentication_rule(&self, arrival: &Arrival<'_>) -> Option<AuthenticationRuleView<'_>> {
        let image = self.image();
        let matching = |record: &&ArchivedRuleRecord| rule_miss(image, record, arrival).is_none();
        let number = image.authentication.iter().position(|record| matching(&record))?;
        self.authentication_rule_by_id(RuleId(number as u32))
    }

    pub fn authentication_rule_by_id(&self, id: RuleId) -> Option<AuthenticationRuleView<'_>> {
        let record = self.image().authentication.get(id.0 as usize)?;
        Some(AuthenticationRuleView {
            id,
            name: text_of(&self.image().strings, &record.name),
            method: record.method.into(),
            scram_iterations: record.scram_iterations.to_native(),
            providers: &record.providers,
            discovery: record.discovery.as_ref().map(|number| ProviderId(number.to_native())),
            answer_floor: record.answer_floor.to_native(),
        })
    }

    /// Whether any rule of this listener has a use for a client certificate: only then does the handshake ask for one.
    /// A token may be bound to one (RFC 8705, section 3).
    pub fn uses_certificates(&self, listener: &str) -> bool {
        let image = self.image();
        image.authentication.iter().any(|record| {
            let method = Method::from(record.method);
            let certificate = method.uses_certificates() || method.uses_tokens();
            let tls = match record.transport {
                ArchivedTransportCode::Any | ArchivedTransportCode::Tls => true,
                ArchivedTransportCode::Plain | ArchivedTransportCode::Unix => false,
            };
            certificate && tls && listener_matches(image, record, listener)
        })
    }
}

/// The first part, in the order of [`RuleMiss`], that does not match.
pub(crate) fn rule_miss(image: &ArchivedImage, record: &ArchivedRuleRecord, arrival: &Arrival<'_>) -> Option<RuleMiss> {
    if !listener_matches(image, record, arrival.listener) {
        return Some(RuleMiss::Listener);
    }
    if !transport_matches(record.transport, arrival) {
        return Some(RuleMiss::Transport);
    }
    let networks = read::span(&image.networks, &record.networks).unwrap_or_default();
    if !(networks.is_empty() || in_any(networks, Address::of(arrival.source))) {
        return Some(RuleMiss::Network);
    }
    if !names_match(image, &record.databases, arrival.database) {
        return Some(RuleMiss::Database);
    }
    (!names_match(image, &record.users, arrival.user)).then_some(RuleMiss::User)
}

fn listener_matches(image: &ArchivedImage, record: &ArchivedRuleRecord, listener: &str) -> bool {
    let same = |name: &ArchivedText| text_of(&image.strings, name) == listener;
    record.listeners.is_empty() || record.listeners.iter().any(same)
}

fn transport_matches(transport: ArchivedTransportCode, arrival: &Arrival<'_>) -> bool {
    let unix = match arrival.source {
        Source::Unix => true,
        Source::Ip(_) => false,
    };
    match transport {
        ArchivedTransportCode::Any => true,
        ArchivedTransportCode::Tls => arrival.tls && !unix,
        ArchivedTransportCode::Plain => !arrival.tls && !unix,
        ArchivedTransportCode::Unix => unix,
    }
}

fn names_match(image: &ArchivedImage, patterns: &[ArchivedPatternRecord], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern_matches(image, pattern, name))
}

pub(crate) fn pattern_matches(image: &ArchivedImage, pattern: &ArchivedPatternRecord, name: &str) -> bool {
    match pattern {
        ArchivedPatternRecord::Exact(exact) => text_of(&image.strings, exact) == name,
        ArchivedPatternRecord::Prefix(prefix) => name.starts_with(text_of(&image.strings, prefix)),
        ArchivedPatternRecord::Any => true,
    }
}
