//! Logins recorded from PostgreSQL (`recorded/*.txt`), replayed whole and split at each byte; and what no server of good
//! will sends. The recordings were made by another client of the same start-up message, password and nonce, so what the
//! machine sends is compared byte for byte.

use std::collections::BTreeSet;

use super::*;
use crate::identity::scram::derive;
use crate::wire::WireError;
use crate::wire::assemble::Assembler;
use crate::wire::authentication::{
    encode_cleartext_password, encode_md5_password, encode_ok, encode_sasl, encode_sasl_final,
};
use crate::wire::backend::{BackendKeyData, ParameterStatus, TransactionStatus, encode_ready_for_query};
use crate::wire::error::{Report, encode_fields};
use crate::wire::parameters::Replication;
use crate::wire::sqlstate::SqlState;
use case::{Case, NONCE, VERIFIED, every_split, password};
use transcript::{Line, hex_bytes, read};

mod case;
pub(crate) mod transcript;

fn heard_by_client(error: &LoginError) -> String {
    let mut out = Vec::new();
    error.encode_for_client(&mut out);
    String::from_utf8(
        out[5..]
            .iter()
            .map(|byte| if *byte == 0 { b'|' } else { *byte })
            .collect(),
    )
    .expect("text")
}

fn said(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn refusal<T>(result: Result<T, LoginError>) -> LoginError {
    result.err().expect("an error")
}

const SCRAM: [ServerMethod; 1] = [ServerMethod::ScramSha256];

#[test]
fn scram_recorded() {
    let case = Case::new("scram_user", SCRAM);
    let established = every_split(&case, include_str!("recorded/scram.txt")).expect("logged in");
    let greeting = established.greeting;
    assert!(greeting.starts_with(b"S\0\0\0\x1aapplication_name\0shop\0"));
    assert!(greeting.ends_with(b"S\0\0\0\x15TimeZone\0Etc/UTC\0"));
    assert!(established.cancel_key.expect("a key").process_id() > 0);
    let unbound = case.over(VERIFIED);
    every_split(&unbound, include_str!("recorded/scram_tls_unbound.txt")).expect("logged in");
}

#[test]
fn scram_plus_recorded() {
    let recording = include_str!("recorded/scram_plus.txt");
    let end_point = hex_bytes(
        recording
            .lines()
            .find_map(|line| line.strip_prefix("# end point "))
            .expect("it is named"),
    );
    let bound = |end_point| Channel::Tls {
        fully_verified: true,
        end_point: Some(end_point),
        client_certificate: false,
    };
    every_split(&Case::new("scram_user", SCRAM).over(bound(&end_point)), recording).expect("logged in");
}

#[test]
fn passwords_recorded() {
    let md5 = Case::new("md5_user", [ServerMethod::Md5]);
    every_split(&md5, include_str!("recorded/md5.txt")).expect("logged in");
    let cleartext = Case::new("plain_user", [ServerMethod::Password]).over(VERIFIED);
    every_split(&cleartext, include_str!("recorded/password.txt")).expect("logged in");
}

#[test]
fn trust_recorded() {
    let recording = include_str!("recorded/trust.txt");
    let trusting = Case::new("trust_user", [ServerMethod::Trust]);
    every_split(&trusting, recording).expect("logged in");
    let wary = Case::new("trust_user", SCRAM);
    let error = refusal(every_split(&wary, recording));
    assert_eq!(error, LoginError::MethodNotAllowed { asked: Asked::Nothing });
}

/// A role with `client_min_messages = debug5`.
#[test]
fn a_notice_recorded() {
    let noisy = Case::new("noisy_user", [ServerMethod::Trust]);
    let ready = every_split(&noisy, include_str!("recorded/notice.txt")).expect("logged in");
    assert_eq!(ready.greeting.first(), Some(&b'N'), "the client hears it, and first");
    assert!(ready.greeting.windows(17).any(|text| text == b"CommitTransaction"));
}

#[test]
fn a_wrong_password_is_the_gates_failure_and_not_the_clients() {
    let wrong = Secret::new(b"open barley".to_vec());
    let case = Case {
        password: Some(wrong),
        ..Case::new("scram_user", SCRAM)
    };
    let error = refusal(every_split(&case, include_str!("recorded/wrong_password.txt")));
    let LoginError::Server(report) = &error else {
        panic!("{error}")
    };
    assert_eq!(report.sqlstate(), Some(*b"28P01"));
    assert_eq!(
        report.message(),
        "password authentication failed for user \"scram_user\""
    );
    assert_eq!(heard_by_client(&error), format!("SFATAL|VFATAL|C08004|M{REJECTED}||"));
}

#[test]
fn a_servers_own_error_reaches_the_client_as_it_came() {
    let case = Case {
        database: "nowhere",
        ..Case::new("scram_user", SCRAM)
    };
    let error = refusal(every_split(&case, include_str!("recorded/no_database.txt")));
    let expected = "SFATAL|VFATAL|C3D000|Mdatabase \"nowhere\" does not exist|Fpostinit.c|L948|RInitPostgres||";
    assert_eq!(heard_by_client(&error), expected);
}

#[test]
fn an_error_without_its_needed_fields_is_not_passed_on() {
    for fields in [
        &[(b'S', &b"FATAL"[..]), (b'M', b"x")][..],
        &[(b'C', b"53300"), (b'M', b"x")],
        &[],
    ] {
        let bytes = said(|out| encode_fields(out, b'E', fields.iter().copied()));
        let error = refusal(Case::new("r", SCRAM).hear(&bytes));
        assert_eq!(heard_by_client(&error), format!("SFATAL|VFATAL|C08004|M{REJECTED}||"));
    }
}

#[test]
fn a_method_is_used_only_where_the_credential_lists_it() {
    let others = |used: ServerMethod| {
        let all = [
            ServerMethod::Trust,
            ServerMethod::Password,
            ServerMethod::Md5,
            ServerMethod::ScramSha256,
            ServerMethod::Certificate,
        ];
        all.into_iter().filter(move |method| *method != used)
    };
    let requests = [
        (ServerMethod::Password, Asked::Password, said(encode_cleartext_password)),
        (
            ServerMethod::Md5,
            Asked::Md5,
            said(|out| encode_md5_password(out, *b"salt")),
        ),
        (
            ServerMethod::ScramSha256,
            Asked::Sasl,
            said(|out| encode_sasl(out, &["SCRAM-SHA-256"])),
        ),
        (ServerMethod::Trust, Asked::Nothing, said(encode_ok)),
    ];
    for (method, asked, bytes) in requests {
        let allowed = Case::new("r", [method]).over(VERIFIED);
        assert!(allowed.hear(&bytes).is_ok(), "{asked}");
        let listed = Case::new("r", others(method)).over(VERIFIED);
        assert_eq!(refusal(listed.hear(&bytes)), LoginError::MethodNotAllowed { asked });
        if method != ServerMethod::Trust {
            let without = Case {
                password: None,
                ..allowed
            };
            assert_eq!(refusal(without.hear(&bytes)), LoginError::NoPassword { asked });
        }
    }
}

#[test]
fn a_certificate_counts_only_when_the_server_took_one() {
    let tls = |client_certificate| Channel::Tls {
        fully_verified: true,
        end_point: None,
        client_certificate,
    };
    let case = |channel| Case::new("r", [ServerMethod::Certificate, ServerMethod::ScramSha256]).over(channel);
    assert!(case(tls(true)).hear(&said(encode_ok)).is_ok());
    for channel in [tls(false), Channel::Plain] {
        let error = refusal(case(channel).hear(&said(encode_ok)));
        assert_eq!(error, LoginError::MethodNotAllowed { asked: Asked::Nothing });
    }
}

#[test]
fn a_cleartext_password_needs_full_verification() {
    let unverified = Channel::Tls {
        fully_verified: false,
        end_point: None,
        client_certificate: false,
    };
    for channel in [Channel::Plain, unverified] {
        let case = Case::new("r", [ServerMethod::Password]).over(channel);
        assert_eq!(
            refusal(case.hear(&said(encode_cleartext_password))),
            LoginError::CleartextUnprotected
        );
    }
}

#[test]
fn channel_binding_is_used_where_it_can_be_and_said_where_it_could() {
    let bound = Channel::Tls {
        fully_verified: true,
        end_point: Some(&[9; 32]),
        client_certificate: false,
    };
    let first = |channel, offered: &[&str]| {
        let case = Case::new("r", SCRAM).over(channel);
        let (mut out, mut hello) = (Vec::new(), Vec::new());
        let mut login = case.start(&mut hello);
        case.feed(
            &mut login,
            &mut Assembler::new(),
            &said(|out| encode_sasl(out, offered)),
            &mut out,
        )?;
        let sent = SaslInitialResponse::decode(&out[5..])?;
        let gs2 = sent.data.unwrap_or_default()[..1].to_vec();
        Ok((String::from_utf8_lossy(sent.mechanism).into_owned(), gs2))
    };
    let (plain, plus) = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS");
    assert_eq!(first(bound, &[plus, plain]), Ok((plus.to_owned(), b"p".to_vec())));
    assert_eq!(first(bound, &[plus]), Ok((plus.to_owned(), b"p".to_vec())));
    assert_eq!(first(bound, &[plain]), Ok((plain.to_owned(), b"y".to_vec())));
    assert_eq!(first(VERIFIED, &[plus, plain]), Ok((plain.to_owned(), b"n".to_vec())));
    assert_eq!(first(VERIFIED, &[plus]), Err(LoginError::NoMechanism));
    assert_eq!(first(bound, &["OAUTHBEARER"]), Err(LoginError::NoMechanism));
}

#[test]
fn no_ready_before_the_server_has_proved_itself() {
    let recording = read(include_str!("recorded/scram.txt"));
    let received: Vec<&Line> = recording
        .iter()
        .filter(|line| matches!(line, Line::Received(_)))
        .collect();
    let (offer, first) = (received[0].bytes(), received[1].bytes());
    let case = Case::new("scram_user", SCRAM);
    let out_of_turn = LoginError::OutOfTurn { tag: b'R' };
    let early = [offer, &said(encode_ok)[..]].concat();
    assert_eq!(refusal(case.hear(&early)), out_of_turn);
    let skipped = [offer, first, &said(encode_ok)[..]].concat();
    assert_eq!(refusal(case.hear(&skipped)), out_of_turn);
    let again = [offer, offer].concat();
    assert_eq!(refusal(case.hear(&again)), out_of_turn);
    let forged = [
        offer,
        first,
        &said(|out| encode_sasl_final(out, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))[..],
    ]
    .concat();
    assert_eq!(
        refusal(case.hear(&forged)),
        LoginError::Scram(crate::identity::scram::ClientError::SignatureMismatch)
    );
    let ready = said(|out| encode_ready_for_query(out, TransactionStatus::Idle));
    assert_eq!(refusal(case.hear(&ready)), LoginError::OutOfTurn { tag: b'Z' });
    let cheap = Case {
        max_iterations: 4_095,
        ..case
    };
    assert!(matches!(
        refusal(cheap.hear(&[offer, first].concat())),
        LoginError::Scram(_)
    ));
}

#[test]
fn everything_before_ready_is_bounded() {
    let case = Case::new("r", [ServerMethod::Trust]);
    let status = said(|out| {
        ParameterStatus {
            name: b"a",
            value: b"b",
        }
        .encode(out)
    });
    let flood = |count: usize| [said(encode_ok), status.repeat(count)].concat();
    assert!(case.hear(&flood(256)).is_ok());
    assert_eq!(refusal(case.hear(&flood(257))), LoginError::TooMuch);
    let notice = said(|out| Report::warning(SqlState::InternalError, &"x".repeat(20_000)).encode(out));
    assert!(case.hear(&notice.repeat(3)).is_ok());
    assert_eq!(refusal(case.hear(&notice.repeat(4))), LoginError::TooMuch);
    let long = b"E\0\0\x75\x31".to_vec();
    assert!(matches!(
        refusal(case.hear(&long)),
        LoginError::Wire(WireError::LengthTooLarge { .. })
    ));
}

#[test]
fn notices_for_the_client_keep_their_place() {
    let status = |name: &[u8]| said(|out| ParameterStatus { name, value: b"1" }.encode(out));
    let notice = said(|out| Report::warning(SqlState::InternalError, "collation").encode(out));
    let ready = said(|out| encode_ready_for_query(out, TransactionStatus::Idle));
    let bytes = [
        &notice[..],
        &said(encode_ok),
        &status(b"a"),
        &notice,
        &status(b"b"),
        &ready,
    ]
    .concat();
    let established = Case::new("r", [ServerMethod::Trust])
        .hear(&bytes)
        .expect("legal")
        .expect("ready");
    assert_eq!(
        established.greeting,
        [&status(b"a")[..], &notice, &status(b"b")].concat()
    );
    assert!(established.cancel_key.is_none());
}

#[test]
fn what_a_server_of_3_0_never_says() {
    let case = Case::new("r", [ServerMethod::Trust]);
    let after_ok = |bytes: &[u8]| refusal(case.hear(&[&said(encode_ok), bytes].concat()));
    let key = |length| {
        said(|out| {
            BackendKeyData {
                process_id: 1,
                key: &vec![1; length],
            }
            .encode(out)
        })
    };
    assert_eq!(after_ok(&key(32)), LoginError::CancelKey);
    assert_eq!(
        after_ok(&[key(4), key(4)].concat()),
        LoginError::OutOfTurn { tag: b'K' }
    );
    for status in [TransactionStatus::InTransaction, TransactionStatus::Failed] {
        assert_eq!(
            after_ok(&said(|out| encode_ready_for_query(out, status))),
            LoginError::NotIdle
        );
    }
    assert_eq!(after_ok(&said(encode_ok)), LoginError::OutOfTurn { tag: b'R' });
    assert_eq!(
        after_ok(b"D\0\0\0\x06\0\0"),
        LoginError::Wire(WireError::UnexpectedMessage { tag: b'D' })
    );
    assert_eq!(
        refusal(case.hear(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0")),
        LoginError::Negotiation
    );
    let kerberos = refusal(case.hear(b"R\0\0\0\x08\0\0\0\x07"));
    assert_eq!(
        kerberos,
        LoginError::MethodNotAllowed {
            asked: Asked::Unsupported(7)
        }
    );
}

#[test]
fn a_failed_login_stays_failed() {
    let mut out = Vec::new();
    let mut login = Case::new("r", SCRAM).start(&mut out);
    let ok = said(encode_ok);
    let message = || Message {
        tag: b'R',
        body: &ok[5..],
        whole: &ok,
    };
    assert!(login.handle(message(), &mut out).is_err());
    assert_eq!(login.handle(message(), &mut out).map(|_| ()), Err(LoginError::Misuse));
    assert_eq!(login.give_password(&password(), &mut out), Err(LoginError::Misuse));
    let mut login = Case::new("r", SCRAM).start(&mut out);
    assert_eq!(
        login.give_keys(&derive(b"x", b"y", 1), &mut out),
        Err(LoginError::Misuse)
    );
}

#[test]
fn a_server_may_give_up_while_keys_are_derived() {
    let recording = read(include_str!("recorded/scram.txt"));
    let mut received = recording
        .iter()
        .filter(|line| matches!(line, Line::Received(_)))
        .map(Line::bytes);
    let mut out = Vec::new();
    let mut login = Case::new("scram_user", SCRAM).start(&mut out);
    for bytes in [received.next(), received.next()].into_iter().flatten() {
        let message = Message {
            tag: b'R',
            body: &bytes[5..],
            whole: bytes,
        };
        assert!(login.handle(message, &mut out).is_ok());
    }
    let error =
        said(|out| Report::fatal(SqlState::QueryCanceled, "canceling authentication due to timeout").encode(out));
    let message = Message {
        tag: b'E',
        body: &error[5..],
        whole: &error,
    };
    assert!(matches!(login.handle(message, &mut out), Err(LoginError::Server(_))));
}

#[test]
fn the_start_up_message_is_the_models() {
    let methods = BTreeSet::from(SCRAM);
    let request = |replication| LoginRequest {
        role: "role",
        database: "base",
        replication,
        methods: &methods,
        has_password: true,
        channel: Channel::Plain,
        nonce: NONCE,
        max_iterations: 1,
    };
    let start = |replication, settings: &[(&str, &str)]| {
        let mut out = Vec::new();
        let result = Login::start(&request(replication), settings.iter().copied(), &mut out);
        result
            .map(|_| String::from_utf8(out[8..].to_vec()).expect("text"))
            .inspect_err(|_| assert!(out.is_empty()))
    };
    let text = |text: &str| Ok(text.replace('|', "\0"));
    assert_eq!(
        start(Replication::No, &[("a", "b")]),
        text("user|role|database|base|a|b||")
    );
    assert_eq!(
        start(Replication::Database, &[]),
        text("user|role|database|base|replication|database||")
    );
    assert_eq!(start(Replication::Physical, &[]), text("user|role|replication|true||"));
    for name in [
        "user",
        "User",
        "database",
        "options",
        "REPLICATION",
        "_pq_.x",
        "_PQ_.x",
        "",
        "a\0b",
    ] {
        assert_eq!(
            start(Replication::No, &[(name, "x")]),
            Err(LoginError::Setting),
            "{name:?}"
        );
    }
    assert_eq!(start(Replication::No, &[("a", "x\0role")]), Err(LoginError::Setting));
    assert_eq!(
        start(Replication::No, &[("a", &"x".repeat(10_000))]),
        Err(LoginError::StartupTooLong)
    );
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let bytes = [
        said(encode_ok),
        said(|out| {
            BackendKeyData {
                process_id: 1,
                key: b"SECR",
            }
            .encode(out)
        }),
        said(|out| encode_ready_for_query(out, TransactionStatus::Idle)),
    ]
    .concat();
    let established = Case::new("r", [ServerMethod::Trust])
        .hear(&bytes)
        .expect("legal")
        .expect("ready");
    assert_eq!(format!("{established:?}"), "Established { process_id: Some(1), .. }");
}
