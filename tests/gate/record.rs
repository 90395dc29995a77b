//! What is left after the gate ends, well or badly.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::support::clients::{pgbench, psql, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::servers::Server;

#[test]
fn kill_9_leaves_a_readable_record_with_every_session_in_it() {
    let mut gate = Gate::before(Server::of_version(15).database());
    let alice = gate.plain("alice").and_password();
    let mut sessions: Vec<_> = (0..5).map(|_| spawn_psql(&alice)).collect();
    for session in &mut sessions {
        session
            .stdin
            .as_mut()
            .expect("a pipe")
            .write_all(b"select 1;\n")
            .expect("psql reads");
    }
    wait_for("five sessions", Duration::from_secs(5), || {
        (gate.database.sessions() == 5).then_some(())
    });
    gate.kill();
    for mut session in sessions {
        drop(session.stdin.take());
        session.wait().expect("psql ends");
    }
    let permits = gate
        .record
        .events("attempt")
        .into_iter()
        .filter(|line| line["outcome"] == "permitted")
        .count();
    assert_eq!(permits, 5);

    gate.restart();
    psql(&alice, "select 1").well();
    // The end of the session just now is written a moment after its client has gone.
    wait_for_open_sessions(&gate, 5);
}

#[test]
fn kill_9_in_the_middle_of_load_leaves_no_session_at_the_server() {
    let mut gate = Gate::before(Server::of_version(18).database());
    let alice = gate.plain("alice").and_password();
    let script = gate.place.write("load.sql", "select generate_series(1, 100);\n");
    let load = std::thread::spawn({
        let alice = alice.clone();
        move || {
            pgbench(
                &alice,
                &["-n", "-c", "8", "-T", "30", "-f", script.to_str().expect("UTF-8")],
            )
        }
    });
    wait_for("eight sessions", Duration::from_secs(20), || {
        (gate.database.sessions() == 8).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    gate.kill();
    load.join().expect("pgbench ran").ill();
    wait_for("the server's processes are gone", Duration::from_secs(10), || {
        (gate.database.sessions() == 0).then_some(())
    });
    gate.restart();
    psql(&alice, "select 1").well();
    wait_for_open_sessions(&gate, 8);
}

#[test]
fn metrics_count_what_the_record_tells() {
    let gate = Gate::before(Server::of_version(15).database());
    psql(&gate.plain("alice").and_password(), "select 1").well();
    psql(&gate.plain("alice").with("password", "wrong"), "select 1").ill();
    gate.record.attempt_with("reason", "scram_failed");
    let page = gate.page("/metrics").expect("an answer");
    for needle in ["outcome=\"permitted\"", "reason=\"scram_failed\""] {
        let counted = page
            .lines()
            .filter(|line| line.contains(needle) && !line.starts_with('#'))
            .any(|line| line.ends_with(" 1"));
        assert!(counted, "{needle} in\n{page}");
    }
    assert!(
        gate.page("/healthz")
            .is_some_and(|page| page.starts_with("HTTP/1.1 200"))
    );
}

/// `audit verify` finds so many sessions that were let in and never ended.
fn wait_for_open_sessions(gate: &Gate, count: u32) {
    let told = format!("\n{count} permitted attempts without an end");
    wait_for(&told, Duration::from_secs(5), || {
        let verified = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["audit", "verify"])
            .arg(&gate.record.0)
            .output()
            .expect("postern runs");
        String::from_utf8_lossy(&verified.stdout).contains(&told).then_some(())
    });
}
