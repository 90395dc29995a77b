//! Who goes on failing: answered later and later, then asked for nothing, and let in again afterwards.

use std::time::{Duration, Instant};

use postern_issuer::Issuer;

use crate::support::clients::{oauthbearer, psql};
use crate::support::gate::Gate;
use crate::support::issuer::{OAUTH, TokenGate, settings};
use crate::support::place::{Place, wait_for};
use crate::support::record::at;
use crate::support::servers::Server;
use crate::support::stranger::{Stranger, field, startup};

use super::abuse::aggregated;

const REFUSED_FOR: Duration = Duration::from_secs(8);
const TOO_MANY: &str = "too many failed authentication attempts, try again later";

fn gate(failures: &str) -> Gate {
    let audit = format!("pre_proof_bytes_per_second = \"1KiB\"\n[failures]\n{failures}");
    Gate::in_place(Place::new(), Server::of_version(18).database(), "", &audit)
}

/// What all cores have counted together.
fn metric(gate: &Gate, name: &str) -> u64 {
    let page = gate.page("/metrics").expect("the page");
    let samples = page.lines().filter_map(|line| line.strip_prefix(name));
    let values = samples.filter_map(|sample| sample.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

/// Attempts of this reason, whether each has its line or not.
fn recorded(gate: &Gate, reason: &str) -> (u64, u64) {
    let lines = gate.record.events("attempt");
    let lines = lines.iter().filter(|line| line["reason"] == reason).count();
    (lines as u64, aggregated(gate, reason))
}

/// How long it takes until a wrong password is told to be one.
fn guess(gate: &Gate) -> Duration {
    let started = Instant::now();
    let complaint = psql(&gate.plain("alice").with("password", "wrong"), "select 1").ill();
    let told = "FATAL:  password authentication failed for user \"alice\"";
    assert!(complaint.contains(told), "{complaint}");
    started.elapsed()
}

#[test]
fn guesses_are_delayed_and_then_refused_for_a_while() {
    let gate = gate(
        "delay_after = 1\ndelay = \"500ms\"\ndelay_max = \"1s\"\nrefuse_after = 4\nrefuse_for = \"8s\"\nwindow = \"1m\"",
    );
    let alice = gate.plain("alice").and_password();
    for at_least in [0, 500, 1_000, 1_000] {
        let took = guess(&gate);
        assert!(took >= Duration::from_millis(at_least), "{took:?}");
        // Good proofs are not delayed, and clear nothing.
        psql(&alice, "select 1").well();
    }
    assert_eq!(metric(&gate, "postern_failures_delayed_total"), 3);
    let last = Instant::now();
    guess(&gate);

    // With the right password as well, and before it is asked for.
    let complaint = psql(&alice, "select 1").ill();
    assert!(complaint.contains(&format!("FATAL:  {TOO_MANY}")), "{complaint}");
    let refused = 30;
    for number in 0..refused {
        let mut stranger = Stranger::at(gate.ports.passwords);
        let user = format!("user-{number}");
        stranger.say(&startup(&[("user", &user), ("database", &gate.database.name)]));
        let answer = stranger.hear_to_the_end();
        assert_eq!(
            (field(&answer, b'C').as_str(), field(&answer, b'M').as_str()),
            ("28000", TOO_MANY)
        );
        assert_eq!(field(&answer, b'S'), "FATAL");
    }
    assert!(last.elapsed() < REFUSED_FOR, "this machine is too slow for the test");
    // Another network is not concerned.
    psql(&gate.local("alice").and_password(), "select 1").well();

    wait_for("the network is let in again", 2 * REFUSED_FOR, || {
        psql(&alice, "select 1").ok.then_some(())
    });
    assert!(last.elapsed() >= REFUSED_FOR, "{:?}", last.elapsed());
    let refused = metric(&gate, "postern_failures_refused_total");
    assert!(refused >= 31, "{refused}");
    let lines = wait_for("each is in the record", Duration::from_secs(20), || {
        let (lines, counted) = recorded(&gate, "too_many_failures");
        (lines + counted == refused).then_some(lines)
    });
    assert!(lines < refused / 2, "{lines} lines of {refused}");
    assert_eq!(metric(&gate, "postern_failures_crowded_total"), 0);
}

#[test]
fn asking_where_to_get_a_token_is_no_failure() {
    let gate = gate("delay_after = 0\ndelay = \"1ms\"\nrefuse_after = 2");
    let issuer = Issuer::start(settings()).expect("an issuer");
    let world = TokenGate::of(gate, issuer, "", "");
    // Anything shown before would be a failure.
    wait_for("the issuer's keys", Duration::from_secs(10), || {
        world
            .gate
            .page("/providers")?
            .contains("\"keys_usable\":true")
            .then_some(())
    });
    let connection = world
        .gate
        .tls(OAUTH)
        .with("oauth_issuer", world.issuer.url())
        .with("oauth_client_id", "psql");
    let good = world.token(world.claims());
    for _ in 0..4 {
        oauthbearer(&["--asked"], &connection, &good).well();
    }
    let (lines, counted) = wait_for("each is in the record", Duration::from_secs(20), || {
        let (lines, counted) = recorded(&world.gate, "token_discovery");
        (lines + counted == 4).then_some((lines, counted))
    });
    assert_eq!(lines + counted, 4);
    assert_eq!(metric(&world.gate, "postern_failures_delayed_total"), 0);
    // A bad token is one.
    let bad = world.signed(|token| token.with_broken_signature());
    oauthbearer(&[], &connection, &bad).ill();
    assert_eq!(metric(&world.gate, "postern_failures_delayed_total"), 1);
    oauthbearer(&[], &connection, &good).well();
    for _ in 0..2 {
        oauthbearer(&[], &connection, &bad).ill();
    }
    let complaint = oauthbearer(&[], &connection, &good).ill();
    assert!(complaint.contains(TOO_MANY), "{complaint}");
    let attempt = world
        .gate
        .record
        .attempt_where("a permit", |line| at(line, "outcome") == "permitted");
    assert_eq!(at(&attempt, "identity"), "carol");
}
