//! The record layer against a peer that does what it should not. Both ends are ours, so that the bad one can seal
//! anything. What well-behaved peers do is tested against rustls in `peer_tests.rs`.

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::{Alert, ContentType, Link, Opened, Schedule};
use crate::tls::error::Violation;
use crate::tls::fixtures::{Authority, Receiver, handshake, require};
use crate::tls::{Fault, MAX_RECORD, Misuse, TlsError, UpstreamTls, Version};

/// (server, client).
fn pair(version: Version) -> (Link, Link) {
    match version {
        Version::Tls13 => {
            let listener = Authority::new("ca").leaf(&["db.example"]).listener();
            let (server, client) = handshake(&listener, &UpstreamTls::new(&require(), None).unwrap());
            (*server.link, *client.link)
        }
        Version::Tls12 => (
            tls12_link(1, 2, Schedule::Server(None)),
            tls12_link(2, 1, Schedule::Client(None)),
        ),
    }
}

fn tls12_link(tx: u8, rx: u8, schedule: Schedule) -> Link {
    let secrets = |byte| ConnectionTrafficSecrets::Aes256Gcm {
        key: AeadKey::from([byte; 32]),
        iv: Iv::copy(&[byte; 12]),
    };
    Link::new(
        Version::Tls12,
        ExtractedSecrets {
            tx: (1, secrets(tx)),
            rx: (1, secrets(rx)),
        },
        schedule,
    )
    .unwrap()
}

/// What `to` makes of one record of this type and content from `from`.
fn send(from: &mut Link, to: &mut Link, content: ContentType, bytes: &[u8]) -> Result<Opened, TlsError> {
    let mut record = Vec::new();
    from.append(content, bytes, &mut record).unwrap();
    to.open(&mut record)
}

