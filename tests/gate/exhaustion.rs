//! Descriptors and disk run out, and come back.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::clients::{pgbench, psql, spawn_psql};
use crate::support::gate::Gate;
use crate::support::place::{Place, SmallDisk, text_of, wait_for};
use crate::support::record::at;
use crate::support::servers::Server;

/// A psql that stays, and is asked one question after the other.
struct Living {
    client: Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Living {
    fn enter(gate: &Gate) -> Self {
        let mut client = spawn_psql(&gate.plain("alice").and_password());
        let answers = BufReader::new(client.stdout.take().expect("a pipe")).lines();
        let mut living = Self { client, answers };
        living.goes_on();
        living
    }

    fn goes_on(&mut self) {
        let input = self.client.stdin.as_mut().expect("a pipe");
        input.write_all(b"select 'on';\n").expect("psql reads");
        let answer = self.answers.next().expect("an answer").expect("text");
        assert_eq!(answer, "on");
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        drop(self.client.stdin.take());
        let _status = self.client.wait();
    }
}

fn limit_descriptors(gate: &Gate, soft: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &gate.pid().to_string(), &format!("--nofile={soft}:")])
        .status();
    assert!(status.expect("prlimit runs").success());
}

/// User and system time of the gate so far, in hundredths of a second.
fn worked(gate: &Gate) -> u64 {
    let stat = text_of(format!("/proc/{}/stat", gate.pid()).as_ref());
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let [user, system] = [11, 12].map(|at: usize| fields[at].parse::<u64>().expect("a number"));
    user + system
}

fn soft_limit(gate: &Gate) -> String {
    let limits = text_of(format!("/proc/{}/limits", gate.pid()).as_ref());
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.expect("a limit").to_owned()
}

/// EMFILE: accepting goes on, since the kernel has noted the limit of before, but no socket towards a server can be made.
#[test]
fn without_descriptors_newcomers_hear_it_and_the_others_go_on() {
    let gate = Gate::before(Server::of_version(15).database());
    let mut living = Living::enter(&gate);
    let enough = soft_limit(&gate);
    limit_descriptors(&gate, "5");
    let before = worked(&gate);
    for _ in 0..20 {
        let refused = psql(&gate.plain("alice").and_password(), "select 1").ill();
        assert!(refused.contains("sorry, too many clients already"), "{refused}");
    }
    std::thread::sleep(Duration::from_secs(2));
    let spent = worked(&gate) - before;
    assert!(spent < 50, "{spent} hundredths of a second of work");
    living.goes_on();
    let told = || {
        let ends = gate.record.events("end");
        (ends.iter().filter(|end| at(end, "how") == "out_of_places").count() == 20).then_some(())
    };
    wait_for("each is in the record", Duration::from_secs(5), told);

    limit_descriptors(&gate, &enough);
    psql(&gate.plain("alice").and_password(), "select 1").well();
    living.goes_on();
}

/// With `deny`, the default: whoever is in goes on, nobody else gets in, and the gap is told when there is room again.
#[test]
fn a_full_disk_denies_until_there_is_room() {
    let place = Place::new();
    let Some(disk) = SmallDisk::at(&place) else {
        return eprintln!("skipped: this machine does not permit to mount a tmpfs");
    };
    let gate = Gate::in_place(place, Server::of_version(15).database(), "", "");
    let alice = gate.plain("alice").and_password();
    let mut living = Living::enter(&gate);
    disk.fill();
    wait_for("the record fails", Duration::from_secs(20), || {
        // The disk has some bytes left for the first of them.
        let refused = psql(&alice, "select 1");
        let told = refused.err.contains("connections cannot be recorded");
        (!refused.ok).then(|| assert!(told, "{}", refused.err))
    });
    assert!(
        gate.page("/readyz")
            .is_some_and(|page| !page.starts_with("HTTP/1.1 200"))
    );
    living.goes_on();

    disk.free();
    wait_for("there is room", Duration::from_secs(20), || {
        psql(&alice, "select 1").ok.then_some(())
    });
    living.goes_on();
    let resumed = gate.record.wait_for_event("audit.resumed");
    assert_ne!(at(&resumed, "refused"), "0", "{resumed}");
    assert!(at(&resumed, "error").contains("No space left"), "{resumed}");
    assert!(
        gate.page("/readyz")
            .is_some_and(|page| page.starts_with("HTTP/1.1 200"))
    );
}

/// With `drop`: everybody gets in, and what memory could hold meanwhile is written as soon as there is room. (That what it
/// cannot hold is counted, the writer's own tests show: it is some 16 MiB.)
#[test]
fn a_full_disk_holds_up_nobody_where_records_may_be_dropped() {
    const LOGINS: usize = 100;
    let place = Place::new();
    let Some(disk) = SmallDisk::at(&place) else {
        return eprintln!("skipped: this machine does not permit to mount a tmpfs");
    };
    let gate = Gate::in_place(place, Server::of_version(15).database(), "", "on_failure = \"drop\"");
    let alice = gate.plain("alice").and_password();
    let script = gate.place.write("one.sql", "select 1;\n");
    disk.fill();
    let logins = (LOGINS / 4).to_string();
    let script = script.to_str().expect("UTF-8");
    pgbench(&alice, &["-n", "-C", "-c", "4", "-t", &logins, "-f", script]).well();
    let seen = || {
        let attempts = gate.record.events("attempt");
        let named = attempts
            .iter()
            .filter(|line| at(line, "asked.application_name") == "pgbench");
        named.count()
    };
    assert!(seen() < LOGINS, "the disk is full");
    disk.free();
    // pgbench connects once more to begin with.
    wait_for("every attempt", Duration::from_secs(20), || {
        (seen() == LOGINS + 1).then_some(())
    });
    gate.record.wait_for_event("audit.resumed");
    assert!(gate.record.events("audit.dropped").is_empty());
}
