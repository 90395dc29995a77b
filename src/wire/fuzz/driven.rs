//! The fuzz bodies driven from `tests/corpus/wire`. The first byte says which body gets the rest.

use core::net::SocketAddr;

use postern_fuzzing::{Entry, Marks, drive};

use super::*;
use crate::upstream::login::tests::transcript::{Line, read};
use crate::wire::authentication::{encode_ok, encode_sasl, encode_sasl_continue};
use crate::wire::cancel::CancelRequest;
use crate::wire::initial::ProtocolVersion;
use crate::wire::tag::{backend, frontend};
use crate::wire::write::message;

const MARKS: [&str; 13] = [
    "first message",
    "start-up parameters",
    "several messages followed",
    "message assembled",
    "PROXY header",
    "authentication",
    "password",
    "SASL initial response",
    "parameter status",
    "cancel key",
    "ready for query",
    "protocol version",
    "error report",
];

const INITIAL: u8 = 0;
const PARAMETERS: u8 = 1;
const FOLLOWER: u8 = 2;
const ASSEMBLER: u8 = 3;
const PROXY: u8 = 4;
const BODIES: u8 = 5;

#[test]
fn driven_from_the_corpus() {
    drive("wire", &MARKS, generated, run);
}

fn run(input: &[u8], marks: &mut Marks) {
    let Some((which, data)) = input.split_first() else {
        return;
    };
    let (reached, mark) = match which % 6 {
        INITIAL => (fuzz_initial(data), "first message"),
        PARAMETERS => (fuzz_parameters(data), "start-up parameters"),
        FOLLOWER => (fuzz_follower(data), "several messages followed"),
        ASSEMBLER => (fuzz_assembler(data), "message assembled"),
        PROXY => (fuzz_proxy_protocol(data), "PROXY header"),
        _bodies => return fuzz_bodies(data).into_iter().for_each(|kind| marks.reach(kind)),
    };
    if reached {
        marks.reach(mark);
    }
}

/// From the encoders, and from the recorded logins of PostgreSQL.
fn generated() -> Vec<Entry> {
    let mut entries = first_messages();
    entries.extend(streams());
    let recordings = [
        ("scram", include_str!("../../upstream/login/recorded/scram.txt")),
        ("md5", include_str!("../../upstream/login/recorded/md5.txt")),
        (
            "no-database",
            include_str!("../../upstream/login/recorded/no_database.txt"),
        ),
    ];
    for (name, recording) in recordings {
        let lines = read(recording);
        let stream: Vec<u8> = lines
            .iter()
            .filter(|line| matches!(line, Line::Received(_)))
            .flat_map(Line::bytes)
            .copied()
            .collect();
        entries.push(entry(&format!("assembler-{name}"), &[ASSEMBLER, 6], &stream));
        for (number, body) in bodies_of(&stream).into_iter().enumerate() {
            entries.push(entry(&format!("body-{name}-{number:02}"), &[BODIES], body));
        }
    }
    let said = [
        (
            "sasl",
            encoded(|out| {
                SaslInitialResponse {
                    mechanism: b"SCRAM-SHA-256",
                    data: Some(b"n,,n=,r=x"),
                }
                .encode(out)
            }),
        ),
        (
            "sasl-without",
            encoded(|out| {
                SaslInitialResponse {
                    mechanism: b"SCRAM-SHA-256",
                    data: None,
                }
                .encode(out)
            }),
        ),
        ("password", encoded(|out| encode_password(out, b"secret"))),
        (
            "ready",
            encoded(|out| encode_ready_for_query(out, TransactionStatus::InTransaction)),
        ),
        (
            "long-key",
            encoded(|out| {
                BackendKeyData {
                    process_id: 7,
                    key: &[3; 32],
                }
                .encode(out)
            }),
        ),
        (
            "version",
            encoded(|out| encode_negotiate_protocol_version(out, ProtocolVersion::V3_2, [&b"_pq_.x"[..]].into_iter())),
        ),
        (
            "methods",
            encoded(|out| encode_sasl(out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])),
        ),
    ];
    entries.extend(said.map(|(name, bytes)| entry(&format!("body-{name}"), &[BODIES], &bytes[5..])));
    entries
}

