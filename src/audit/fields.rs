//! Every member that a line may have, for `verify` and for the test that holds `docs/record.md` against it.

use serde_json::Value;

/// Event and the paths of its members. `[]` stands for each element of a list, `*` for any key.
pub const FIELDS: &[(&str, &[&str])] = &[
    ("attempt", ATTEMPT),
    ("end", END),
    (
        "policy.loaded",
        &[
            "time",
            "event",
            "policy.generation",
            "policy.hash",
            "identities",
            "grants",
        ],
    ),
    ("policy.rejected", POLICY_REJECTED),
    (
        "process.started",
        &["time", "event", "process", "pid", "version", "cores", "listeners[]"],
    ),
    ("process.stopped", &["time", "event", "why", "sessions_ended"]),
    ("listeners.reloaded", &["time", "event", "listeners[]", "faults[]"]),
    ("audit.torn_tail", &["time", "event", "bytes"]),
    ("audit.rotated", &["time", "event", "previous", "deleted"]),
    (
        "audit.dropped",
        &["time", "event", "since", "permits", "ends", "others"],
    ),
    ("audit.resumed", &["time", "event", "since", "error", "refused"]),
    ("attempts.aggregated", AGGREGATED),
];

const ATTEMPT: &[&str] = &[
    "time",
    "event",
    "session",
    "outcome",
    "reason",
    "listener",
    "peer.address",
    "peer.port",
    "peer.process",
    "peer.uid",
    "proxy.address",
    "proxy.port",
    "proxy.process",
    "proxy.uid",
    "tls.version",
    "tls.cipher",
    "tls.resumed",
    "tls.direct",
    "certificate_sha256",
    "asked.user",
    "asked.user_hex",
    "asked.database",
    "asked.database_hex",
    "asked.application_name",
    "asked.application_name_hex",
    "asked.settings[]",
    "asked.settings_hex[]",
    "asked.replication",
    "asked.truncated",
    "identity",
    "proofs[]",
    "assertion.provider",
    "assertion.subject",
    "assertion.subject_hex",
    "assertion.token_id",
    "assertion.token_id_hex",
    "assertion.key_id",
    "assertion.key_id_hex",
    "assertion.expires",
    "assertion.revocation",
    "assertion.truncated",
    "rule",
    "grant",
    "deny",
    "role",
    "cluster",
    "server.address",
    "server.port",
    "server.process",
    "server_error.sqlstate",
    "server_error.message",
    "server_error.message_hex",
    "server_error.truncated",
    "detail",
    "sqlstate",
    "target",
    "policy.generation",
    "policy.hash",
    "micros.tls",
    "micros.proof",
    "micros.decision",
    "micros.upstream",
    "micros.total",
];

const END: &[&str] = &[
    "time",
    "event",
    "session",
    "how",
    "identity",
    "grant",
    "role",
    "cluster",
    "server.address",
    "server.port",
    "server.process",
    "server_error.sqlstate",
    "server_error.message",
    "server_error.message_hex",
    "server_error.truncated",
    "detail",
    "sqlstate",
    "micros.upstream",
    "micros.session",
    "from_client.bytes",
    "from_client.messages.*",
    "from_server.bytes",
    "from_server.messages.*",
    "transactions",
];

const POLICY_REJECTED: &[&str] = &[
    "time",
    "event",
    "policy.generation",
    "policy.hash",
    "fault_count",
    "faults[].file",
    "faults[].line",
    "faults[].column",
    "faults[].message",
];

const AGGREGATED: &[&str] = &[
    "time",
    "event",
    "since",
    "attempts",
    "counts[].outcome",
    "counts[].reason",
    "counts[].attempts",
];

/// Calls `visit` with the path of every leaf of one line.
pub fn paths(line: &Value, visit: &mut impl FnMut(&str)) {
    walk(line, &mut String::new(), visit);
}

fn walk(value: &Value, path: &mut String, visit: &mut impl FnMut(&str)) {
    let length = path.len();
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                walk(member, path, visit);
                path.truncate(length);
            }
        }
        Value::Array(elements) => {
            path.push_str("[]");
            for element in elements {
                walk(element, path, visit);
            }
            path.truncate(length);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => visit(path),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::reason::{EndReason, Outcome, Reason};
    use super::*;

    const PAGE: &str = include_str!("../../docs/record.md");

    /// First cells of the rows under each heading, without their quotes.
    fn documented() -> BTreeSet<(&'static str, &'static str)> {
        let (mut heading, mut sub_heading) = ("", "");
        let mut rows = BTreeSet::new();
        for line in PAGE.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                (heading, sub_heading) = (title.trim_matches('`'), "member");
            } else if let Some(row) = line.strip_prefix("| ") {
                let cell = row.split(" |").next().unwrap_or_default();
                match cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) {
                    Some("outcome" | "reason" | "how") if !row.contains("See below") => {
                        sub_heading = cell.trim_matches('`')
                    }
                    Some(name) if sub_heading == "member" => drop(rows.insert((heading, name))),
                    Some(name) => drop(rows.insert((sub_heading, name))),
                    None => {}
                }
            }
        }
        rows
    }

    #[test]
    fn the_page_has_every_member_and_every_name_and_no_other() {
        let mut expected: BTreeSet<(&str, &str)> = BTreeSet::new();
        expected.extend(
            FIELDS
                .iter()
                .flat_map(|(event, paths)| paths.iter().map(move |path| (*event, *path))),
        );
        expected.extend(Outcome::ALL.iter().map(|one| ("outcome", one.as_str())));
        expected.extend(Reason::ALL.iter().map(|one| ("reason", one.as_str())));
        expected.extend(EndReason::ALL.iter().map(|one| ("how", one.as_str())));
        let documented = documented();
        let difference: Vec<_> = documented.symmetric_difference(&expected).collect();
        assert!(difference.is_empty(), "{difference:?}");
    }
}
