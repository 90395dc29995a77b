//! What a condition wanted and what it got, in words.

use super::Finding;
use crate::archive::layout::{
    ArchivedClaimTestRecord, ArchivedConditionsRecord, ArchivedGrantRecord, ArchivedHoursRecord,
    ArchivedIdentityRecord, ArchivedImage, ArchivedNetworkRecord, ArchivedPatternRecord, ArchivedRuleRecord,
    ArchivedSpan,
};
use crate::archive::read;
use crate::archive::strings::text_of;
use crate::attributes::Attributes;
use crate::authenticate::{Arrival, RuleMiss, Source};
use crate::conditions::{self, Miss, minute_of_week};
use crate::decide::{Facts, Proofs, Refusal, Replication};
use crate::model::{ReplicationRight, Transport};
use crate::snapshot::Snapshot;
use crate::time::Utc;
use crate::words::Word;

pub(super) fn rule_finding(
    image: &ArchivedImage,
    record: &ArchivedRuleRecord,
    arrival: &Arrival<'_>,
    miss: RuleMiss,
) -> Finding {
    let condition = miss.as_str();
    match miss {
        RuleMiss::Listener => {
            let listeners = record.listeners.iter().map(|name| text_of(&image.strings, name));
            Finding::new(condition, list(listeners), quoted(arrival.listener))
        }
        RuleMiss::Transport => Finding::new(
            condition,
            Transport::from(record.transport).as_str(),
            transport(arrival),
        ),
        RuleMiss::Network => {
            let networks = read::span(&image.networks, &record.networks).unwrap_or_default();
            Finding::new(condition, list(networks.iter().map(network)), source(arrival.source))
        }
        RuleMiss::Database => Finding::new(condition, patterns(image, &record.databases), quoted(arrival.database)),
        RuleMiss::User => Finding::new(condition, patterns(image, &record.users), quoted(arrival.user)),
    }
}

pub(super) fn database_finding(image: &ArchivedImage, databases: &ArchivedSpan, database: &str) -> Finding {
    let wanted = patterns(image, image.patterns_of(databases).unwrap_or_default());
    Finding::new("database", wanted, quoted(database))
}

/// Why a grant for this database did not hold.
pub(super) fn grant_finding(
    snapshot: &Snapshot,
    record: &ArchivedIdentityRecord,
    grant: &ArchivedGrantRecord,
    facts: &Facts<'_>,
    refusal: Refusal,
) -> Finding {
    let image = snapshot.image();
    let condition = |miss| condition_finding(image, (&grant.conditions, grant.proof_conditions), facts, miss);
    match refusal {
        // The two that concern no single grant; `judge_grant` gives neither for a grant that exists.
        Refusal::NoGrant | Refusal::NoSuchDatabaseGrant | Refusal::DeniedByRule(_) => {
            Finding::new(refusal.as_str(), String::new(), String::new())
        }
        Refusal::UserNotAllowed => {
            let role = text_of(&image.strings, &grant.role);
            Finding::new("user", users(image, record, role, facts.proofs), quoted(facts.user))
        }
        Refusal::ReplicationNotGranted => {
            let granted = match ReplicationRight::from(grant.replication) {
                ReplicationRight::No => "no",
                ReplicationRight::Database => "database",
                ReplicationRight::Physical => "physical",
            };
            let asked = match facts.replication {
                Replication::No => "no",
                Replication::Database => "database",
                Replication::Physical => "physical",
            };
            Finding::new("replication", granted, asked)
        }
        Refusal::ProofMissing => {
            let wanted = Proofs {
                certificate: grant.certificate,
                scram: grant.scram,
                token: grant.token,
                token_bound: false,
                webhook: grant.webhook,
            };
            Finding::new("proofs", proofs(wanted, "any"), proofs(facts.proofs, "none"))
        }
        Refusal::KeyBoundProofMissing => Finding::new("proofs", "one bound to a key", proofs(facts.proofs, "none")),
        Refusal::ClaimsNotMet => condition(Miss::ClaimsNotMet),
        Refusal::CertificateNotMet => condition(Miss::CertificateNotMet),
        Refusal::TokenTooOld => condition(Miss::TokenTooOld),
        Refusal::TenantUnknown => Finding::new("tenant", "one that a cluster is of", "none"),
        Refusal::WrongNetwork => condition(Miss::WrongNetwork),
        Refusal::Expired => condition(Miss::Expired),
        Refusal::NotYetValid => condition(Miss::NotYetValid),
        Refusal::OutsideHours => condition(Miss::OutsideHours),
    }
}

