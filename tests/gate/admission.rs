//! Who is let in, as whom, and what the record says of it.

use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::record::at;
use crate::support::servers::Server;

const WHO: &str = "select current_user, current_database(), current_setting('postern.identity')";

fn seen_as(gate: &Gate, identity: &str) -> String {
    let name = &gate.database.name;
    format!("{name}|{name}|{identity}")
}

#[test]
fn by_password_in_clear_and_over_tls() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        for connection in [gate.plain("alice"), gate.tls("alice"), gate.local("alice")] {
            let said = psql(&connection.and_password(), WHO).well();
            assert_eq!(said, seen_as(&gate, "alice"));
        }
    }
}

#[test]
fn by_certificate_as_the_granted_role() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let role = gate.database.name.clone();
        // The identity's alias, its own name and the granted role are all good for `user`.
        for user in ["billing", "svc:billing", role.as_str()] {
            let said = psql(&gate.by_card(user, &gate.policy.cards.billing), WHO).well();
            assert_eq!(said, seen_as(&gate, "svc:billing"), "{user}");
        }
    }
}

#[test]
fn the_record_tells_who_how_and_where() {
    let gate = Gate::before(Server::of_version(18).database());
    let card = gate.policy.cards.billing.clone();
    let process = psql(&gate.by_card("billing", &card), "select pg_backend_pid()").well();

    let attempt = gate.record.attempt_with("asked.user", "billing");
    let role = gate.database.name.as_str();
    for (member, expected) in [
        ("outcome", "permitted"),
        ("reason", "ok"),
        ("listener", "certificates"),
        ("peer.address", "127.0.0.1"),
        ("tls.version", "1.3"),
        ("asked.database", role),
        ("asked.application_name", "psql"),
        ("identity", "svc:billing"),
        ("rule", "services"),
        ("grant", "everybody"),
        ("role", role),
        ("cluster", "main"),
        ("policy.generation", "1"),
    ] {
        assert_eq!(at(&attempt, member), expected, "{member} of {attempt}");
    }
    assert_eq!(at(&attempt, "certificate_sha256").len(), 64);
    assert_eq!(attempt["proofs"][0], "certificate");

    let end = gate.record.end_of(&at(&attempt, "session"));
    assert_eq!(at(&end, "how"), "client_terminate");
    assert_eq!(at(&end, "server.process"), process);
    assert_eq!(at(&end, "transactions"), "1");
    assert_eq!(at(&end, "from_client.messages.Q"), "1");
}

#[test]
fn a_settings_of_the_start_up_message_arrives_and_set_works_afterwards() {
    let gate = Gate::before(Server::of_version(18).database());
    let connection = gate
        .plain("alice")
        .and_password()
        .with("options", "-c work_mem=123kB -c TimeZone=Asia/Tokyo");
    let said = psql(
        &connection,
        "select current_setting('work_mem'), current_setting('TimeZone'); set postern.identity = 'x'; \
         select current_setting('postern.identity')",
    );
    assert_eq!(said.well(), "123kB|Asia/Tokyo\nx");
}
