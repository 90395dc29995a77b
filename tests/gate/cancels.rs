//! Ctrl-C: a cancel request ends the query it means, and no other.

use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::clients::{ConnectionString, psql, python, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::policy::grant;
use crate::support::record::at;
use crate::support::servers::{Database, Server};
use crate::support::twins::twins;

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

/// 200 sleep on two clusters whose server processes have equal numbers, one is canceled, and its key is used again when
/// the session has gone.
#[test]
fn one_of_two_with_the_same_process_id_is_meant() {
    let Some([one, other]) = twins(18) else {
        eprintln!("skipped: no PID namespaces here, so no two servers with equal process ids");
        return;
    };
    let gate = Gate::before(one.server.database());
    let database = other.server.database();
    gate.place.write_secret("secrets/twin", &database.password);
    gate.policy.drop_in("twin", &twin_cluster(&gate, &database));
    let alice = [gate.plain("alice").and_password(), gate.tls("alice").and_password()];
    wait_for("the other cluster is granted", SOON, || {
        let there = alice[0].clone().with("dbname", &database.name);
        psql(&there, "select 1").ok.then_some(())
    });
    for connection in alice {
        for version in ["3.0", "3.2"] {
            let here = connection.clone().with("max_protocol_version", version);
            let there = here.clone().with("dbname", &database.name);
            let program = SLEEPERS.replace("THERE", &there.to_string());
            let said = python(&here, &program).well();
            assert_eq!(said, "one of 200 with 57014, then nobody", "{here}");
            // As without a gate, a query goes on when its client has left.
            for database in [&gate.database, &database] {
                let name = &database.name;
                database.sql(&format!(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{name}'"
                ));
                wait_for("they are gone", SOON, || (database.sessions() == 0).then_some(()));
            }
        }
    }
}

fn twin_cluster(gate: &Gate, database: &Database) -> String {
    let shown = |path: &std::path::Path| format!("{:?}", path.display().to_string());
    format!(
        "[cluster.twin]\nendpoints = [\"127.0.0.1:{}\"]\nroots = [{}]\n[cluster.twin.role.{}]\npassword_file = {}\n{}",
        database.server.port,
        shown(&database.server.ca),
        database.name,
        shown(&gate.place.path("secrets/twin")),
        grant("twin", &["alice"], database, "").replace("\"main\"", "\"twin\""),
    )
}

/// A result of every session is looked at: who is not hit still sleeps.
const SLEEPERS: &str = r#"
import select, sys, time, psycopg
from psycopg import pq
def connect(string):
    connection = pq.PGconn.connect(string.encode())
    assert connection.status == pq.ConnStatus.OK, connection.error_message
    return connection
sessions = [connect(string) for string in [sys.argv[1], """THERE"""] for _ in range(100)]
places = {}
for session in sessions:
    places.setdefault(session.backend_pid, []).append(session)
pairs = [pair for pair in places.values() if len(pair) == 2]
assert len(pairs) > 20, f"{len(pairs)} equal process ids"
for session in sessions:
    session.send_query(b"select pg_sleep(100)")
time.sleep(1)
def hit(seconds):
    deadline = time.monotonic() + seconds
    while not (ready := select.select([s.socket for s in sessions], [], [], 0.1)[0]) and time.monotonic() < deadline:
        pass
    time.sleep(0.5)
    ready = select.select([s.socket for s in sessions], [], [], 0)[0]
    return [s for s in sessions if s.socket in ready]
chosen = pairs[7][1]
first, again = chosen.cancel_conn(), chosen.cancel_conn()
first.start()
while first.poll() not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
    time.sleep(0.01)
assert hit(10) == [chosen], "somebody else, too"
code = chosen.get_result().error_field(pq.DiagnosticField.SQLSTATE).decode()
sessions.remove(chosen)
chosen.finish()
time.sleep(0.5)
again.start()
while again.poll() not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
    time.sleep(0.01)
assert hit(1) == [], "the key of a session that has gone"
print(f"one of {len(sessions) + 1} with {code}, then nobody")
for session in sessions:
    session.finish()
"#;

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
