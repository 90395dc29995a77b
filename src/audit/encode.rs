//! The record's form: one JSON object on one line. `docs/record.md` lists every field; the golden lines in the tests pin it.
//!
//! Absent facts are absent members. What a client said of itself stands in `asked` and nowhere else.

use std::fmt::Write as _;

use core::net::{IpAddr, SocketAddr};

use super::json::{Object, push_hex, push_string};
use super::reason::{Outcome, Reason};
use super::record::*;
use super::text::{PEER_NAMES_CAP, PeerText, whole_characters};
use crate::time::Utc;

/// Bytes written of one text of ours that can grow (a fault's message, a file name).
const OWN_TEXT_CAP: usize = 1_024;

/// Appends `record` and the line's end.
pub fn encode(record: &Record, out: &mut String) {
    Object::write(out, |line| match record {
        Record::Attempt(attempt) => write_attempt(line, attempt),
        Record::End(end) => write_end(line, end),
        Record::Policy(policy) => write_policy(line, policy),
        Record::Process(process) => write_process(line, process),
        Record::Audit(audit) => write_audit(line, audit),
    });
    out.push('\n');
}

fn write_attempt(line: &mut Object<'_>, attempt: &Attempt) {
    begin(line, attempt.at, "attempt");
    line.plain_text("session", attempt.session);
    line.text("outcome", attempt.outcome.as_str());
    line.text("reason", attempt.reason.as_str());
    line.optional_text("listener", attempt.listener.as_deref());
    write_peer(line, "peer", attempt.peer);
    if let Some(proxy) = attempt.proxy {
        write_peer(line, "proxy", proxy);
    }
    if let Some(tls) = &attempt.tls {
        write_tls(line, tls);
    }
    if let Some(fingerprint) = &attempt.certificate {
        line.hex("certificate_sha256", fingerprint);
    }
    write_asked(line, &attempt.asked);
    line.optional_text("identity", attempt.identity.as_deref());
    write_proofs(line, attempt.proofs);
    if let Some(assertion) = &attempt.assertion {
        write_assertion(line, assertion);
    }
    line.optional_text("rule", attempt.rule.as_deref());
    line.optional_text("grant", attempt.grant.as_deref());
    line.optional_text("deny", attempt.deny.as_deref());
    line.optional_text("role", attempt.role.as_deref());
    line.optional_text("cluster", attempt.cluster.as_deref());
    write_server(line, attempt.server.as_ref(), attempt.server_error.as_ref());
    line.optional_text("detail", attempt.detail.as_deref().map(capped));
    write_sqlstate(line, attempt.sqlstate);
    if let Some(target) = attempt.target {
        line.plain_text("target", target);
    }
    if let Some(policy) = attempt.policy {
        write_policy_id(line, "policy", policy);
    }
    write_micros(line, attempt.micros);
}

fn write_end(line: &mut Object<'_>, end: &End) {
    begin(line, end.at, "end");
    line.plain_text("session", end.session);
    line.text("how", end.how.as_str());
    line.optional_text("identity", end.identity.as_deref());
    line.optional_text("grant", end.grant.as_deref());
    line.optional_text("role", end.role.as_deref());
    line.optional_text("cluster", end.cluster.as_deref());
    write_server(line, end.server.as_ref(), end.server_error.as_ref());
    line.optional_text("detail", end.detail.as_deref().map(capped));
    write_sqlstate(line, end.sqlstate);
    line.object("micros", |micros| {
        micros.optional_number("upstream", end.upstream_micros);
        micros.number("session", end.duration_micros);
    });
    write_traffic(line, "from_client", &end.from_client);
    write_traffic(line, "from_server", &end.from_server);
    line.number("transactions", end.transactions);
}

fn write_policy(line: &mut Object<'_>, policy: &Policy) {
    match policy {
        Policy::Loaded {
            at,
            policy,
            identities,
            grants,
        } => {
            begin(line, *at, "policy.loaded");
            write_policy_id(line, "policy", *policy);
            line.number("identities", *identities);
            line.number("grants", *grants);
        }
        Policy::Rejected { at, serving, faults } => {
            begin(line, *at, "policy.rejected");
            if let Some(serving) = serving {
                write_policy_id(line, "policy", *serving);
            }
            line.number("fault_count", faults.len() as u64);
            line.list("faults", faults.iter().take(POLICY_FAULTS_CAP), write_fault);
        }
    }
}

fn write_fault(out: &mut String, fault: &PolicyFault) {
    Object::write(out, |object| {
        object.text("file", capped(&fault.file));
        object.number("line", u64::from(fault.line));
        object.number("column", u64::from(fault.column));
        object.text("message", capped(&fault.message));
    });
}

