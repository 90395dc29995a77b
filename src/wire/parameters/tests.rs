//! Start-up packets from the first byte to the parameters, one test for each rule.

use super::*;
use crate::wire::initial::{Initial, ProtocolVersion, encode_startup};

fn decode_bytes(pairs: &[(&[u8], &[u8])]) -> Result<StartupParameters, ParameterFault> {
    let mut packet = Vec::new();
    encode_startup(&mut packet, ProtocolVersion::V3_0, pairs.iter().copied());
    match Initial::decode(&packet) {
        Ok(Initial::Startup(message)) => StartupParameters::decode(&message),
        other => panic!("not a StartupMessage: {other:?}"),
    }
}

fn decode(pairs: &[(&str, &str)]) -> Result<StartupParameters, ParameterFault> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    decode_bytes(&pairs)
}

fn with_options(options: &str) -> Result<StartupParameters, ParameterFault> {
    decode(&[("user", "alice"), ("options", options)])
}

fn guarded(name: &str) -> Result<StartupParameters, ParameterFault> {
    Err(ParameterFault::Guarded { name: name.to_owned() })
}

#[test]
fn a_usual_driver_gets_through() {
    let parameters = decode(&[
        ("user", "alice"),
        ("database", "shop"),
        ("application_name", "psql"),
        ("client_encoding", "UTF8"),
        ("options", "-c geqo=off --statement-timeout=5s"),
    ])
    .expect("legal");
    assert_eq!((parameters.user(), parameters.database()), ("alice", "shop"));
    assert_eq!(parameters.replication(), Replication::No);
    assert_eq!(parameters.application_name(), Some("psql"));
    let names: Vec<_> = parameters
        .settings()
        .iter()
        .map(|setting| setting.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["geqo", "statement_timeout", "application_name", "client_encoding"]
    );
    assert_eq!(
        parameters
            .setting("STATEMENT_TIMEOUT")
            .map(|setting| setting.value.as_str()),
        Some("5s")
    );
}

#[test]
fn the_database_defaults_to_the_user() {
    for pairs in [&[("user", "alice")][..], &[("user", "alice"), ("database", "")]] {
        assert_eq!(decode(pairs).expect("legal").database(), "alice");
    }
}

#[test]
fn a_user_is_required() {
    for pairs in [&[("database", "shop")][..], &[("user", "")], &[]] {
        let fault = decode(pairs).expect_err("no user");
        assert_eq!(fault, ParameterFault::NoUser);
        assert_eq!(fault.sqlstate().as_str(), "28000");
        assert_eq!(fault.to_string(), "no PostgreSQL user name specified in startup packet");
    }
}

#[test]
fn guarded_keys_come_once() {
    for (name, value) in [("database", "shop"), ("options", ""), ("replication", "no")] {
        let fault = decode(&[("user", "alice"), (name, value), (name, value)]);
        assert_eq!(fault, Err(ParameterFault::Duplicate { name }));
    }
    let fault = decode(&[("user", "alice"), ("user", "alice")]);
    assert_eq!(fault, Err(ParameterFault::Duplicate { name: "user" }));
    assert_eq!(decode(&[("user", "a"), ("USER", "b")]), guarded("USER"));
    assert_eq!(decode(&[("user", "a"), ("Database", "b")]), guarded("Database"));
    assert_eq!(decode(&[("user", "a"), ("Replication", "on")]), guarded("Replication"));
}

#[test]
fn roles_cannot_be_asked_for() {
    for name in ["role", "ROLE", "session_authorization", "Session_Authorization"] {
        assert_eq!(decode(&[("user", "alice"), (name, "postgres")]), guarded(name));
    }
    assert_eq!(guarded("role").unwrap_err().sqlstate().as_str(), "42501");
    for options in [
        "-c role=x",
        "-crole=x",
        "-c  role=",
        "--role=x",
        r"-\c role=x",
        r"-c \role=x",
        "-c role=x -c geqo=on",
    ] {
        assert_eq!(with_options(options), guarded("role"), "{options:?}");
    }
    assert_eq!(
        with_options("--session-authorization=x"),
        guarded("session_authorization")
    );
    assert_eq!(with_options("-cROLE=x"), guarded("ROLE"));
}

