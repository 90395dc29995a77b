//! Too many at once: a clear answer or a deadline, bounded memory, a record each, and a normal client still gets in.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::place::{text_of, wait_for};
use crate::support::servers::Server;
use crate::support::stranger::{Stranger, field, startup};

/// What docs/operations.md promises for a connection that has said nothing.
const BEFORE_PROOF: u64 = 4 * 1024;

#[test]
fn five_thousand_sockets_that_never_speak_cost_little_and_are_told() {
    let gate = Gate::with(
        Server::of_version(15).database(),
        "sessions = 6000\nstartup_deadline = \"15s\"",
    );
    let alice = gate.plain("alice").and_password();
    psql(&alice, "select 1").well();
    let before = resident(&gate);
    let mute: Vec<Stranger> = (0..5_000).map(|_| Stranger::at(gate.ports.passwords)).collect();
    psql(&alice, "select 1").well();
    let each = resident(&gate).saturating_sub(before) / 5_000;
    assert!(each <= BEFORE_PROOF, "{each} bytes for each mute socket");
    for mut stranger in mute {
        stranger
            .0
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        stranger.hear_to_the_end();
    }
    wait_for("each is in the record", Duration::from_secs(30), || {
        (attempts(&gate, "startup_timeout") == 5_000).then_some(())
    });
    psql(&alice, "select 1").well();
}

#[test]
fn ten_thousand_at_once_get_in_or_hear_53300() {
    let gate = Gate::with(
        Server::of_version(15).database(),
        "sessions = 4000\nauthentication_deadline = \"60s\"",
    );
    let startup = startup(&[("user", "alice"), ("database", &gate.database.name)]);
    let port = gate.ports.passwords;
    let came: Vec<Stranger> = std::thread::scope(|scope| {
        let storms: Vec<_> = (1..=8)
            .map(|host| {
                let startup = &startup;
                scope.spawn(move || (0..1_250).map(|_| arrive(host, port, startup)).collect::<Vec<_>>())
            })
            .collect();
        storms
            .into_iter()
            .flat_map(|storm| storm.join().expect("a storm"))
            .collect()
    });
    let (mut asked, mut refused) = (0, 0);
    let held: Vec<Stranger> = came
        .into_iter()
        .filter_map(|mut stranger| match stranger.hear(1)[0] {
            b'R' => {
                asked += 1;
                Some(stranger)
            }
            first => {
                let answer = [vec![first], stranger.hear_to_the_end()].concat();
                assert_eq!(field(&answer, b'C'), "53300");
                refused += 1;
                None
            }
        })
        .collect();
    assert_eq!((asked, refused), (4_000, 6_000));
    drop(held);
    wait_for("each is in the record", Duration::from_secs(60), || {
        let told = attempts(&gate, "out_of_places") + attempts(&gate, "client_closed");
        (told == 10_000).then_some(())
    });
    psql(&gate.plain("alice").and_password(), "select 1").well();
}

/// From an address of its own, so that ports do not run out, and without waiting for an answer.
fn arrive(host: u8, port: u16, startup: &[u8]) -> Stranger {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from(([127, 0, 1, host], 0));
    socket.bind(&from.into()).expect("an address of 127.0.0.0/8");
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(&to.into()).expect("the gate listens");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let mut stranger = Stranger(socket.into());
    stranger.say(startup);
    stranger
}

/// Attempts with this reason, told one by one or in sum.
fn attempts(gate: &Gate, reason: &str) -> u64 {
    let alone = gate
        .record
        .events("attempt")
        .iter()
        .filter(|line| line["reason"] == reason)
        .count() as u64;
    let lines = gate.record.events("attempts.aggregated");
    let counts = lines
        .iter()
        .flat_map(|line| line["counts"].as_array().into_iter().flatten());
    let summed: u64 = counts
        .filter(|count| count["reason"] == reason)
        .filter_map(|count| count["attempts"].as_u64())
        .sum();
    alone + summed
}

/// Bytes of memory that the gate's process has in use.
fn resident(gate: &Gate) -> u64 {
    let status = text_of(format!("/proc/{}/status", gate.pid()).as_ref());
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    let kilobytes = line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}