fn write_process(line: &mut Object<'_>, process: &Process) {
    match process {
        Process::Started {
            at,
            process,
            pid,
            version,
            cores,
            listeners,
        } => {
            begin(line, *at, "process.started");
            line.plain_text("process", format_args!("{process:016x}"));
            line.number("pid", u64::from(*pid));
            line.text("version", version);
            line.number("cores", u64::from(*cores));
            line.list("listeners", listeners, |out, name| push_string(out, name));
        }
        Process::Stopped {
            at,
            why,
            sessions_ended,
        } => {
            begin(line, *at, "process.stopped");
            line.text("why", why.as_str());
            line.number("sessions_ended", *sessions_ended);
        }
        Process::ListenersReloaded { at, listeners, faults } => {
            begin(line, *at, "listeners.reloaded");
            line.list("listeners", listeners, |out, name| push_string(out, name));
            line.list("faults", faults, |out, fault| push_string(out, capped(fault)));
        }
    }
}

fn write_audit(line: &mut Object<'_>, audit: &Audit) {
    match audit {
        Audit::TornTail { at, bytes } => {
            begin(line, *at, "audit.torn_tail");
            line.number("bytes", *bytes);
        }
        Audit::Rotated { at, previous, deleted } => {
            begin(line, *at, "audit.rotated");
            line.text("previous", capped(previous));
            line.optional_text("deleted", deleted.as_deref().map(capped));
        }
        Audit::Dropped { at, since, counts } => {
            begin(line, *at, "audit.dropped");
            write_time(line, "since", *since);
            line.number("permits", counts.permits);
            line.number("ends", counts.ends);
            line.number("others", counts.others);
        }
        Audit::Resumed {
            at,
            since,
            error,
            refused,
        } => {
            begin(line, *at, "audit.resumed");
            write_time(line, "since", *since);
            line.text("error", capped(error));
            line.number("refused", *refused);
        }
        Audit::AttemptsAggregated { at, since, counts } => {
            begin(line, *at, "attempts.aggregated");
            write_time(line, "since", *since);
            line.number("attempts", counts.iter().map(|(_, _, count)| count).sum());
            line.list("counts", counts, write_aggregate);
        }
    }
}

fn write_aggregate(out: &mut String, (outcome, reason, count): &(Outcome, Reason, u64)) {
    Object::write(out, |object| {
        object.text("outcome", outcome.as_str());
        object.text("reason", reason.as_str());
        object.number("attempts", *count);
    });
}

fn begin(line: &mut Object<'_>, at: Utc, event: &str) {
    write_time(line, "time", at);
    line.text("event", event);
}

/// RFC 3339, always UTC and always six digits of a second, so that lines sort as text.
fn write_time(line: &mut Object<'_>, key: &str, at: Utc) {
    let earliest_or_latest = if at.0 < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    let time = jiff::Timestamp::from_microsecond(at.0).unwrap_or(earliest_or_latest);
    line.plain_text(key, format_args!("{time:.6}"));
}

fn write_peer(line: &mut Object<'_>, key: &str, peer: Peer) {
    line.object(key, |object| match peer {
        Peer::Ip(address) => write_address(object, address),
        Peer::Unix { process, uid } => {
            object.text("address", "unix");
            object.optional_number("process", process.map(u64::from));
            object.optional_number("uid", uid.map(u64::from));
        }
    });
}

fn write_address(object: &mut Object<'_>, address: SocketAddr) {
    let ip: IpAddr = address.ip().to_canonical();
    object.plain_text("address", ip);
    object.number("port", u64::from(address.port()));
}

fn write_tls(line: &mut Object<'_>, tls: &TlsFacts) {
    line.object("tls", |object| {
        object.text("version", tls.version.as_str());
        object.text("cipher", tls.cipher);
        object.flag("resumed", tls.resumed);
        object.flag("direct", tls.direct);
    });
}

fn write_asked(line: &mut Object<'_>, asked: &Asked) {
    if *asked == Asked::default() {
        return;
    }
    let single = [&asked.user, &asked.database, &asked.application_name];
    let texts = || {
        single
            .into_iter()
            .flatten()
            .chain(asked.settings.iter().take(PEER_NAMES_CAP))
    };
    let truncated = texts().any(PeerText::is_truncated) || asked.settings.len() > PEER_NAMES_CAP;
    line.object("asked", |object| {
        write_peer_text(object, "user", asked.user.as_ref());
        write_peer_text(object, "database", asked.database.as_ref());
        write_peer_text(object, "application_name", asked.application_name.as_ref());
        write_settings(object, &asked.settings);
        if asked.replication {
            object.flag("replication", true);
        }
        if truncated {
            object.flag("truncated", true);
        }
    });
}