fn violation(result: Result<Opened, TlsError>) -> Violation {
    match result {
        Err(TlsError::Violation(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

const BOTH: [Version; 2] = [Version::Tls12, Version::Tls13];

#[test]
fn handshake_messages_that_do_not_belong_after_the_handshake_are_refused() {
    let request = [13, 0, 0, 3, 0, 0, 0];
    let hello = [1, 0, 0, 2, 3, 3];
    let finished = [20, 0, 0, 1, 0];
    for message in [&request[..], &hello, &finished, &[0, 0, 0, 0]] {
        let (mut server, mut client) = pair(Version::Tls13);
        let result = send(&mut server, &mut client, ContentType::Handshake, message);
        assert_eq!(
            violation(result),
            Violation::UnexpectedMessage,
            "to the client {message:?}"
        );
        let (mut server, mut client) = pair(Version::Tls13);
        let result = send(&mut client, &mut server, ContentType::Handshake, message);
        assert_eq!(
            violation(result),
            Violation::UnexpectedMessage,
            "to the server {message:?}"
        );
    }
    let (mut server, mut client) = pair(Version::Tls13);
    let ticket = [4, 0, 0, 1, 0];
    assert_eq!(
        violation(send(&mut client, &mut server, ContentType::Handshake, &ticket)),
        Violation::UnexpectedMessage
    );
    assert!(matches!(
        send(&mut server, &mut client, ContentType::Handshake, &ticket),
        Ok(Opened::Control { .. })
    ));
}

#[test]
fn key_update_messages_are_checked_to_the_byte() {
    let too_long = [24, 0, 0, 2, 0, 0];
    let empty = [24, 0, 0, 0];
    let neither = [24, 0, 0, 1, 2];
    for message in [&too_long[..], &empty, &neither] {
        let (mut server, mut client) = pair(Version::Tls13);
        let result = send(&mut client, &mut server, ContentType::Handshake, message);
        assert_eq!(violation(result), Violation::Malformed, "{message:?}");
    }
    let (mut server, mut client) = pair(Version::Tls13);
    let two = [24, 0, 0, 1, 0, 24, 0, 0, 1, 0];
    let result = send(&mut client, &mut server, ContentType::Handshake, &two);
    assert_eq!(
        violation(result),
        Violation::UnexpectedMessage,
        "keys change at the end of a record"
    );
}

#[test]
fn messages_may_span_records_but_nothing_may_come_between() {
    let (mut server, mut client) = pair(Version::Tls13);
    for byte in [24, 0, 0, 1] {
        assert!(send(&mut client, &mut server, ContentType::Handshake, &[byte]).is_ok());
        assert!(!server.owes());
    }
    assert!(send(&mut client, &mut server, ContentType::Handshake, &[1]).is_ok());
    assert!(server.owes(), "the whole message asked for our key to change");

    let (mut server, mut client) = pair(Version::Tls13);
    assert!(send(&mut client, &mut server, ContentType::Handshake, &[24, 0]).is_ok());
    let result = send(&mut client, &mut server, ContentType::ApplicationData, b"between");
    assert_eq!(violation(result), Violation::UnexpectedMessage);

    let (mut server, mut client) = pair(Version::Tls13);
    let ticket_and_update = [&[4, 0, 0, 2, 9, 9][..], &[24, 0, 0, 1, 0]].concat();
    assert!(send(&mut server, &mut client, ContentType::Handshake, &ticket_and_update).is_ok());
    let mut out = Vec::new();
    server.write = super::RecordKey::next(server.schedule.next_write().unwrap()).unwrap();
    server.seal(b"under the next key", &mut out).unwrap();
    assert!(matches!(client.open(&mut out), Ok(Opened::Data { .. })));
}

#[test]
fn a_ticket_that_never_ends_is_refused_from_its_header() {
    let (mut server, mut client) = pair(Version::Tls13);
    let result = send(
        &mut server,
        &mut client,
        ContentType::Handshake,
        &[4, 0x00, 0x40, 0x01, 0],
    );
    assert_eq!(violation(result), Violation::HandshakeFlood);
    assert!(client.partial.is_empty());
}

#[test]
fn empty_handshake_and_odd_alert_records_are_refused() {
    for version in BOTH {
        let (mut server, mut client) = pair(version);
        let result = send(&mut client, &mut server, ContentType::Handshake, &[]);
        assert_eq!(violation(result), Violation::UnexpectedMessage);
        for alert in [&[][..], &[1], &[1, 0, 0]] {
            let (mut server, mut client) = pair(version);
            assert_eq!(
                violation(send(&mut client, &mut server, ContentType::Alert, alert)),
                Violation::Malformed
            );
        }
        let (mut server, mut client) = pair(version);
        let result = send(&mut client, &mut server, ContentType::ChangeCipherSpec, &[1]);
        assert_eq!(violation(result), Violation::UnexpectedMessage);
    }
}

#[test]
fn what_1_3_should_have_hidden_is_refused_before_any_key_is_tried() {
    for outer in [20, 21, 22] {
        let (mut server, _) = pair(Version::Tls13);
        let mut record = [outer, 3, 3, 0, 2, 2, 40];
        assert_eq!(
            violation(server.open(&mut record)),
            Violation::UnexpectedMessage,
            "type {outer}"
        );
    }
}

#[test]
fn empty_records_warnings_and_key_updates_are_counted() {
    for version in BOTH {
        let (mut server, mut client) = pair(version);
        let empty = |server: &mut Link, client: &mut Link| send(client, server, ContentType::ApplicationData, &[]);
        for _ in 0..32 {
            assert!(matches!(empty(&mut server, &mut client), Ok(Opened::Control { .. })));
        }
        assert!(send(&mut client, &mut server, ContentType::ApplicationData, b"data").is_ok());
        for _ in 0..32 {
            assert!(empty(&mut server, &mut client).is_ok(), "data begins the count anew");
        }
        assert_eq!(violation(empty(&mut server, &mut client)), Violation::EmptyRecordFlood);

        let (mut server, mut client) = pair(version);
        let warning = [1, Alert::USER_CANCELED.0];
        for _ in 0..4 {
            assert!(send(&mut client, &mut server, ContentType::Alert, &warning).is_ok());
        }
        assert_eq!(
            violation(send(&mut client, &mut server, ContentType::Alert, &warning)),
            Violation::WarningFlood
        );
    }
    let (mut server, mut client) = pair(Version::Tls13);
    for _ in 0..32 {
        assert!(send(&mut client, &mut server, ContentType::Handshake, &[24, 0, 0, 1, 1]).is_ok());
        client.write = super::RecordKey::next(client.schedule.next_write().unwrap()).unwrap();
    }
    let result = send(&mut client, &mut server, ContentType::Handshake, &[24, 0, 0, 1, 1]);
    assert_eq!(violation(result), Violation::KeyUpdateFlood);
}

#[test]
fn a_renegotiation_is_refused_once_with_a_warning_and_then_for_good() {
    let hello = [1, 0, 0, 2, 3, 3];
    let (mut server, mut client) = pair(Version::Tls12);
    assert!(matches!(
        send(&mut client, &mut server, ContentType::Handshake, &hello),
        Ok(Opened::Control { .. })
    ));
    let mut out = Vec::new();
    server.flush_owed(&mut out).unwrap();
    assert!(
        matches!(client.open(&mut out), Ok(Opened::Control { .. })),
        "the warning is harmless"
    );
    assert!(send(&mut client, &mut server, ContentType::ApplicationData, b"goes on").is_ok());
    let result = send(&mut client, &mut server, ContentType::Handshake, &hello);
    assert_eq!(violation(result), Violation::RenegotiationFlood);

    let (mut server, mut client) = pair(Version::Tls12);
    assert!(send(&mut server, &mut client, ContentType::Handshake, &[0, 0, 0, 0]).is_ok());
    assert!(client.owes());
    let result = send(&mut client, &mut server, ContentType::Handshake, &[0, 0, 0, 0]);
    assert_eq!(
        violation(result),
        Violation::UnexpectedMessage,
        "only servers send HelloRequest"
    );
}

#[test]
fn fatal_alerts_end_the_link_and_are_not_answered() {
    for version in BOTH {
        let (mut server, mut client) = pair(version);
        let error = send(&mut server, &mut client, ContentType::Alert, &[2, 116]).unwrap_err();
        assert_eq!(error, TlsError::AlertReceived(Alert(116)));
        assert_eq!(error.fault(), Fault::Peer);
        assert!(!client.owes());
        let mut out = Vec::new();
        assert_eq!(client.seal(b"x", &mut out), Err(Misuse::SealedAfterClose.into()));
        client.close_notify(&mut out).unwrap();
        assert!(out.is_empty());
    }
    // In 1.3 the level means nothing (RFC 8446 6).
    let (mut server, mut client) = pair(Version::Tls13);
    let error = send(&mut server, &mut client, ContentType::Alert, &[1, 48]).unwrap_err();
    assert_eq!(error, TlsError::AlertReceived(Alert(48)));
}

#[test]
fn padding_is_taken_off_and_padding_alone_is_refused() {
    let (mut server, mut client) = pair(Version::Tls13);
    let mut record = Vec::new();
    append_inner(&mut client, b"padded\x17\0\0\0\0", &mut record);
    assert_eq!(
        server.open(&mut record),
        Ok(Opened::Data {
            plaintext: 5..11,
            consumed: record.len()
        })
    );
    record.clear();
    append_inner(&mut client, b"\0\0\0", &mut record);
    assert_eq!(violation(server.open(&mut record)), Violation::NoContentType);
    let (mut server, mut client) = pair(Version::Tls13);
    record.clear();
    append_inner(&mut client, b"data\x63", &mut record);
    assert_eq!(
        violation(server.open(&mut record)),
        Violation::UnexpectedMessage,
        "no such type"
    );
}

#[test]
fn the_longest_legal_record_passes_and_longer_ones_do_not() {
    let (mut server, mut client) = pair(Version::Tls13);
    let mut inner = vec![7; 16_384];
    inner.push(23);
    inner.resize(16_384 + 256 - 16, 0);
    let mut record = Vec::new();
    append_inner(&mut client, &inner, &mut record);
    assert_eq!(record.len(), MAX_RECORD);
    assert_eq!(Receiver::new().receive(&mut server, &record).unwrap(), vec![7; 16_384]);
    let (mut server, mut client) = pair(Version::Tls13);
    inner.fill(7);
    inner[16_385] = 23;
    inner[16_386..].fill(0);
    record.clear();
    append_inner(&mut client, &inner, &mut record);
    assert_eq!(violation(server.open(&mut record)), Violation::PlaintextTooLong);
    let (mut server, _) = pair(Version::Tls13);
    assert_eq!(
        violation(server.open(&mut [23, 3, 3, 0x41, 0x01])),
        Violation::RecordTooLong
    );
}

#[test]
fn records_too_short_for_a_tag_do_not_authenticate() {
    for version in BOTH {
        for length in 0..24 {
            let (mut server, _) = pair(version);
            let mut record = vec![0; 5 + length];
            record[..5].copy_from_slice(&[23, 3, 3, 0, length as u8]);
            assert_eq!(
                server.open(&mut record),
                Err(TlsError::DecryptFailed),
                "{version:?} {length}"
            );
        }
    }
}

#[test]
fn an_incomplete_record_says_how_much_it_takes_and_is_left_alone() {
    let (mut server, mut client) = pair(Version::Tls13);
    let mut record = Vec::new();
    client.seal(b"whole", &mut record).unwrap();
    for length in 0..record.len() {
        let total = if length < 5 { 5 } else { record.len() };
        let mut part = record[..length].to_vec();
        assert_eq!(server.open(&mut part), Ok(Opened::NeedMore { total }));
        assert_eq!(part, record[..length]);
    }
    assert!(matches!(server.open(&mut record), Ok(Opened::Data { .. })));
}

#[test]
fn sealing_without_room_is_refused_and_writes_nothing() {
    for version in BOTH {
        let (mut server, mut client) = pair(version);
        let (head, tail) = server.seal_room();
        let mut buffer = vec![1; head + 4 + tail];
        let untouched = buffer.clone();
        for plaintext in [head - 1..head + 3, head + 1..head + 5, 0..4] {
            assert_eq!(server.seal_in_place(&mut buffer, plaintext), Err(Misuse::NoRoom.into()));
        }
        assert_eq!(server.seal_into(b"12345", &mut buffer), Err(Misuse::NoRoom.into()));
        assert_eq!(buffer, untouched);
        assert_eq!(
            server.seal_in_place(&mut buffer, head..head + 4),
            Ok(0..head + 4 + tail)
        );
        assert_eq!(
            client.open(&mut buffer),
            Ok(Opened::Data {
                plaintext: head..head + 4,
                consumed: buffer.len()
            })
        );
        let length = server.seal_into(b"copy", &mut buffer).unwrap();
        assert!(client.open(&mut buffer[..length]).is_ok());
        assert_eq!(&buffer[head..head + 4], b"copy");
    }
}

/// What was opened can be sealed again where it lies, for a link of the same form: relaying from TLS to TLS.
#[test]
fn neighbouring_records_are_relayed_in_place_without_touching_each_other() {
    let (mut server, mut client) = pair(Version::Tls13);
    let (mut far_server, mut far_client) = pair(Version::Tls13);
    let mut buffer = Vec::new();
    for message in [&b"one"[..], b"second", b"3"] {
        client.seal(message, &mut buffer).unwrap();
    }
    let mut start = 0;
    while start < buffer.len() {
        let Ok(Opened::Data { plaintext, consumed }) = server.open(&mut buffer[start..]) else {
            panic!()
        };
        let record = far_client.seal_in_place(&mut buffer[start..], plaintext).unwrap();
        assert_eq!(record, 0..consumed);
        start += consumed;
    }
    assert_eq!(
        Receiver::new().receive(&mut far_server, &buffer).unwrap(),
        b"onesecond3"
    );
}

/// Appends a record whose TLSInnerPlaintext (content, type, zeros) is `inner`.
fn append_inner(link: &mut Link, inner: &[u8], out: &mut Vec<u8>) {
    link.write.append_inner(inner, out).unwrap();
}
