//! Ctrl-C: a cancel request ends the query it means, and no other.

use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::clients::{ConnectionString, python, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::record::at;
use crate::support::servers::Server;

const SOON: Duration = Duration::from_secs(10);

fn sleeper(connection: &ConnectionString) -> Child {
    let mut child = spawn_psql(connection);
    let input = child.stdin.as_mut().expect("a pipe");
    input.write_all(b"select pg_sleep(100);\n").expect("psql reads");
    child
}

fn sleeping(gate: &Gate, count: usize) {
    let sql = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and query like 'select pg_sleep(100)%'
         and state = 'active'",
        gate.database.name
    );
    let asked = || gate.database.server.sql("postgres", &sql);
    wait_for(&format!("{count} sleep"), SOON, || {
        (asked() == count.to_string()).then_some(())
    });
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

fn complaint_of(child: Child) -> String {
    String::from_utf8_lossy(&child.wait_with_output().expect("psql ends").stderr).into_owned()
}

#[test]
fn psql_in_clear_and_over_tls() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let card = gate.policy.cards.billing.clone();
        for connection in [
            gate.plain("alice").and_password(),
            gate.tls("alice").and_password(),
            gate.by_card("billing", &card),
            gate.local("alice").and_password(),
        ] {
            let child = sleeper(&connection);
            sleeping(&gate, 1);
            let target = at(&gate.record.attempt_with("outcome", "permitted"), "session");
            interrupt(&child);
            let complaint = complaint_of(child);
            assert!(complaint.contains("57014"), "{complaint}");
            sleeping(&gate, 0);
            let cancel = gate.record.attempt_with("target", &target);
            assert_eq!(at(&cancel, "outcome"), "cancel");
            assert_eq!(at(&cancel, "reason"), "ok");
        }
    }
}

/// The kernel spreads connections over the cores, so among this many cancels one arrives on another core than its session.
#[test]
fn the_record_names_the_session_on_another_core() {
    let gate = Gate::before(Server::of_version(15).database());
    let connection = gate.plain("alice").and_password();
    let crossed = (0..24).any(|_| {
        let child = sleeper(&connection);
        sleeping(&gate, 1);
        let target = at(&gate.record.attempt_with("outcome", "permitted"), "session");
        interrupt(&child);
        assert!(complaint_of(child).contains("57014"));
        let cancel = gate.record.attempt_with("target", &target);
        assert_eq!(at(&cancel, "reason"), "ok");
        core_of(&at(&cancel, "session")) != core_of(&target)
    });
    assert!(crossed, "every cancel arrived on its session's core");
}

/// Sessions are named `<process>-<core>-<count>`.
fn core_of(session: &str) -> String {
    session.split('-').nth(1).expect("a core").to_owned()
}

#[test]
fn one_of_many_is_meant() {
    let gate = Gate::before(Server::of_version(15).database());
    let connection = gate.plain("alice").and_password();
    let mut children: Vec<Child> = (0..20).map(|_| sleeper(&connection)).collect();
    sleeping(&gate, 20);
    let chosen = children.remove(7);
    interrupt(&chosen);
    assert!(complaint_of(chosen).contains("57014"));
    sleeping(&gate, 19);
    for child in &children {
        interrupt(child);
    }
    for child in children {
        complaint_of(child);
    }
}

/// libpq 18: `Connection.cancel_safe` goes over TLS, and protocol 3.2 has keys that are longer than four bytes.
#[test]
fn libpq_18_with_protocol_3_2() {
    let gate = Gate::before(Server::of_version(18).database());
    for version in ["3.0", "3.2"] {
        let connection = gate.tls("alice").and_password().with("max_protocol_version", version);
        assert_eq!(python(&connection, CANCEL_SAFE).well(), "57014", "{version}");
    }
}

const CANCEL_SAFE: &str = r#"
import sys, threading, time, psycopg
with psycopg.connect(sys.argv[1]) as connection:
    threading.Timer(0.5, lambda: connection.cancel_safe(timeout=5)).start()
    try:
        connection.execute("select pg_sleep(30)")
    except psycopg.errors.QueryCanceled as error:
        print(error.sqlstate)
"#;
