//! A role's secret changes, at the server first.

use std::time::{Duration, Instant};

use crate::support::clients::{psql, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::record::at;
use crate::support::servers::{Database, MARKER, Server};

/// As the keeper has it: files are not read again for a refusal more often than this.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

fn change_password(database: &Database) -> String {
    let password = format!("rotated-{MARKER}");
    let sql = format!("alter role {} password '{password}'", database.name);
    database.server.sql("postgres", &sql);
    password
}

fn read_again(gate: &Gate) -> u64 {
    let page = gate.page("/metrics").expect("metrics");
    page.lines()
        .filter(|line| line.starts_with("postern_credential_reload_ended_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The file is written through another name of it in another directory: no watcher of its own directory hears of that.
#[test]
fn the_next_login_after_the_file_has_changed_works_at_once() {
    let gate = Gate::before(Server::of_version(15).database());
    let other_name = gate.place.path("role-elsewhere");
    std::fs::hard_link(gate.place.path("secrets/role"), &other_name).expect("a hard link");
    let alice = gate.plain("alice").and_password();
    psql(&alice, "select 1").well();
    std::thread::sleep(REREAD_INTERVAL);

    let password = change_password(&gate.database);
    std::fs::write(&other_name, password).expect("the file is written");
    psql(&alice, "select 1").well();
    assert_eq!(
        gate.record
            .events("attempt")
            .iter()
            .filter(|line| at(line, "outcome") == "permitted")
            .count(),
        2
    );
}

#[test]
fn a_storm_with_a_wrong_secret_reads_it_again_once_a_second() {
    const ATTEMPTS: usize = 20;
    let gate = Gate::before(Server::of_version(18).database());
    let alice = gate.plain("alice").and_password();
    change_password(&gate.database);
    let (before, started) = (read_again(&gate), Instant::now());
    let storm: Vec<_> = (0..ATTEMPTS).map(|_| spawn_psql(&alice)).collect();
    for client in storm {
        let said = client.wait_with_output().expect("psql ends");
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("the server rejected the connection"), "{said}");
    }
    let most = started.elapsed().as_secs() + 1;
    let read = read_again(&gate) - before;
    assert!(read <= most, "{read} readings within {most} seconds");
    wait_for("the ends", Duration::from_secs(5), || {
        (gate.record.events("end").len() == ATTEMPTS).then_some(())
    });
    for end in gate.record.events("end") {
        assert_eq!(at(&end, "how"), "upstream_refused");
        assert_eq!(at(&end, "server_error.sqlstate"), "28P01");
    }
}

/// What a tool that deletes and writes does, slowly: no login meanwhile, and none is let through with what is gone.
#[test]
fn a_secret_that_is_gone_makes_its_role_unusable_until_it_is_back() {
    let gate = Gate::before(Server::of_version(15).database());
    let alice = gate.plain("alice").and_password();
    psql(&alice, "select 1").well();
    let file = gate.place.path("secrets/role");
    let secret = std::fs::read(&file).expect("the secret");
    std::fs::remove_file(&file).expect("it was there");
    wait_for("it is missed", SOON, || {
        let refused = psql(&alice, "select 1");
        (!refused.ok).then(|| assert!(refused.err.contains("rejected the gate's login"), "{}", refused.err))
    });
    assert!(gate.log().contains("role unusable"), "{}", gate.log());
    gate.place.write_secret("secrets/role", secret);
    wait_for("it is back", SOON, || psql(&alice, "select 1").ok.then_some(()));
}

/// Where nothing tells of a change, as behind a link that leads elsewhere, files are looked at every second.
#[test]
fn a_secret_behind_a_link_out_of_its_directory_is_followed() {
    let gate = Gate::before(Server::of_version(15).database());
    let alice = gate.plain("alice").and_password();
    let elsewhere = gate.place.write_secret("elsewhere/role", &gate.database.password);
    let file = gate.place.path("secrets/role");
    std::fs::remove_file(&file).expect("it was there");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("a link");
    wait_for("the link is good", SOON, || psql(&alice, "select 1").ok.then_some(()));
    std::thread::sleep(REREAD_INTERVAL * 2);

    let before = read_again(&gate);
    let password = change_password(&gate.database);
    let fresh = gate.place.write_secret("elsewhere/fresh", password);
    std::fs::rename(fresh, &elsewhere).expect("it is put in place");
    wait_for("it is read, and nobody had to be refused", SOON, || {
        (read_again(&gate) > before).then_some(())
    });
    psql(&alice, "select 1").well();
    assert!(
        gate.record
            .events("end")
            .iter()
            .all(|end| at(end, "how") != "upstream_refused")
    );
}
