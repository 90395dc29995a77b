//! A policy changes by dropping a file: who was refused gets in, who lost its right goes, everybody else notices nothing.

use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use postern::identity::scram::verifier;

use crate::support::clients::{pgbench, psql, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::policy::{REVOKED_SERIAL, grant};
use crate::support::record::at;
use crate::support::servers::{MARKER, Server};

const SOON: Duration = Duration::from_secs(5);

/// Queries of the gate's sessions that sleep, by the server's own word.
fn sleeping(gate: &Gate) -> u32 {
    let sql = format!(
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and usename = '{}'",
        gate.database.name
    );
    let count = gate.database.server.sql("postgres", &sql);
    count.parse().expect("a count")
}

#[test]
fn a_grant_dropped_in_lets_in_and_taken_out_ends_the_session_and_its_query() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let bob = gate.plain("bob").and_password();
        psql(&bob, "select 1").ill();

        gate.policy.drop_in("bob", &grant("bob", &["bob"], &gate.database, ""));
        wait_for("bob is let in", SOON, || psql(&bob, "select 1").ok.then_some(()));

        let mut other = spawn_psql(&gate.plain("alice").and_password());
        let mut sleeper = spawn_psql(&bob);
        let input = sleeper.stdin.as_mut().expect("a pipe");
        input.write_all(b"select pg_sleep(600);\n").expect("psql reads");
        wait_for("the query runs", SOON, || (sleeping(&gate) == 1).then_some(()));

        gate.policy.take_out("bob");
        let taken = Instant::now();
        wait_for("the query is gone from the server", SOON, || {
            (sleeping(&gate) == 0).then_some(())
        });
        // One second for the gate, and the debounce of the directory.
        assert!(taken.elapsed() < Duration::from_millis(2000), "{:?}", taken.elapsed());
        let said = sleeper.wait_with_output().expect("psql ends");
        let complaint = String::from_utf8_lossy(&said.stderr);
        assert!(complaint.contains("57P01"), "{complaint}");

        let attempt = gate.record.attempt_with("grant", "bob");
        let end = gate.record.end_of(&at(&attempt, "session"));
        assert_eq!(at(&end, "how"), "policy_changed", "{end}");

        // A session that the change does not concern goes on.
        let mut input = other.stdin.take().expect("a pipe");
        input.write_all(b"select 'still here';\n").expect("psql reads");
        drop(input);
        let said = other.wait_with_output().expect("psql ends");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "still here");
        psql(&bob, "select 1").ill();
    }
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let gate = Gate::before(Server::of_version(15).database());
    let alice = gate.plain("alice").and_password();
    gate.policy.drop_in(
        "broken",
        "[grant.broken]\nidentities = [\"nobody-at-all\"]\ncolour = 1\n",
    );
    let rejected = gate.record.wait_for_event("policy.rejected");
    assert!(rejected.to_string().contains("broken.toml"), "{rejected}");
    wait_for("the log says where", SOON, || {
        gate.log().contains("broken.toml").then_some(())
    });
    psql(&alice, "select 1").well();

    gate.policy.take_out("broken");
    gate.policy.drop_in("bob", &grant("bob", &["bob"], &gate.database, ""));
    let bob = gate.plain("bob").and_password();
    wait_for("the next good one is taken", SOON, || {
        psql(&bob, "select 1").ok.then_some(())
    });
}

#[test]
fn a_revocation_list_dropped_in_ends_the_session_of_its_certificate() {
    let gate = Gate::before(Server::of_version(18).database());
    let card = gate.policy.cards.billing.clone();
    let mut session = spawn_psql(&gate.by_card("billing", &card));
    let input = session.stdin.as_mut().expect("a pipe");
    input.write_all(b"select 1;\n").expect("psql reads");
    wait_for("the session is there", SOON, || {
        (gate.database.sessions() == 1).then_some(())
    });

    gate.place
        .write("pki/corp.crl", gate.policy.corp.crl(2, &[1, REVOKED_SERIAL]));
    gate.signal("HUP");
    wait_for("the session is ended", SOON, || {
        (gate.database.sessions() == 0).then_some(())
    });
    drop(session.stdin.take());
    session.wait().expect("psql ends");

    let said = psql(&gate.by_card("billing", &card), "select 1").ill();
    assert!(said.contains("certificate authentication failed"), "{said}");
    gate.record.attempt_with("reason", "certificate_revoked");
}