#[test]
fn the_gates_own_settings_cannot_be_sent() {
    assert_eq!(with_options("-cPOSTERN.identity=x"), guarded("POSTERN.identity"));
    assert_eq!(with_options("--postern.identity=x"), guarded("postern.identity"));
    assert_eq!(
        decode(&[("user", "a"), ("postern.identity", "x")]),
        guarded("postern.identity")
    );
}

#[test]
fn options_cannot_smuggle_keys_of_the_packet() {
    for name in ["user", "database", "replication", "options", "_pq_.x"] {
        assert_eq!(with_options(&format!("-c {name}=x")), guarded(name));
    }
}

#[test]
fn names_over_63_bytes_are_refused_and_not_cut() {
    let (fits, long) = ("a".repeat(63), "a".repeat(64));
    assert!(decode(&[("user", &fits), ("database", &fits)]).is_ok());
    assert_eq!(
        decode(&[("user", &long)]),
        Err(ParameterFault::NameTooLong { what: "user" })
    );
    assert_eq!(
        decode(&[("user", "a"), ("database", &long)]),
        Err(ParameterFault::NameTooLong { what: "database" })
    );
    assert_eq!(
        with_options(&format!("-c{long}=x")),
        Err(ParameterFault::NameTooLong { what: "setting" })
    );
}

#[test]
fn replication_has_every_spelling_of_parse_bool() {
    let replication = |value: &str| decode(&[("user", "a"), ("replication", value)]).map(|found| found.replication());
    for value in [
        "1", "t", "tr", "tru", "true", "TRUE", "y", "ye", "yes", "Yes", "on", "ON",
    ] {
        assert_eq!(replication(value), Ok(Replication::Physical), "{value}");
    }
    for value in [
        "0", "f", "fa", "fal", "fals", "false", "False", "n", "no", "NO", "of", "off", "OFF",
    ] {
        assert_eq!(replication(value), Ok(Replication::No), "{value}");
    }
    assert_eq!(replication("database"), Ok(Replication::Database));
    for value in [
        "", "o", "O", "2", "10", "truee", "ono", "offf", "yess", "Database", "DATABASE", "databas", " on", "on ",
    ] {
        let fault = replication(value).expect_err("not a boolean");
        assert_eq!(fault.sqlstate().as_str(), "22023");
        assert_eq!(
            fault.to_string(),
            format!("invalid value for parameter \"replication\": \"{value}\"")
        );
        assert!(fault.hint().is_some());
    }
}

#[test]
fn a_pair_of_its_own_beats_options_and_the_last_one_wins() {
    let parameters = decode(&[
        ("user", "a"),
        ("work_mem", "1MB"),
        ("options", "-c sort_mem=2MB -c geqo=on"),
        ("GEQO", "off"),
        ("geqo", "auto"),
    ])
    .expect("legal");
    let value = |name| parameters.setting(name).map(|setting| setting.value.as_str());
    assert_eq!((value("work_mem"), value("geqo")), (Some("1MB"), Some("auto")));
    assert_eq!(parameters.settings().len(), 2);
}

#[test]
fn protocol_options_are_not_settings() {
    let parameters = decode(&[("user", "a"), ("_pq_.command_compression", "on")]).expect("legal");
    assert!(parameters.settings().is_empty());
}

#[test]
fn text_is_utf8() {
    for pairs in [[&b"user"[..], b"a\xff"], [b"\xc3", b"x"]] {
        let fault = decode_bytes(&[(b"user", b"a"), (pairs[0], pairs[1])]).expect_err("not UTF-8");
        assert_eq!(
            (fault.clone(), fault.sqlstate().as_str()),
            (ParameterFault::NotUtf8, "22021")
        );
    }
}

#[test]
fn a_broken_layout_is_told_in_postgresqls_words() {
    let packet = b"\0\0\0\x0e\0\x03\0\0user\0a";
    let Ok(Initial::Startup(message)) = Initial::decode(packet) else {
        panic!("not a StartupMessage")
    };
    let fault = StartupParameters::decode(&message).expect_err("no terminator");
    assert_eq!(fault.sqlstate().as_str(), "08P01");
    assert_eq!(
        fault.to_string(),
        "invalid startup packet layout: expected terminator as last byte"
    );
}
