//! `[grant.NAME]` and `[deny.NAME]`.

use std::collections::BTreeMap;

use super::syntax::{name_pattern, network};
use super::table::{Table, kind, word};
use super::{Span, claims, hours};
use crate::check::{Why, value};
use crate::model::{ClusterChoice, Conditions, Deny, Grant, Limits, NamePattern, OnExpiry, RequiredProofs, Subjects};
use crate::template::Template;
use crate::words::Word;

pub(super) fn read(mut table: Table<'_>) -> Grant {
    table.need("databases", "`databases = [\"app\"]`, `[\"app_*\"]` or `[\"*\"]`");
    table.need("role", "`role = \"...\"`: the PostgreSQL role to log in as");
    let grant = Grant {
        subjects: read_subjects(&mut table),
        databases: read_databases(&mut table),
        cluster: read_cluster(&mut table),
        connect_database: table.string("connect_database").map(Template),
        role: table.string("role").unwrap_or_default(),
        access: table.word("access").unwrap_or_default(),
        conditions: read_conditions(&mut table),
        proofs: read_proofs(&mut table),
        replication: table.word("replication").unwrap_or_default(),
        limits: Limits {
            sessions: table.number("sessions", &value::SESSIONS),
            session_length: table.duration("session_length", &value::SESSION_LENGTH),
            idle: table.duration("idle", &value::IDLE),
        },
        on_expiry: table.word("on_expiry").unwrap_or_default(),
        expiry_notice: table
            .duration("expiry_notice", &value::EXPIRY_NOTICE)
            .or(Some(EXPIRY_NOTICE)),
        settings: read_settings(&mut table),
    };
    if grant.on_expiry == OnExpiry::Ignore {
        table.without_effect(
            "expiry_notice",
            "with `on_expiry = \"ignore\"` the proof's end ends nothing",
        );
    }
    table.finish();
    grant
}

/// Seconds.
const EXPIRY_NOTICE: u32 = 60;

/// `cluster`, or `tenant` that leads to one.
fn read_cluster(table: &mut Table<'_>) -> ClusterChoice {
    let (cluster, tenant) = (table.string("cluster"), table.string("tenant"));
    match (table.has("cluster"), table.has("tenant")) {
        (true, true) => {
            let why = Why::new("`cluster` and `tenant`: where does it lead?");
            table.fault_here(why.help("a tenant picks the cluster: leave one out"));
        }
        (false, false) => table.need("cluster", "`cluster = \"...\"`: where the databases are"),
        (true, false) | (false, true) => {}
    }
    match tenant {
        Some(tenant) => ClusterChoice::ByTenant(Template(tenant)),
        None => ClusterChoice::Named(cluster.unwrap_or_default()),
    }
}

pub(super) fn read_deny(mut table: Table<'_>) -> Deny {
    let deny = Deny {
        subjects: read_subjects(&mut table),
        databases: read_databases(&mut table),
        conditions: read_conditions(&mut table),
    };
    table.finish();
    deny
}

fn read_subjects(table: &mut Table<'_>) -> Subjects {
    Subjects {
        identities: table.strings("identities").unwrap_or_default(),
        groups: table.strings("groups").unwrap_or_default(),
        everyone: read_everyone(table),
    }
}

/// `everyone = false` would look as if it kept somebody out.
fn read_everyone(table: &mut Table<'_>) -> bool {
    true_only(
        table,
        "everyone",
        "leave it out: a grant or deny is about those it names",
    )
}

fn true_only(table: &mut Table<'_>, key: &'static str, help: &str) -> bool {
    match (table.flag(key), table.entry(key)) {
        (Some(false), Some(value)) => {
            table.fault(
                key,
                value.span(),
                Why::new(format!("`{key} = false` says nothing")).help(help),
            );
            false
        }
        (Some(flag), _) => flag,
        (None, _) => false,
    }
}

/// Sorted, so that the order in which they are written makes no other policy.
fn read_databases(table: &mut Table<'_>) -> Vec<NamePattern> {
    sorted(table.list("databases", name_pattern))
}

fn sorted<T: Ord>(list: Option<Vec<T>>) -> Vec<T> {
    let mut list = list.unwrap_or_default();
    list.sort();
    list.dedup();
    list
}

fn read_conditions(table: &mut Table<'_>) -> Conditions {
    Conditions {
        networks: sorted(table.list("networks", network)),
        unix: true_only(
            table,
            "unix",
            "leave it out: with `networks`, Unix sockets are not among the sources",
        ),
        not_before: table.moment("not_before"),
        not_after: table.moment("not_after"),
        hours: hours::read(table),
        claims: claims::read(table, "claims"),
        certificate: claims::read(table, "certificate"),
        token_max_age: table.duration("token_max_age", &value::TOKEN_MAX_AGE),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Proof {
    Certificate,
    Scram,
    Token,
    Webhook,
}

impl Word for Proof {
    const ALL: &'static [Self] = &[Proof::Certificate, Proof::Scram, Proof::Token, Proof::Webhook];

    fn as_str(self) -> &'static str {
        match self {
            Proof::Certificate => "certificate",
            Proof::Scram => "scram",
            Proof::Token => "token",
            Proof::Webhook => "webhook",
        }
    }
}

fn read_proofs(table: &mut Table<'_>) -> RequiredProofs {
    let proofs = table.list("proofs", word::<Proof>).unwrap_or_default();
    RequiredProofs {
        certificate: proofs.contains(&Proof::Certificate),
        scram: proofs.contains(&Proof::Scram),
        token: proofs.contains(&Proof::Token),
        webhook: proofs.contains(&Proof::Webhook),
        key_bound: table.flag("key_bound").unwrap_or_default(),
    }
}

/// PostgreSQL takes names of settings in any case; one case keeps them comparable.
fn read_settings(table: &mut Table<'_>) -> BTreeMap<String, Template> {
    let mut settings = BTreeMap::new();
    for (name, Span { bytes, .. }, value) in table.entries("settings") {
        let read = match value.get_ref() {
            toml::de::DeValue::String(text) => Ok(text.to_string()),
            toml::de::DeValue::Integer(number) => Ok(number.to_string()),
            toml::de::DeValue::Boolean(flag) => Ok(if *flag { "on" } else { "off" }.to_owned()),
            other @ (toml::de::DeValue::Float(_)
            | toml::de::DeValue::Datetime(_)
            | toml::de::DeValue::Array(_)
            | toml::de::DeValue::Table(_)) => Err(Why::new(format!(
                "the value of a setting is a string, not {}",
                kind(other)
            ))),
        };
        let read = read.and_then(|text| value::setting(&name.to_ascii_lowercase(), &text).map(|()| text));
        let Some(text) = table.accept("settings", bytes.clone(), read) else {
            continue;
        };
        if settings.insert(name.to_ascii_lowercase(), Template(text)).is_some() {
            table.fault(
                "settings",
                bytes,
                Why::new(format!("`{}` stands here twice", name.to_ascii_lowercase())),
            );
        }
    }
    settings
}
