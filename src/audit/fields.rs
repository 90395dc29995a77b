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