/// `key`, or `key_hex` where the bytes are no UTF-8: a member never changes its type.
fn write_peer_text(object: &mut Object<'_>, key: &str, text: Option<&PeerText>) {
    match text.map(PeerText::as_text) {
        Some(Ok(text)) => object.text(key, text),
        Some(Err(bytes)) => object.hex(&format!("{key}_hex"), bytes),
        None => {}
    }
}

fn write_settings(object: &mut Object<'_>, settings: &[PeerText]) {
    let settings = || settings.iter().take(PEER_NAMES_CAP);
    if settings().any(|name| name.as_text().is_ok()) {
        let names = settings().filter_map(|name| name.as_text().ok());
        object.list("settings", names, push_string);
    }
    if settings().any(|name| name.as_text().is_err()) {
        let names = settings().filter_map(|name| name.as_text().err());
        object.list("settings_hex", names, push_hex);
    }
}

fn write_proofs(line: &mut Object<'_>, proofs: Proofs) {
    let certificate = proofs.certificate.then_some("certificate");
    let scram = proofs.scram.map(|scram| match scram {
        ScramProof::Plain => "scram_sha_256",
        ScramProof::Plus => "scram_sha_256_plus",
    });
    let token = proofs.token.map(|token| match token {
        TokenProof::Bearer => "token",
        TokenProof::Bound => "token_bound",
    });
    let webhook = proofs.webhook.then_some("webhook");
    let all = [certificate, scram, token, webhook];
    if all.iter().any(Option::is_some) {
        line.list("proofs", all.into_iter().flatten(), push_string);
    }
}

fn write_assertion(line: &mut Object<'_>, assertion: &Assertion) {
    line.object("assertion", |object| {
        object.text("provider", &assertion.provider);
        let texts = [&assertion.subject, &assertion.token_id, &assertion.key_id];
        for (name, text) in ["subject", "token_id", "key_id"].into_iter().zip(texts) {
            write_peer_text(object, name, text.as_ref());
        }
        if let Some(expires) = assertion.expires {
            write_time(object, "expires", expires);
        }
        object.optional_text("revocation", assertion.revocation.as_deref());
        if texts.into_iter().flatten().any(PeerText::is_truncated) {
            object.flag("truncated", true);
        }
    });
}

fn write_server(line: &mut Object<'_>, server: Option<&Server>, error: Option<&ServerError>) {
    if let Some(server) = server {
        line.object("server", |object| {
            match &server.address {
                ServerAddress::Ip(address) => write_address(object, *address),
                ServerAddress::Unix(path) => object.text("address", capped(path)),
            }
            object.optional_number("process", server.process.map(u64::from));
        });
    }
    if let Some(error) = error {
        line.object("server_error", |object| {
            write_sqlstate(object, error.sqlstate);
            write_peer_text(object, "message", Some(&error.message));
            if error.message.is_truncated() {
                object.flag("truncated", true);
            }
        });
    }
}

/// A server's five bytes may be anything; what is no ASCII shows as `?`.
fn write_sqlstate(object: &mut Object<'_>, sqlstate: Option<[u8; 5]>) {
    if let Some(code) = sqlstate {
        let text: String = code
            .iter()
            .map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' })
            .collect();
        object.text("sqlstate", &text);
    }
}

fn write_policy_id(line: &mut Object<'_>, key: &str, policy: PolicyId) {
    line.object(key, |object| {
        object.number("generation", policy.generation);
        object.hex("hash", &policy.hash);
    });
}

fn write_micros(line: &mut Object<'_>, micros: Micros) {
    if micros == Micros::default() {
        return;
    }
    line.object("micros", |object| {
        object.optional_number("tls", micros.tls);
        object.optional_number("proof", micros.proof);
        object.optional_number("decision", micros.decision);
        object.optional_number("upstream", micros.upstream);
        object.optional_number("total", micros.total);
    });
}

fn write_traffic(line: &mut Object<'_>, key: &str, traffic: &Traffic) {
    line.object(key, |object| {
        object.number("bytes", traffic.bytes);
        object.object("messages", |messages| {
            let mut name = String::with_capacity(4);
            for (tag, count) in &traffic.messages {
                name.clear();
                write_message_name(&mut name, *tag);
                messages.number(&name, *count);
            }
        });
    });
}

/// The letter of the message type; what is no letter or digit, as `0x..`.
fn write_message_name(name: &mut String, tag: u8) {
    if tag.is_ascii_alphanumeric() {
        name.push(char::from(tag));
    } else {
        // Writing to a String cannot fail.
        write!(name, "0x{tag:02x}").unwrap_or_default();
    }
}

fn capped(text: &str) -> &str {
    whole_characters(text, OWN_TEXT_CAP)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
