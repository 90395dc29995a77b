//! Who is turned away, with which SQLSTATE and words, and what the record knows that the client does not hear.

use crate::support::authority::Card;
use crate::support::clients::{ConnectionString, psql};
use crate::support::gate::Gate;
use crate::support::policy::{grant, password_of};
use crate::support::record::at;
use crate::support::servers::Server;
use crate::support::stranger::{Stranger, field, startup};
use crate::support::tls_stranger::converse;

#[track_caller]
fn refused(gate: &Gate, connection: &ConnectionString, user: &str, words: &str, reason: &str) -> serde_json::Value {
    let said = psql(connection, "select 1").ill();
    assert!(said.contains(&format!("FATAL:  {words}")), "{said}");
    let attempt = gate.record.attempt_with("reason", reason);
    assert_eq!(at(&attempt, "outcome"), "denied", "{attempt}");
    assert_eq!(at(&attempt, "asked.user"), user, "{attempt}");
    attempt
}

#[test]
fn certificates_that_do_not_count() {
    let gate = Gate::before(Server::of_version(15).database());
    let cards = &gate.policy.cards;
    let words = |user: &str| format!("certificate authentication failed for user \"{user}\"");
    for (user, card, reason) in [
        ("billing", &cards.nobody, "certificate_unknown"),
        ("billing", &cards.impostor, "certificate_untrusted"),
        ("revoked", &cards.revoked, "certificate_revoked"),
    ] {
        let attempt = refused(&gate, &gate.by_card(user, card), user, &words(user), reason);
        assert_eq!(at(&attempt, "sqlstate"), "28000");
        assert_eq!(at(&attempt, "certificate_sha256").len(), 64);
    }
    let without = gate.tls("billing").with("port", gate.ports.certificates);
    let attempt = refused(
        &gate,
        &without,
        "billing",
        "connection requires a valid client certificate",
        "certificate_missing",
    );
    assert_eq!(at(&attempt, "sqlstate"), "28000");
}

/// An enrolled certificate is public; its key is not.
#[test]
fn an_enrolled_certificate_with_a_foreign_key() {
    let gate = Gate::before(Server::of_version(15).database());
    let cards = &gate.policy.cards;
    let stolen = Card {
        certificate: cards.billing.certificate.clone(),
        key: cards.nobody.key.clone(),
    };
    let startup = startup(&[("user", "billing"), ("database", &gate.database.name)]);
    let honest = converse(gate.ports.certificates, &gate.ca, &cards.billing, &startup);
    assert!(
        honest.is_ok_and(|answer| answer.first() == Some(&b'R')),
        "the client of this test is good"
    );

    let answer = converse(gate.ports.certificates, &gate.ca, &stolen, &startup);
    assert!(answer.is_err(), "{answer:?}");
    let attempt = gate.record.attempt_with("reason", "tls_handshake_failed");
    assert_eq!(at(&attempt, "identity"), "");
    let why = "the peer's signature does not fit the certificate it showed";
    assert_eq!(at(&attempt, "detail"), why);
}

#[test]
fn a_wrong_password_and_an_unknown_name_sound_alike() {
    let gate = Gate::before(Server::of_version(15).database());
    for (user, reason) in [("alice", "scram_failed"), ("nobody-at-all", "identity_unknown")] {
        for connection in [gate.plain(user), gate.tls(user)] {
            let words = format!("password authentication failed for user \"{user}\"");
            let attempt = refused(&gate, &connection.with("password", "wrong"), user, &words, reason);
            assert_eq!(at(&attempt, "sqlstate"), "28P01");
        }
    }
}

