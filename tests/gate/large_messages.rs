//! A message of nearly 1 GiB passes in each direction, and the gate never holds it.

use std::io::{Read, Write};

use crate::support::gate::Gate;
use crate::support::place::text_of;
use crate::support::servers::Server;
use crate::support::stranger::startup;
use crate::support::tls_stranger::{TlsStranger, arrive, configuration};

const SIZE: usize = 1_000_000_000;
/// What the gate may grow by meanwhile, in KiB: less than a thirtieth of the message.
const GROWTH: u64 = 32 * 1024;

#[test]
fn from_the_server() {
    let gate = Gate::before(Server::of_version(18).database());
    let mut stream = enter(&gate);
    let before = highest_memory(&gate);
    stream
        .write_all(&query_head("select repeat('x', 1000000000)\0".len()))
        .and_then(|()| stream.write_all(b"select repeat('x', 1000000000)\0"))
        .expect("sent");
    let lengths: Vec<_> = messages_until_ready(&mut stream);
    assert_eq!(lengths[1], (b'D', 2 + 4 + SIZE), "{lengths:?}");
    assert_eq!(lengths[2].0, b'C', "{lengths:?}");
    stays_small(&gate, before);
}

#[test]
fn to_the_server() {
    let gate = Gate::before(Server::of_version(18).database());
    let mut stream = enter(&gate);
    let before = highest_memory(&gate);
    let (start, end) = (b"select 'read' /*", b"*/\0");
    stream
        .write_all(&query_head(start.len() + SIZE + end.len()))
        .and_then(|()| stream.write_all(start))
        .expect("the start of a query");
    let part = [b'x'; 100_000];
    for _ in 0..SIZE / part.len() {
        stream.write_all(&part).expect("a part of a comment");
    }
    stream.write_all(end).expect("its end");
    let lengths = messages_until_ready(&mut stream);
    assert_eq!(lengths[1], (b'D', 2 + 4 + 4), "{lengths:?}");
    stays_small(&gate, before);
}

/// In by certificate, up to the first ReadyForQuery.
fn enter(gate: &Gate) -> TlsStranger {
    let card = &gate.policy.cards.billing;
    let mut stream = arrive(gate.ports.certificates, &configuration(&gate.ca, card));
    // The server is busy with a gigabyte for longer than a stranger waits for an answer otherwise.
    stream
        .sock
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .expect("a timeout");
    let startup = startup(&[("user", "billing"), ("database", &gate.database.name)]);
    stream.write_all(&startup).expect("hands are shaken");
    messages_until_ready(&mut stream);
    stream
}

fn query_head(length: usize) -> [u8; 5] {
    let length = u32::try_from(length + 4).expect("below 1 GiB").to_be_bytes();
    [b'Q', length[0], length[1], length[2], length[3]]
}

/// Letter and length of the body of each; the bodies are let go.
fn messages_until_ready(stream: &mut TlsStranger) -> Vec<(u8, usize)> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|(letter, _)| *letter != b'Z') {
        let mut head = [0; 5];
        stream.read_exact(&mut head).expect("a message");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) - 4;
        let mut body = Read::by_ref(stream).take(u64::from(length));
        let read = std::io::copy(&mut body, &mut std::io::sink()).expect("its body");
        assert_eq!(read, u64::from(length), "cut off");
        messages.push((head[0], length as usize));
    }
    messages
}

#[track_caller]
fn stays_small(gate: &Gate, before: u64) {
    let grown = highest_memory(gate) - before;
    assert!(grown < GROWTH, "{grown} KiB");
}

/// The peak so far of what the gate has in memory, in KiB.
fn highest_memory(gate: &Gate) -> u64 {
    let status = text_of(std::path::Path::new(&format!("/proc/{}/status", gate.pid())));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let value = line.and_then(|line| line.trim().strip_suffix(" kB"));
    value.expect("Linux tells").trim().parse().expect("a number")
}