pub(super) fn condition_finding(
    image: &ArchivedImage,
    (conditions, proof): (&ArchivedConditionsRecord, rkyv::rend::u32_le),
    facts: &Facts<'_>,
    miss: Miss,
) -> Finding {
    let now = facts.now.to_string();
    let proof = image.proof_conditions_of(proof).ok().flatten();
    match (miss, proof) {
        (Miss::ClaimsNotMet, Some(proof)) => claims(image, "claims", &proof.claims, facts.claims),
        (Miss::CertificateNotMet, Some(proof)) => claims(image, "certificate", &proof.certificate, facts.certificate),
        (Miss::TokenTooOld, Some(proof)) => Finding::new(
            "token_max_age",
            proof
                .token_max_age
                .as_ref()
                .map_or(String::new(), |most| format!("at most {most}s")),
            facts
                .token_age
                .map_or("a token that does not say".to_owned(), |age| format!("{age}s")),
        ),
        (miss, _) => time_or_place(image, conditions, facts, miss, now),
    }
}

fn time_or_place(
    image: &ArchivedImage,
    conditions: &ArchivedConditionsRecord,
    facts: &Facts<'_>,
    miss: Miss,
    now: String,
) -> Finding {
    match miss {
        Miss::ClaimsNotMet | Miss::CertificateNotMet | Miss::TokenTooOld => {
            Finding::new("proof", String::new(), String::new())
        }
        Miss::WrongNetwork => {
            let networks = image
                .networks_of(&conditions.networks)
                .unwrap_or_default()
                .iter()
                .map(network);
            let unix = (conditions.networks.unix.to_native() != 0).then(|| "unix".to_owned());
            Finding::new("network", list(networks.chain(unix)), source(facts.source))
        }
        Miss::Expired => Finding::new(
            "not_after",
            format!("before {}", Utc(conditions.not_after.to_native())),
            now,
        ),
        Miss::NotYetValid => Finding::new(
            "not_before",
            format!("{} or later", Utc(conditions.not_before.to_native())),
            now,
        ),
        Miss::OutsideHours => {
            let hours = image.hours_of(&conditions.hours).unwrap_or_default();
            let wanted = list(hours.iter().map(|hours| weekly_hours(image, hours)));
            Finding::new("hours", wanted, clocks(image, hours, facts.now))
        }
    }
}

/// The first test that does not hold. Values come from outside: escaped.
fn claims(
    image: &ArchivedImage,
    condition: &'static str,
    tests: &[ArchivedClaimTestRecord],
    attributes: &Attributes,
) -> Finding {
    let failed = tests
        .iter()
        .find(|test| !conditions::all_hold(image, core::slice::from_ref(test), attributes));
    let Some(test) = failed else {
        return Finding::new(condition, String::new(), String::new());
    };
    let name = text_of(&image.strings, &test.name);
    let patterns = test
        .patterns
        .iter()
        .map(|pattern| quoted(text_of(&image.strings, pattern)));
    let one_of = if test.has_one_of { " among its values" } else { "" };
    let values: Vec<String> = attributes.values(name).map(quoted).collect();
    let got = if values.is_empty() {
        "nothing".to_owned()
    } else {
        values.join(", ")
    };
    Finding::new(condition, format!("{name} = {}{one_of}", list(patterns)), got)
}

