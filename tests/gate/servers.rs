//! Servers that cannot be used: who is tried instead, what the client hears, and what the record says of it.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::place::{free_port, text_of, wait_for};
use crate::support::record::at;
use crate::support::servers::Server;

/// Exchanges a part of the gate's policy, and waits until the new one is in force.
fn change_cluster(gate: &Gate, from: &str, to: &str) {
    let base = gate.place.path("base.toml");
    if !base.exists() {
        std::fs::copy(gate.policy.directory.join("base.toml"), &base).expect("a copy");
    }
    let base = text_of(&base);
    assert!(base.contains(from), "{base}");
    gate.takes(|gate| gate.policy.drop_in("base", &base.replace(from, to)));
}

#[test]
fn a_dead_server_is_passed_over_and_one_that_says_nothing_is_told_of() {
    let gate = Gate::before(Server::of_version(15).database());
    let alice = gate.plain("alice").and_password();
    // Connections wait in its backlog; nobody ever accepts them, let alone speaks.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = listener.local_addr().expect("its address").port();
    let (dead, living) = (free_port(), gate.database.server.port);
    let lead_to = |ports: &[u16]| {
        let named: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        change_cluster(
            &gate,
            &format!("endpoints = [\"127.0.0.1:{living}\"]"),
            &format!("endpoints = {named:?}\nlogin_timeout = \"1s\""),
        );
    };
    for ports in [&[dead, living], &[silent, living]] {
        lead_to(ports);
        psql(&alice, "select 1").well();
    }
    for ports in [&[dead][..], &[silent], &[dead, silent]] {
        lead_to(ports);
        let said = psql(&alice, "select 1").ill();
        assert!(said.contains("FATAL"), "{ports:?}: {said}");
    }
    let told = wait_for("five ends", Duration::from_secs(5), || {
        let ends = gate.record.events("end");
        (ends.len() == 5).then(|| {
            let told = |end| (at(end, "sqlstate"), at(end, "detail"));
            ends.iter().map(told).collect::<Vec<_>>()
        })
    });
    let refused = "Connection refused (os error 111)";
    let hangs = "timed out waiting for the server's answer to SSLRequest";
    let expected = [
        ("", ""),
        ("", ""),
        ("08001", refused),
        ("08001", hangs),
        ("08001", hangs),
    ];
    assert_eq!(
        told,
        expected.map(|(sqlstate, detail)| (sqlstate.to_owned(), detail.to_owned()))
    );
}

#[test]
fn a_server_whose_certificate_is_of_another_authority_gets_no_login() {
    let gate = Gate::before(Server::of_version(15).database());
    let ca = gate.database.server.ca.display();
    change_cluster(
        &gate,
        &format!("roots = [\"{ca}\"]"),
        &format!("roots = [{:?}]", gate.ca),
    );
    let said = psql(&gate.plain("alice").and_password(), "select 1").ill();
    assert!(said.contains("the connection to a server for database"), "{said}");
    let end = gate.record.wait_for_event("end");
    assert_eq!(
        (at(&end, "how"), at(&end, "sqlstate")),
        ("upstream_tls".into(), "08006".into())
    );
    let detail = at(&end, "detail");
    let why = "the server's certificate is refused: no configured root has signed it; check `roots`";
    assert!(detail.starts_with(why), "{detail}");
    assert_eq!(gate.database.sessions(), 0);
}
