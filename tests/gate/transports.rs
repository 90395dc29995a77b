//! Ways to arrive: PROXY protocol, Unix sockets, negotiations before the start-up message; and evenness over the cores.

use std::time::Duration;

use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::record::at;
use crate::support::servers::Server;
use crate::support::stranger::{SSL_REQUEST, Stranger, field, request, startup};

const GSSENC_REQUEST: u32 = 80_877_104;

/// Version 2, PROXY, TCP over IPv4, from 203.0.113.9:4711.
const PROXY_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x7f\x00\x00\x01\x12\x67\x19\x20";

#[test]
fn proxy_protocol_names_the_client() {
    let gate = Gate::before(Server::of_version(15).database());
    let name = gate.database.name.as_str();
    let mut stranger = Stranger::at(gate.ports.balanced);
    stranger.say(PROXY_HEADER);
    stranger.say(&startup(&[("user", "alice"), ("database", name)]));
    assert_eq!(stranger.hear(1), b"R");
    drop(stranger);
    let attempt = gate.record.attempt_with("peer.address", "203.0.113.9");
    assert_eq!(at(&attempt, "peer.port"), "4711");
    assert_eq!(at(&attempt, "proxy.address"), "127.0.0.1");

    let said = psql(
        &gate.plain("alice").and_password().with("port", gate.ports.balanced),
        "select 1",
    )
    .ill();
    assert!(!said.is_empty());
    gate.record.attempt_with("reason", "proxy_protocol_missing");
}

/// The header and the StartupMessage in two segments, cut at each byte in turn; and in one.
#[test]
fn a_proxy_header_and_what_follows_cut_at_every_byte() {
    let gate = Gate::before(Server::of_version(15).database());
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let bytes = [PROXY_HEADER, &startup].concat();
    let mut strangers: Vec<_> = (1..=bytes.len())
        .map(|cut| {
            let mut stranger = Stranger::at(gate.ports.balanced);
            stranger.0.set_nodelay(true).expect("a socket option");
            stranger.say(&bytes[..cut]);
            (stranger, cut)
        })
        .collect();
    // Long enough for the gate to have read what there is.
    std::thread::sleep(Duration::from_millis(300));
    for (stranger, cut) in &mut strangers {
        stranger.say(&bytes[*cut..]);
        assert_eq!(stranger.hear(1), b"R", "cut at {cut}");
    }
    let count = strangers.len();
    drop(strangers);
    wait_for("each is on record as the client it is", Duration::from_secs(10), || {
        let attempts = gate.record.events("attempt");
        let named = attempts
            .iter()
            .filter(|attempt| at(attempt, "peer.address") == "203.0.113.9");
        (named.count() == count).then_some(())
    });
}

#[test]
fn a_unix_socket_tells_who_is_there() {
    let gate = Gate::before(Server::of_version(15).database());
    psql(&gate.local("alice").and_password(), "select 1").well();
    let attempt = gate.record.attempt_with("listener", "local");
    assert_eq!(at(&attempt, "peer.address"), "unix");
    // psql has ended; what is left of it is its number, and that it ran as we do.
    assert_ne!(at(&attempt, "peer.process"), "");
    assert_ne!(at(&attempt, "peer.uid"), "");
}

#[test]
fn negotiations_before_the_start_up_message() {
    let gate = Gate::before(Server::of_version(15).database());
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let mut stranger = Stranger::at(gate.ports.passwords);
    stranger.say(&request(GSSENC_REQUEST));
    assert_eq!(stranger.hear(1), b"N");
    stranger.say(&request(SSL_REQUEST));
    assert_eq!(stranger.hear(1), b"S");

    let mut stranger = Stranger::at(gate.ports.balanced);
    stranger.say(PROXY_HEADER);
    stranger.say(&request(SSL_REQUEST));
    assert_eq!(stranger.hear(1), b"N");
    stranger.say(&startup);
    assert_eq!(stranger.hear(1), b"R");

    // Bytes behind an SSLRequest in clear could be somebody else's: CVE-2021-23222.
    let mut stranger = Stranger::at(gate.ports.passwords);
    stranger.say(&[request(SSL_REQUEST), startup].concat());
    let answer = stranger.hear_to_the_end();
    assert!(answer.len() < 2 || field(&answer, b'C') == "08P01", "{answer:?}");
}