/// Whatever a session is in the middle of, and whether or not its client reads: a second, and it is gone from the server.
#[test]
fn a_permission_withdrawn_ends_copies_and_clients_that_do_not_read() {
    let gate = Gate::before(Server::of_version(15).database());
    gate.database.sql(&format!(
        "create table t (x int); grant all on t to {}",
        gate.database.name
    ));
    gate.policy.drop_in("bob", &grant("bob", &["bob"], &gate.database, ""));
    let bob = gate.plain("bob").and_password();
    wait_for("bob is let in", SOON, || psql(&bob, "select 1").ok.then_some(()));
    wait_for("and is gone", SOON, || (gate.database.sessions() == 0).then_some(()));
    let busy = [
        "select repeat('x', 1000) from generate_series(1, 10000000);\n",
        "\\copy (select generate_series(1, 1000000000)) to '/dev/null'\n",
        "\\copy t from program 'yes 1'\n",
        "select pg_sleep(600);\n",
    ];
    let clients = busy.map(|sql| {
        let mut client = spawn_psql(&bob);
        let input = client.stdin.as_mut().expect("a pipe");
        input.write_all(sql.as_bytes()).expect("psql reads");
        client
    });
    let active = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and state = 'active'",
        gate.database.name
    );
    let count = || gate.database.server.sql("postgres", &active);
    wait_for("all four are busy", SOON, || (count() == "4").then_some(()));
    std::thread::sleep(Duration::from_millis(500));

    gate.policy.take_out("bob");
    let taken = Instant::now();
    wait_for("they are gone from the server", SOON, || {
        (gate.database.sessions() == 0).then_some(())
    });
    assert!(taken.elapsed() < Duration::from_millis(2000), "{:?}", taken.elapsed());
    for client in clients {
        let said = client.wait_with_output().expect("psql ends");
        assert!(!said.status.success(), "{said:?}");
    }
    wait_for("four ends", SOON, || {
        let ends = gate.record.events("end");
        let revoked = ends.iter().filter(|end| end["how"] == "policy_changed");
        (revoked.count() == 4).then_some(())
    });
}