fn first_messages() -> Vec<Entry> {
    let pairs = |pairs: &[(&'static str, &'static str)]| -> Vec<u8> {
        let pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        encoded(|out| encode_startup(out, ProtocolVersion::V3_2, pairs))
    };
    let startups = [
        (
            "plain",
            pairs(&[("user", "alice"), ("database", "app"), ("application_name", "psql")]),
        ),
        (
            "options",
            pairs(&[("user", "alice"), ("options", "-c a.b=1 --work-mem=4MB -c geqo=\\ off")]),
        ),
        (
            "guarded",
            pairs(&[
                ("user", "alice"),
                ("options", "-cROLE=x --postern.identity=y"),
                ("role", "z"),
            ]),
        ),
        (
            "replication",
            pairs(&[("user", "alice"), ("replication", "database"), ("_pq_.x", "1")]),
        ),
    ];
    let mut entries = Vec::new();
    for (name, packet) in &startups {
        entries.push(entry(&format!("initial-{name}"), &[INITIAL], packet));
        entries.push(entry(&format!("parameters-{name}"), &[PARAMETERS], &packet[8..]));
    }
    for (name, key) in [("short", &b"keys"[..]), ("long", &[9; 32])] {
        let cancel = encoded(|out| encode_cancel(out, CancelRequest { process_id: 7, key }));
        entries.push(entry(&format!("initial-cancel-{name}"), &[INITIAL], &cancel));
    }
    let from: [SocketAddr; 2] = [([192, 0, 2, 1], 5).into(), (core::net::Ipv6Addr::LOCALHOST, 6).into()];
    for (number, address) in from.into_iter().enumerate() {
        let header = encoded(|out| proxy_protocol::encode_tcp(out, address, address));
        entries.push(entry(&format!("proxy-{number}"), &[PROXY], &header));
    }
    entries
}

/// What is relayed: a query, an extended query, COPY both ways.
fn streams() -> Vec<Entry> {
    let copy_in = encoded(|out| {
        for (tag, body) in [
            (frontend::QUERY, &b"copy t from stdin\0"[..]),
            (frontend::COPY_DATA, b"1\ta\n"),
            (frontend::COPY_DATA, b""),
            (frontend::COPY_DONE, b""),
            (frontend::TERMINATE, b""),
        ] {
            message(out, tag, |out| out.extend_from_slice(body));
        }
    });
    let extended = encoded(|out| {
        for (tag, body) in [
            (frontend::PARSE, &b"s\0select $1\0\0\0"[..]),
            (frontend::BIND, b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0"),
            (frontend::EXECUTE, b"\0\0\0\0\0"),
            (frontend::SYNC, b""),
        ] {
            message(out, tag, |out| out.extend_from_slice(body));
        }
    });
    let answers = encoded(|out| {
        for (tag, body) in [
            (backend::ROW_DESCRIPTION, &b"\0\0"[..]),
            (backend::DATA_ROW, b"\0\x01\0\0\0\x01x"),
            (backend::COMMAND_COMPLETE, b"SELECT 1\0"),
            (backend::COPY_OUT_RESPONSE, b"\0\0\0"),
            (backend::COPY_DATA, b"1\ta\n"),
            (backend::COPY_DONE, b""),
            (backend::READY_FOR_QUERY, b"I"),
        ] {
            message(out, tag, |out| out.extend_from_slice(body));
        }
    });
    let login = encoded(|out| {
        encode_sasl_continue(out, b"r=x,s=c2FsdA==,i=4096");
        encode_ok(out);
    });
    vec![
        entry("follower-copy-in", &[FOLLOWER, 2], &copy_in),
        entry("follower-extended", &[FOLLOWER, 0], &extended),
        entry("follower-answers", &[FOLLOWER, 6], &answers),
        entry("assembler-login", &[ASSEMBLER, 4], &login),
    ]
}

fn bodies_of(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while let Some(([_, length @ ..], rest)) = stream.split_first_chunk::<5>() {
        let (body, behind) = rest.split_at(u32::from_be_bytes(*length) as usize - 4);
        bodies.push(body);
        stream = behind;
    }
    bodies
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn entry(name: &str, head: &[u8], data: &[u8]) -> Entry {
    (name.to_owned(), [head, data].concat())
}