fn users(image: &ArchivedImage, record: &ArchivedIdentityRecord, role: &str, proofs: Proofs) -> String {
    let name = text_of(&image.strings, &record.name);
    if proofs.scram {
        return format!("{} (a SCRAM user is the identity itself)", quoted(name));
    }
    let aliases = image.aliases_of(record).unwrap_or_default();
    let aliases = aliases.iter().map(|alias| quoted(text_of(&image.strings, alias)));
    list(
        [quoted(name)]
            .into_iter()
            .chain(aliases)
            .chain([format!("the role {}", quoted(role))]),
    )
}

fn proofs(proofs: Proofs, neither: &str) -> String {
    let named = [
        (proofs.certificate, "certificate"),
        (proofs.scram, "scram-sha-256"),
        (
            proofs.token,
            if proofs.token_bound {
                "token bound to a key"
            } else {
                "token"
            },
        ),
        (proofs.webhook, "webhook"),
    ];
    let named: Vec<&str> = named
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect();
    if named.is_empty() {
        neither.to_owned()
    } else {
        named.join(" and ")
    }
}

fn transport(arrival: &Arrival<'_>) -> &'static str {
    match (arrival.source, arrival.tls) {
        (Source::Unix, _) => Transport::Unix.as_str(),
        (Source::Ip(_), true) => Transport::Tls.as_str(),
        (Source::Ip(_), false) => Transport::Plain.as_str(),
    }
}

fn source(source: Source) -> String {
    match source {
        Source::Unix => "unix".to_owned(),
        Source::Ip(address) => address.to_canonical().to_string(),
    }
}

fn network(record: &ArchivedNetworkRecord) -> String {
    read::network(record)
        .map(|network| network.to_string())
        .unwrap_or_default()
}

fn patterns(image: &ArchivedImage, patterns: &[ArchivedPatternRecord]) -> String {
    list(patterns.iter().map(|pattern| match pattern {
        ArchivedPatternRecord::Exact(name) => quoted(text_of(&image.strings, name)),
        ArchivedPatternRecord::Prefix(prefix) => quoted(&format!("{}*", text_of(&image.strings, prefix))),
        ArchivedPatternRecord::Any => quoted("*"),
    }))
}

fn weekly_hours(image: &ArchivedImage, hours: &ArchivedHoursRecord) -> String {
    let (from, to) = (hours.from.to_native(), hours.to.to_native());
    format!("{} to {} {}", week_minute(from), week_minute(to), zone(image, hours))
}

/// The time of day in each zone that the hours are written in.
fn clocks(image: &ArchivedImage, hours: &[ArchivedHoursRecord], now: Utc) -> String {
    let mut clocks: Vec<String> = Vec::new();
    for hours in hours {
        let minute = minute_of_week(image, hours, now).unwrap_or_default();
        let clock = format!("{} {}", week_minute(minute), zone(image, hours));
        if !clocks.contains(&clock) {
            clocks.push(clock);
        }
    }
    list(clocks.into_iter())
}

fn zone<'a>(image: &'a ArchivedImage, hours: &ArchivedHoursRecord) -> &'a str {
    let zone = image.zones.get(hours.zone.to_native() as usize);
    zone.map(|zone| text_of(&image.strings, &zone.name)).unwrap_or_default()
}

/// The end of the week is Sunday 24:00.
fn week_minute(minute: u16) -> String {
    const DAY: u16 = 24 * 60;
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let day = (minute / DAY).min(6);
    let of_day = minute - day * DAY;
    let name = DAYS.get(usize::from(day)).copied().unwrap_or_default();
    format!("{name} {:02}:{:02}", of_day / 60, of_day % 60)
}

/// Control characters of a client's text stay out of the terminal.
fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

fn list(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    let items: Vec<String> = items.map(|item| item.as_ref().to_owned()).collect();
    match items.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}