/// A hundred grants, one of them taken out under load: exactly its session ends.
#[test]
fn one_grant_in_a_hundred_taken_out_under_load_ends_one_session() {
    const LOST: usize = 37;
    let gate = Gate::before(Server::of_version(15).database());
    let names: Vec<String> = (0..100).map(|number| format!("user{number:02}")).collect();
    let secret = verifier::format(&verifier::make(MARKER.as_bytes(), &[5; 16], 4096));
    let identities = names
        .iter()
        .map(|name| format!("[identity.{name}]\nscram = \"{secret}\"\n"));
    let grants = |lost: Option<usize>| -> String {
        let kept = names.iter().enumerate().filter(|(number, _)| Some(*number) != lost);
        kept.map(|(_, name)| grant(name, &[name], &gate.database, "")).collect()
    };
    gate.policy.drop_in("users", &identities.collect::<String>());
    gate.policy.drop_in("grants", &grants(None));
    let of = |name: &str| gate.plain(name).with("password", MARKER);
    wait_for("they are let in", SOON, || {
        psql(&of("user00"), "select 1").ok.then_some(())
    });
    wait_for("and is gone", SOON, || (gate.database.sessions() == 0).then_some(()));
    let mut living: Vec<Child> = names.iter().map(|name| spawn_psql(&of(name))).collect();
    wait_for("a hundred sessions", Duration::from_secs(30), || {
        (gate.database.sessions() == 100).then_some(())
    });

    let alice = gate.plain("alice").and_password();
    let load = gate.place.write("load.sql", "select 1;\n");
    let load = load.to_str().expect("UTF-8").to_owned();
    let load = std::thread::spawn(move || pgbench(&alice, &["-n", "-c", "4", "-T", "5", "-f", &load]));
    std::thread::sleep(Duration::from_secs(1));
    gate.policy.drop_in("grants", &grants(Some(LOST)));
    load.join().expect("pgbench ran").well();

    for (number, session) in living.iter_mut().enumerate() {
        let mut input = session.stdin.take().expect("a pipe");
        // The one that has lost its session hears of it now.
        let _broken_pipe = input.write_all(b"select 'still here';\n");
        drop(input);
        assert_eq!(session.wait().expect("psql ends").success(), number != LOST, "{number}");
    }
    let revoked = wait_for("the ends", SOON, || {
        let ends = gate.record.events("end");
        (ends.len() >= 105).then(|| {
            let mut revoked = ends;
            revoked.retain(|end| end["how"] == "policy_changed");
            revoked
        })
    });
    assert_eq!(revoked.len(), 1, "{revoked:?}");
    assert_eq!(at(&revoked[0], "identity"), names[LOST]);
}

/// More queries than cancels go to one server at once.
#[test]
fn a_permission_withdrawn_from_a_hundred_sessions_ends_every_query() {
    const SESSIONS: u32 = 100;
    let gate = Gate::before(Server::of_version(15).database());
    gate.policy.drop_in("bob", &grant("bob", &["bob"], &gate.database, ""));
    let bob = gate.plain("bob").and_password();
    wait_for("bob is let in", SOON, || psql(&bob, "select 1").ok.then_some(()));
    let script = gate.place.write("sleep.sql", "select pg_sleep(100);\n");
    let script = script.to_str().expect("UTF-8").to_owned();
    let load = std::thread::spawn(move || pgbench(&bob, &["-n", "-c", &SESSIONS.to_string(), "-f", &script]));
    wait_for("all of them sleep", Duration::from_secs(20), || {
        (sleeping(&gate) == SESSIONS).then_some(())
    });

    gate.policy.take_out("bob");
    wait_for("none of them sleeps", SOON, || (sleeping(&gate) == 0).then_some(()));
    load.join().expect("pgbench ran").ill();
    let ends = gate.record.events("end");
    let revoked = ends.iter().filter(|end| at(end, "how") == "policy_changed");
    assert_eq!(revoked.count(), SESSIONS as usize);
}

#[test]
fn the_limit_of_sessions_at_once_is_exact() {
    let gate = Gate::before(Server::of_version(15).database());
    gate.policy
        .drop_in("bob", &grant("bob", &["bob"], &gate.database, "sessions = 3"));
    let bob = gate.plain("bob").and_password();
    wait_for("bob is let in", SOON, || psql(&bob, "select 1").ok.then_some(()));
    wait_for("and is gone", SOON, || (gate.database.sessions() == 0).then_some(()));

    let mut living: Vec<_> = (0..3).map(|_| spawn_psql(&bob)).collect();
    wait_for("three sessions", SOON, || (gate.database.sessions() == 3).then_some(()));
    let said = psql(&bob, "select 1").ill();
    assert!(said.contains("too many connections for role \"bob\""), "{said}");
    assert_eq!(
        at(&gate.record.attempt_with("reason", "too_many_sessions"), "sqlstate"),
        "53300"
    );

    let mut first = living.remove(0);
    drop(first.stdin.take());
    first.wait().expect("psql ends");
    wait_for("its place is free", SOON, || psql(&bob, "select 1").ok.then_some(()));
    for mut session in living {
        drop(session.stdin.take());
        session.wait().expect("psql ends");
    }
}