#[test]
fn every_no_of_the_policy_is_the_same_to_the_client() {
    let gate = Gate::before(Server::of_version(18).database());
    let database = &gate.database;
    let later = grant("later", &["bob"], database, "not_before = 2999-01-01T00:00:00Z");
    gate.takes(|gate| gate.policy.drop_in("later", &later));
    let card = &gate.policy.cards.billing;
    let name = database.name.as_str();
    for (connection, user, asked, reason) in [
        (
            gate.by_card("billing", card).with("dbname", "other"),
            "billing",
            "other",
            "no_such_database",
        ),
        (gate.by_card("postgres", card), "postgres", name, "user_not_allowed"),
        (gate.plain("bob").and_password(), "bob", name, "not_yet_valid"),
    ] {
        let words = format!("access to database \"{asked}\" is not granted to user \"{user}\"");
        let attempt = refused(&gate, &connection, user, &words, reason);
        assert_eq!(at(&attempt, "sqlstate"), "28000");
        assert_ne!(at(&attempt, "identity"), "");
    }
    assert_eq!(database.sessions(), 0);
}

#[test]
fn outside_its_window_and_outside_its_network() {
    let gate = Gate::before(Server::of_version(15).database());
    let database = &gate.database;
    let words = format!(
        "access to database \"{}\" is not granted to user \"bob\"",
        database.name
    );
    for (more, reason) in [
        ("not_after = 2020-01-01T00:00:00Z", "expired"),
        ("networks = [\"10.0.0.0/8\"]", "wrong_network"),
    ] {
        gate.takes(|gate| gate.policy.drop_in("bob", &grant("bob", &["bob"], database, more)));
        refused(&gate, &gate.plain("bob").and_password(), "bob", &words, reason);
    }
}

#[test]
fn in_clear_where_tls_is_required() {
    let gate = Gate::before(Server::of_version(15).database());
    let plain = gate.plain("billing").with("port", gate.ports.certificates);
    let attempt = refused(
        &gate,
        &plain,
        "billing",
        "this listener requires an encrypted connection",
        "tls_required",
    );
    assert_eq!(at(&attempt, "sqlstate"), "28000");
}

#[test]
fn replication_that_is_not_granted() {
    let gate = Gate::before(Server::of_version(15).database());
    for spelling in ["database", "true", "on", "yes", "1", "tru"] {
        let mut stranger = Stranger::at(gate.ports.passwords);
        let name = gate.database.name.as_str();
        stranger.say(&startup(&[
            ("user", "alice"),
            ("database", name),
            ("replication", spelling),
        ]));
        // It looks like any other login until the proof: the right is the grant's.
        assert_eq!(stranger.hear(1), b"R", "{spelling}");
    }
    let said = psql(
        &gate.plain("alice").and_password().with("replication", "database"),
        "IDENTIFY_SYSTEM",
    )
    .ill();
    assert!(said.contains("is not granted to user \"alice\""), "{said}");
    let attempt = gate.record.attempt_with("reason", "replication_not_granted");
    assert_eq!(at(&attempt, "asked.replication"), "true");
}

#[test]
fn settings_that_are_not_the_clients_to_choose() {
    let gate = Gate::before(Server::of_version(15).database());
    let name = gate.database.name.as_str();
    let long = "a".repeat(64);
    let long_setting = format!("-c {long}.x=1");
    for options in [
        "-cPOSTERN.identity=x",
        "--postern.identity=x",
        "-c  role=postgres",
        "-c session_authorization=postgres",
        "-d 5",
        &long_setting,
    ] {
        let mut stranger = Stranger::at(gate.ports.passwords);
        stranger.say(&startup(&[("user", "alice"), ("database", name), ("options", options)]));
        let answer = stranger.hear_to_the_end();
        assert_ne!(field(&answer, b'C'), "", "{options}");
        gate.record.attempt_with("reason", "startup_setting_refused");
    }
}

#[test]
fn no_secret_is_told() {
    let mut gate = Gate::before(Server::of_version(18).database());
    psql(&gate.plain("alice").and_password(), "select 1").well();
    psql(&gate.tls("alice").with("password", password_of("nobody")), "select 1").ill();
    gate.stop();
    let told = [gate.log(), crate::support::place::text_of(&gate.record.0)].concat();
    assert!(
        told.contains("alice"),
        "the marker is looked for where something is told"
    );
    assert!(!told.contains(crate::support::servers::MARKER), "{told}");
}
