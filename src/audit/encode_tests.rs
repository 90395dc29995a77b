//! Golden lines: one for each kind of record. A change here is a change of the format, and belongs in the changelog.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::fields::FIELDS;
use super::super::reason::EndReason;
use super::super::session_id::SessionIds;
use super::*;

/// 2025-03-04T05:06:07.000080Z
const AT: Utc = Utc(1_741_064_767_000_080);

const POLICY: PolicyId = PolicyId {
    generation: 7,
    hash: [0xab; 32],
};
const POLICY_JSON: &str =
    r#"{"generation":7,"hash":"abababababababababababababababababababababababababababababababab"}"#;

fn line(record: &Record) -> String {
    let mut out = String::new();
    encode(record, &mut out);
    let line = out.strip_suffix('\n').expect("ends with a line feed").to_owned();
    assert!(!line.contains('\n'));
    line
}

fn session() -> super::super::SessionId {
    SessionIds::new(0x00c0_ffee, 3).draw()
}

fn ip(text: &str) -> Peer {
    Peer::Ip(text.parse().expect("an address"))
}

/// An attempt with every member set.
fn full_attempt() -> Attempt {
    Attempt {
        listener: Some("main".into()),
        proxy: Some(ip("[2001:db8::1]:443")),
        tls: Some(TlsFacts {
            version: TlsVersion::V1_3,
            cipher: "TLS_AES_256_GCM_SHA384",
            resumed: false,
            direct: true,
        }),
        certificate: Some([0x01; 32]),
        asked: Asked {
            user: Some("alice".into()),
            database: Some(PeerText::new(b"\xffdb")),
            application_name: Some("psql".into()),
            settings: vec!["search_path".into(), PeerText::new(b"\xfe")],
            replication: true,
        },
        identity: Some("user:alice@corp".into()),
        proofs: Proofs {
            certificate: true,
            scram: Some(ScramProof::Plus),
            token: Some(TokenProof::Bound),
            webhook: true,
        },
        assertion: Some(Box::new(Assertion {
            provider: "corp".into(),
            subject: Some("alice@corp".into()),
            token_id: Some("t-1".into()),
            key_id: Some(PeerText::new(b"\xfe")),
            expires: Some(Utc(1_000_000)),
            revocation: Some("stolen".into()),
        })),
        rule: Some("people".into()),
        grant: Some("alice-billing".into()),
        deny: Some("night".into()),
        role: Some("billing_ro".into()),
        cluster: Some("billing".into()),
        server: Some(Server {
            address: ServerAddress::Ip("10.0.0.9:5432".parse().expect("an address")),
            process: Some(77),
        }),
        detail: Some("the peer does not speak TLS".into()),
        server_error: Some(ServerError {
            sqlstate: Some(*b"28P01"),
            message: "no".into(),
        }),
        sqlstate: Some(*b"08004"),
        target: Some(session()),
        policy: Some(POLICY),
        micros: Micros {
            tls: Some(1),
            proof: Some(2),
            decision: Some(3),
            upstream: Some(4),
            total: Some(10),
        },
        ..Attempt::new(
            AT,
            session(),
            ip("[::ffff:192.0.2.1]:50000"),
            Outcome::Denied,
            Reason::UpstreamRefused,
        )
    }
}

fn full_end() -> End {
    End {
        identity: Some("svc:billing".into()),
        grant: Some("g".into()),
        role: Some("r".into()),
        cluster: Some("c".into()),
        server: Some(Server {
            address: ServerAddress::Unix("/run/pg/.s.PGSQL.5432".into()),
            process: None,
        }),
        server_error: Some(ServerError {
            sqlstate: None,
            message: PeerText::new(&[b'x'; 300]),
        }),
        detail: Some("what \"it\" was".into()),
        sqlstate: Some(*b"57P01"),
        upstream_micros: Some(900),
        duration_micros: 1_000_000,
        from_client: Traffic {
            bytes: 40,
            messages: Box::new([(b'Q', 2), (b'X', 1)]),
        },
        from_server: Traffic {
            bytes: 900,
            messages: Box::new([(b'1', 1), (0, 3)]),
        },
        transactions: 2,
        ..End::new(AT, session(), EndReason::PolicyChanged)
    }
}

