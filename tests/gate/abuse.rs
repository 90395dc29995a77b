//! Bytes that are not the protocol, peers that say nothing, and what a normal client notices of it: nothing.

use std::time::Duration;

use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::servers::Server;
use crate::support::stranger::{SSL_REQUEST, Stranger, field, framed, request, startup};

#[test]
fn five_hundred_sockets_that_never_speak() {
    let gate = Gate::with(Server::of_version(15).database(), "startup_deadline = \"3s\"");
    let alice = gate.plain("alice").and_password();
    let mute: Vec<Stranger> = (0..500).map(|_| Stranger::at(gate.ports.passwords)).collect();
    psql(&alice, "select 1").well();
    for mut stranger in mute {
        stranger.hear_to_the_end();
    }
    let told = || {
        let timeouts = gate
            .record
            .events("attempt")
            .iter()
            .filter(|line| line["reason"] == "startup_timeout")
            .count();
        let counted: u64 = aggregated(&gate, "startup_timeout");
        (timeouts as u64 + counted == 500).then_some(())
    };
    wait_for("each is in the record", Duration::from_secs(15), told);
    psql(&alice, "select 1").well();
}

pub fn aggregated(gate: &Gate, reason: &str) -> u64 {
    let lines = gate.record.events("attempts.aggregated");
    let counts = lines
        .iter()
        .flat_map(|line| line["counts"].as_array().into_iter().flatten());
    counts
        .filter(|count| count["reason"] == reason)
        .filter_map(|count| count["attempts"].as_u64())
        .sum()
}

#[test]
fn garbage_half_messages_and_lengths_that_cannot_be() {
    let gate = Gate::with(Server::of_version(15).database(), "startup_deadline = \"2s\"");
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let half = &startup[..startup.len() / 2];
    let cases: &[(&str, Vec<u8>)] = &[
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("a length of 0", vec![0, 0, 0, 0]),
        ("a length of 4", vec![0, 0, 0, 4]),
        (
            "a length of 2 GiB",
            [&0x7fff_ffff_u32.to_be_bytes()[..], &[0; 60]].concat(),
        ),
        (
            "11 KB of start-up",
            framed(&[&196_608_u32.to_be_bytes()[..], &[b'a'; 11_000]].concat()),
        ),
        (
            "no end of parameters",
            framed(&[&196_608_u32.to_be_bytes()[..], b"user\0alice\0"].concat()),
        ),
        (
            "no user",
            framed(&[&196_608_u32.to_be_bytes()[..], b"database\0x\0\0"].concat()),
        ),
        ("half a message", half.to_vec()),
        ("two SSLRequests", [request(SSL_REQUEST), request(SSL_REQUEST)].concat()),
        ("a TLS hello that is none", b"\x16\x03\x01\x00\x05hello".to_vec()),
        (
            "a cancel for nobody",
            framed(&[&80_877_102_u32.to_be_bytes()[..], &[7; 8]].concat()),
        ),
    ];
    for (name, bytes) in cases {
        let mut stranger = Stranger::at(gate.ports.passwords);
        stranger.say(bytes);
        let answer = stranger.hear_to_the_end();
        let text = String::from_utf8_lossy(&answer);
        // A clear error, an alert, one byte of negotiation, or a deadline without a word; never a login.
        assert!(answer.first() != Some(&b'R'), "{name}: {text}");
    }
    psql(&gate.plain("alice").and_password(), "select 1").well();
}

#[test]
fn a_login_that_goes_wrong_half_way() {
    let gate = Gate::with(Server::of_version(15).database(), "authentication_deadline = \"2s\"");
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let message = |tag: u8, body: &[u8]| [&[tag][..], &framed(body)].concat();
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("a query instead of a proof", message(b'Q', b"select 1\0"), "08P01"),
        (
            "a mechanism that is not offered",
            message(b'p', b"PLAIN\0\0\0\0\0"),
            "08P01",
        ),
        (
            "an endless proof",
            [&[b'p'][..], &0x4000_0000_u32.to_be_bytes()].concat(),
            "08P01",
        ),
        ("no proof at all", Vec::new(), ""),
    ];
    for (name, bytes, sqlstate) in cases {
        let mut stranger = Stranger::at(gate.ports.passwords);
        stranger.say(&startup);
        let head = stranger.hear(5);
        assert_eq!(head[0], b'R', "{name}");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        stranger.hear(length - 4);
        stranger.say(bytes);
        let answer = stranger.hear_to_the_end();
        if !sqlstate.is_empty() {
            assert_eq!(field(&answer, b'C'), *sqlstate, "{name}");
        }
    }
    gate.record.attempt_with("reason", "authentication_timeout");
    assert_eq!(gate.database.sessions(), 0);
}

/// A byte every tenth of a second is no progress: the deadline counts from the beginning.
#[test]
fn slow_writers_meet_the_deadline_and_hold_up_nobody() {
    const EACH: usize = 20;
    let gate = Gate::with(
        Server::of_version(15).database(),
        "startup_deadline = \"2s\"\nauthentication_deadline = \"2s\"",
    );
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let response = [&[b'p'][..], &framed(&[b'x'; 200])].concat();
    let port = gate.ports.passwords;
    std::thread::scope(|scope| {
        for _ in 0..EACH {
            scope.spawn(|| drip(Stranger::at(port), &startup));
            scope.spawn(|| {
                let mut stranger = Stranger::at(port);
                stranger.say(&startup);
                stranger.hear(9);
                drip(stranger, &response);
            });
        }
        psql(&gate.plain("alice").and_password(), "select 1").well();
    });
    for reason in ["startup_timeout", "authentication_timeout"] {
        wait_for("each is in the record", Duration::from_secs(10), || {
            let attempts = gate.record.events("attempt");
            let told = attempts.iter().filter(|line| line["reason"] == reason).count();
            (told == EACH).then_some(())
        });
    }
}

/// Four seconds of it; whether the gate closes meanwhile shows at the end.
fn drip(mut stranger: Stranger, bytes: &[u8]) {
    for byte in bytes.iter().take(40) {
        stranger.say(&[*byte]);
        std::thread::sleep(Duration::from_millis(100));
    }
    stranger.hear_to_the_end();
}