#[test]
fn an_unknown_version_and_unknown_options_are_negotiated() {
    let gate = Gate::before(Server::of_version(18).database());
    let mut newer = startup(&[("user", "alice"), ("database", "x"), ("_pq_.colour", "blue")]);
    newer[4..8].copy_from_slice(&0x0003_0009_u32.to_be_bytes());
    let mut stranger = Stranger::at(gate.ports.passwords);
    stranger.say(&newer);
    let answer = stranger.hear(5 + 8);
    assert_eq!(answer[0], b'v');
    assert_eq!(answer[5..9], 0x0003_0002_u32.to_be_bytes());
    assert_eq!(answer[9..13], 1_u32.to_be_bytes());

    let mut older = startup(&[("user", "alice")]);
    older[4..8].copy_from_slice(&0x0002_0000_u32.to_be_bytes());
    let mut stranger = Stranger::at(gate.ports.passwords);
    stranger.say(&older);
    assert_eq!(field(&stranger.hear_to_the_end(), b'C'), "0A000");
}

#[test]
fn eight_idle_sessions_are_spread_evenly_over_two_cores() {
    let gate = Gate::before(Server::of_version(15).database());
    let connection = gate.plain("alice").and_password();
    for round in 1..=20 {
        let mut sessions: Vec<_> = (0..8)
            .map(|_| crate::support::clients::spawn_psql(&connection))
            .collect();
        wait_for("eight sessions", Duration::from_secs(10), || {
            (gate.database.sessions() == 8).then_some(())
        });
        wait_for("their records", Duration::from_secs(5), || {
            (permits(&gate).len() == 8 * round).then_some(())
        });
        let newest = &permits(&gate)[8 * (round - 1)..];
        // The second part of a session id is its core.
        let on_first = newest.iter().filter(|id| core_of(id) == "0").count();
        assert_eq!(on_first, 4, "round {round}: {newest:?}");
        for session in &mut sessions {
            drop(session.stdin.take());
            session.wait().expect("psql ends");
        }
        wait_for("all gone", Duration::from_secs(5), || {
            (gate.record.events("end").len() == 8 * round).then_some(())
        });
    }
}

/// More than PostgreSQL has places for, so they stay where a place of the gate is all they hold: asked for their proof.
#[test]
fn a_thousand_idle_connections_are_spread_within_2_percent() {
    let gate = Gate::before(Server::of_version(15).database());
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let idle: Vec<Stranger> = (0..1_000)
        .map(|_| {
            let mut stranger = Stranger::at(gate.ports.passwords);
            stranger.say(&startup);
            assert_eq!(stranger.hear(1), b"R");
            stranger
        })
        .collect();
    drop(idle);
    let cores = wait_for("their records", Duration::from_secs(20), || {
        let mut attempts = gate.record.events("attempt");
        attempts.retain(|attempt| at(attempt, "asked.user") == "alice");
        let cores: Vec<String> = attempts.iter().map(|attempt| at(attempt, "session")).collect();
        (cores.len() == 1_000).then_some(cores)
    });
    let on_first = cores.iter().filter(|id| core_of(id) == "0").count();
    assert!(
        (490..=510).contains(&on_first),
        "{on_first} of 1,000 on the first of two"
    );
}

fn permits(gate: &Gate) -> Vec<String> {
    let mut attempts = gate.record.events("attempt");
    attempts.retain(|attempt| attempt["outcome"] == "permitted");
    attempts.iter().map(|attempt| at(attempt, "session")).collect()
}

fn core_of(session: &str) -> &str {
    session.split('-').nth(1).unwrap_or_default()
}