#[test]
fn attempt_with_everything() {
    let expected = [
        r#"{"time":"2025-03-04T05:06:07.000080Z","event":"attempt","session":"0000000000c0ffee-3-1""#,
        r#","outcome":"denied","reason":"upstream_refused","listener":"main""#,
        r#","peer":{"address":"192.0.2.1","port":50000},"proxy":{"address":"2001:db8::1","port":443}"#,
        r#","tls":{"version":"1.3","cipher":"TLS_AES_256_GCM_SHA384","resumed":false,"direct":true}"#,
        r#","certificate_sha256":"0101010101010101010101010101010101010101010101010101010101010101""#,
        r#","asked":{"user":"alice","database_hex":"ff6462","application_name":"psql""#,
        r#","settings":["search_path"],"settings_hex":["fe"],"replication":true}"#,
        r#","identity":"user:alice@corp","proofs":["certificate","scram_sha_256_plus","token_bound","webhook"]"#,
        r#","assertion":{"provider":"corp","subject":"alice@corp","token_id":"t-1","key_id_hex":"fe","expires":"1970-01-01T00:00:01.000000Z","revocation":"stolen"}"#,
        r#","rule":"people","grant":"alice-billing","deny":"night","role":"billing_ro","cluster":"billing""#,
        r#","server":{"address":"10.0.0.9","port":5432,"process":77}"#,
        r#","server_error":{"sqlstate":"28P01","message":"no"},"detail":"the peer does not speak TLS","sqlstate":"08004","target":"0000000000c0ffee-3-1""#,
        &format!(r#","policy":{POLICY_JSON}"#),
        r#","micros":{"tls":1,"proof":2,"decision":3,"upstream":4,"total":10}}"#,
    ];
    assert_eq!(line(&Record::Attempt(Box::new(full_attempt()))), expected.concat());
}

#[test]
fn attempt_with_nothing() {
    let peer = Peer::Unix {
        process: Some(9),
        uid: Some(1000),
    };
    let attempt = Attempt::new(AT, session(), peer, Outcome::Abandoned, Reason::Probe);
    assert_eq!(
        line(&Record::Attempt(Box::new(attempt))),
        concat!(
            r#"{"time":"2025-03-04T05:06:07.000080Z","event":"attempt","session":"0000000000c0ffee-3-1""#,
            r#","outcome":"abandoned","reason":"probe","peer":{"address":"unix","process":9,"uid":1000}}"#
        )
    );
}

#[test]
fn end() {
    let expected = [
        r#"{"time":"2025-03-04T05:06:07.000080Z","event":"end","session":"0000000000c0ffee-3-1","how":"policy_changed""#,
        r#","identity":"svc:billing","grant":"g","role":"r","cluster":"c","server":{"address":"/run/pg/.s.PGSQL.5432"}"#,
        &format!(
            r#","server_error":{{"message":"{}","truncated":true}},"detail":"what \"it\" was","sqlstate":"57P01""#,
            "x".repeat(256)
        ),
        r#","micros":{"upstream":900,"session":1000000},"from_client":{"bytes":40,"messages":{"Q":2,"X":1}}"#,
        r#","from_server":{"bytes":900,"messages":{"1":1,"0x00":3}},"transactions":2}"#,
    ];
    assert_eq!(line(&Record::End(Box::new(full_end()))), expected.concat());
}

#[test]
fn policy() {
    let loaded = Policy::Loaded {
        at: AT,
        policy: POLICY,
        identities: 3,
        grants: 2,
    };
    assert_eq!(
        line(&Record::Policy(Box::new(loaded))),
        format!(
            r#"{{"time":"2025-03-04T05:06:07.000080Z","event":"policy.loaded","policy":{POLICY_JSON},"identities":3,"grants":2}}"#
        )
    );
    assert_eq!(
        line(&rejected(1)),
        format!(
            r#"{{"time":"2025-03-04T05:06:07.000080Z","event":"policy.rejected","policy":{POLICY_JSON},"fault_count":1,{}"#,
            r#""faults":[{"file":"a.toml","line":1,"column":2,"message":"unknown key \"x\""}]}"#
        )
    );
}

fn rejected(faults: usize) -> Record {
    let fault = PolicyFault {
        file: "a.toml".to_owned(),
        line: 1,
        column: 2,
        message: "unknown key \"x\"".to_owned(),
    };
    Record::Policy(Box::new(Policy::Rejected {
        at: AT,
        serving: Some(POLICY),
        faults: vec![fault; faults],
    }))
}

#[test]
fn a_rejected_policy_does_not_flood_the_record() {
    let value: Value = serde_json::from_str(&line(&rejected(POLICY_FAULTS_CAP + 9))).expect("JSON");
    assert_eq!(value["fault_count"], POLICY_FAULTS_CAP + 9);
    assert_eq!(value["faults"].as_array().map(Vec::len), Some(POLICY_FAULTS_CAP));
}

fn processes() -> [Process; 3] {
    let listeners = vec![Name::from("main"), Name::from("unix")];
    [
        Process::Started {
            at: AT,
            process: 0xbeef,
            pid: 12,
            version: "0.1.0",
            cores: 2,
            listeners: listeners.clone(),
        },
        Process::Stopped {
            at: AT,
            why: StopReason::Signal,
            sessions_ended: 5,
        },
        Process::ListenersReloaded {
            at: AT,
            listeners,
            faults: vec!["no such file".to_owned()],
        },
    ]
}

#[test]
fn process() {
    let lines = processes().map(|process| line(&Record::Process(Box::new(process))));
    let expected = [
        concat!(
            r#"{"time":"2025-03-04T05:06:07.000080Z","event":"process.started","process":"000000000000beef","pid":12"#,
            r#","version":"0.1.0","cores":2,"listeners":["main","unix"]}"#
        ),
        r#"{"time":"2025-03-04T05:06:07.000080Z","event":"process.stopped","why":"signal","sessions_ended":5}"#,
        concat!(
            r#"{"time":"2025-03-04T05:06:07.000080Z","event":"listeners.reloaded","listeners":["main","unix"]"#,
            r#","faults":["no such file"]}"#
        ),
    ];
    assert_eq!(lines, expected);
}

fn audits() -> [Audit; 5] {
    [
        Audit::TornTail { at: AT, bytes: 17 },
        Audit::Rotated {
            at: AT,
            previous: "a.1".to_owned(),
            deleted: Some("a.9".to_owned()),
        },
        Audit::Dropped {
            at: AT,
            since: Utc(0),
            counts: Dropped {
                permits: 1,
                ends: 2,
                others: 3,
            },
        },
        Audit::Resumed {
            at: AT,
            since: Utc(0),
            error: "No space left on device".to_owned(),
            refused: 4,
        },
        Audit::AttemptsAggregated {
            at: AT,
            since: Utc(0),
            counts: vec![
                (Outcome::Denied, Reason::ScramFailed, 5),
                (Outcome::Abandoned, Reason::Probe, 6),
            ],
        },
    ]
}

#[test]
fn audit() {
    let lines = audits().map(|audit| line(&Record::Audit(Box::new(audit))));
    let expected = [
        r#"{"time":"2025-03-04T05:06:07.000080Z","event":"audit.torn_tail","bytes":17}"#,
        r#"{"time":"2025-03-04T05:06:07.000080Z","event":"audit.rotated","previous":"a.1","deleted":"a.9"}"#,
        concat!(
            r#"{"time":"2025-03-04T05:06:07.000080Z","event":"audit.dropped","since":"1970-01-01T00:00:00.000000Z""#,
            r#","permits":1,"ends":2,"others":3}"#
        ),
        concat!(
            r#"{"time":"2025-03-04T05:06:07.000080Z","event":"audit.resumed","since":"1970-01-01T00:00:00.000000Z""#,
            r#","error":"No space left on device","refused":4}"#
        ),
        concat!(
            r#"{"time":"2025-03-04T05:06:07.000080Z","event":"attempts.aggregated","since":"1970-01-01T00:00:00.000000Z""#,
            r#","attempts":11,"counts":[{"outcome":"denied","reason":"scram_failed","attempts":5}"#,
            r#",{"outcome":"abandoned","reason":"probe","attempts":6}]}"#
        ),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn hostile_text_stays_on_its_line_and_within_its_cap() {
    let mut attempt = full_attempt();
    let hostile = format!(
        "a\n{{\"event\":\"end\"}}\u{85}\u{2028}\u{2029}\u{9b}31m{}",
        "y".repeat(10_000)
    );
    attempt.asked.user = Some(hostile.as_str().into());
    attempt.asked.settings = vec!["s".into(); PEER_NAMES_CAP + 1];
    let line = line(&Record::Attempt(Box::new(attempt)));
    assert!(line.is_ascii(), "{line}");
    assert!(
        line.contains(r#""user":"a\n{\"event\":\"end\"}\u0085\u2028\u2029\u009b31myyy"#),
        "{line}"
    );
    let value: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["asked"]["user"].as_str().map(str::len), Some(256));
    assert_eq!(
        value["asked"]["settings"].as_array().map(Vec::len),
        Some(PEER_NAMES_CAP)
    );
    assert_eq!(value["asked"]["truncated"], true);
}

#[test]
fn times_outside_the_calendar_do_not_panic() {
    for at in [Utc(i64::MIN), Utc(i64::MAX), Utc(-1)] {
        let end = End::new(at, session(), EndReason::ClientEof);
        let value: Value = serde_json::from_str(&line(&Record::End(Box::new(end)))).expect("JSON");
        assert!(value["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
}

/// The list that `verify` and the documentation go by has exactly what is written.
#[test]
fn the_list_of_fields_is_what_is_written() {
    let mut unix = full_attempt();
    (unix.peer, unix.proxy) = (
        Peer::Unix {
            process: Some(1),
            uid: Some(2),
        },
        Some(Peer::Unix {
            process: Some(1),
            uid: Some(2),
        }),
    );
    unix.asked.user = Some(PeerText::new(&[0xff; 300]));
    let texts = [&[0xff; 300][..], b"\xfe", b"k"].map(PeerText::new);
    let [subject, token_id, key_id] = texts.map(Some);
    unix.assertion = Some(Box::new(Assertion {
        subject,
        token_id,
        key_id,
        ..Assertion::by("corp".into())
    }));
    (unix.asked.database, unix.asked.application_name) = (Some("d".into()), Some(PeerText::new(b"\xff")));
    unix.server_error = Some(ServerError {
        sqlstate: None,
        message: PeerText::new(&[0xff; 300]),
    });
    let mut end = full_end();
    end.server = full_attempt().server;
    end.server_error = full_attempt().server_error;
    let mut hex_end = full_end();
    hex_end.server_error = unix.server_error.clone();

    let loaded = Policy::Loaded {
        at: AT,
        policy: POLICY,
        identities: 3,
        grants: 2,
    };
    let mut records = vec![rejected(1), Record::Policy(Box::new(loaded))];
    records.extend([full_attempt(), unix].map(|attempt| Record::Attempt(Box::new(attempt))));
    records.extend([full_end(), end, hex_end].map(|end| Record::End(Box::new(end))));
    records.extend(processes().map(|process| Record::Process(Box::new(process))));
    records.extend(audits().map(|audit| Record::Audit(Box::new(audit))));

    let mut written: BTreeSet<(String, String)> = BTreeSet::new();
    for record in &records {
        let value: Value = serde_json::from_str(&line(record)).expect("JSON");
        let event = value["event"].as_str().expect("an event").to_owned();
        super::super::fields::paths(&value, &mut |path| {
            let path = match path.split_once(".messages.") {
                Some((start, _)) => format!("{start}.messages.*"),
                None => path.to_owned(),
            };
            written.insert((event.clone(), path));
        });
    }
    let listed: BTreeSet<(String, String)> = FIELDS
        .iter()
        .flat_map(|(event, paths)| paths.iter().map(|path| ((*event).to_owned(), (*path).to_owned())))
        .collect();
    let difference: Vec<_> = written.symmetric_difference(&listed).collect();
    assert!(difference.is_empty(), "{difference:?}");
}
