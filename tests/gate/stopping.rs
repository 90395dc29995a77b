//! SIGTERM, once and twice.

use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::clients::{Said, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::record::at;
use crate::support::servers::Server;
use crate::support::stranger::{Stranger, startup};

fn asking(gate: &Gate, sql: &str) -> Child {
    let mut client = spawn_psql(&gate.plain("alice").and_password());
    let input = client.stdin.as_mut().expect("a pipe");
    input.write_all(sql.as_bytes()).expect("psql reads");
    client
}

fn heard(client: Child) -> Said {
    client.wait_with_output().expect("psql ends").into()
}

fn verify(gate: &Gate) {
    let verified = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["audit", "verify"])
        .arg(&gate.record.0)
        .output()
        .expect("postern runs");
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn sigterm_drains_and_the_record_ends_well() {
    let mut gate = Gate::with(Server::of_version(18).database(), "drain_deadline = \"10s\"");
    let mut session = spawn_psql(&gate.plain("alice").and_password());
    let input = session.stdin.as_mut().expect("a pipe");
    input.write_all(b"select 'in', pg_sleep(1);\n").expect("psql reads");
    wait_for("it is in", Duration::from_secs(5), || {
        (gate.database.sessions() == 1).then_some(())
    });
    let status = gate.stop();
    assert!(status.success(), "{status}");
    drop(session.stdin.take());
    let said = session.wait_with_output().expect("psql ends");
    assert!(
        String::from_utf8_lossy(&said.stdout).starts_with("in|"),
        "the running query was finished: {said:?}"
    );
    let end = gate.record.events("end").pop().expect("an end");
    assert_eq!(at(&end, "how"), "drain", "{end}");
    verify(&gate);
}

/// tokio-postgres sends a Sync behind Execute, which the server ignores if a COPY begins with that, and one behind the data: a
/// session that waited for both answers would never be without work.
#[tokio::test]
async fn a_copy_that_is_over_holds_up_no_drain() {
    let mut gate = Gate::with(Server::of_version(18).database(), "drain_deadline = \"60s\"");
    let connection = gate.plain("alice").and_password().to_string();
    let (client, driver) = tokio_postgres::connect(&connection, tokio_postgres::NoTls)
        .await
        .expect("let in");
    let driver = tokio::spawn(driver);
    client
        .batch_execute("create temp table t (x int)")
        .await
        .expect("a table");
    let sink = client.copy_in::<_, &'static [u8]>("copy t from stdin").await;
    let mut sink = std::pin::pin!(sink.expect("a COPY"));
    assert_eq!(sink.as_mut().finish().await.expect("its end"), 0);
    let told = Instant::now();
    let status = tokio::task::spawn_blocking(move || (gate.stop(), gate))
        .await
        .expect("it stops");
    assert!(status.0.success(), "{}", status.0);
    assert!(told.elapsed() < Duration::from_secs(30), "it waited for its deadline");
    assert!(driver.await.expect("it ends").is_err(), "57P01");
    let end = status.1.record.events("end").pop().expect("an end");
    assert_eq!(at(&end, "how"), "drain", "{end}");
}

/// A query that runs, a transaction that waits for its client, a client that takes nothing, and one in the middle of its
/// login: the first signal leaves them be, the second tells each that can still hear.
#[test]
fn a_second_sigterm_tells_everybody_and_records_every_end() {
    let mut gate = Gate::with(Server::of_version(15).database(), "drain_deadline = \"60s\"");
    let sleeper = asking(&gate, "select pg_sleep(60);\n");
    let mut waiter = asking(&gate, "begin;\nselect 1;\n");
    let deaf = asking(&gate, "select repeat('x', 1000) from generate_series(1, 1000000);\n");
    let sql = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and \
         (state = 'idle in transaction' or wait_event in ('PgSleep', 'ClientWrite'))",
        gate.database.name
    );
    wait_for("three sessions under way", Duration::from_secs(20), || {
        (gate.database.server.sql("postgres", &sql) == "3").then_some(())
    });
    let mut newcomer = Stranger::at(gate.ports.passwords);
    newcomer.say(&startup(&[("user", "alice"), ("database", &gate.database.name)]));
    newcomer.hear(9);

    gate.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    assert!(gate.record.events("end").is_empty(), "they may finish");
    let told = Instant::now();
    let status = gate.stop();
    assert!(status.success(), "{status}");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());

    assert!(heard(sleeper).ill().contains("57P01"));
    let input = waiter.stdin.as_mut().expect("a pipe");
    input.write_all(b"select 2;\n").expect("psql reads");
    assert!(heard(waiter).ill().contains("57P01"));
    drop(deaf.wait_with_output());
    let refused = newcomer.hear_to_the_end();
    assert!(refused.windows(5).any(|code| code == b"57P03"), "{refused:?}");

    assert_eq!(
        at(&gate.record.attempt_with("reason", "draining"), "asked.user"),
        "alice"
    );
    // A server process does not notice that its client has gone while it sleeps: it was cancelled.
    wait_for("no query of theirs goes on", Duration::from_secs(5), || {
        (gate.database.sessions() == 0).then_some(())
    });
    let ends = gate.record.events("end");
    assert_eq!(ends.len(), 3, "{ends:?}");
    for end in ends {
        assert_eq!(at(&end, "how"), "drain", "{end}");
    }
    verify(&gate);
}
