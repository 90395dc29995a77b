//! Conversations that end in a refusal: SQLSTATE, text and record of each.

use super::conversation::*;
use crate::audit::{Outcome, Reason};
use crate::session::TlsMode;
use crate::wire::initial;

const WHOLE: usize = usize::MAX;

fn begin(tls: TlsMode) -> Conversation {
    Conversation::new(World::new(&model()), WHOLE, tls)
}

fn refused(conversation: &Conversation, sqlstate: &str, text: &str, reason: Reason) {
    assert_eq!(conversation.error(), Some((sqlstate.to_owned(), text.to_owned())));
    assert_eq!(conversation.attempts.len(), 1, "one record for one attempt");
    assert_eq!(conversation.attempts[0].reason, reason);
    assert!(conversation.closed && conversation.connects.is_empty() && conversation.to_server.is_empty());
}

#[test]
fn a_wrong_password_and_an_unknown_name_look_the_same() {
    let with = |user: &str| {
        let mut conversation = begin(TlsMode::Off);
        conversation.client(&startup(&[("user", user), ("database", "app")]));
        prove(&mut conversation, b"wrong");
        conversation
    };
    let (known, unknown) = (with("alice"), with("nobod"));
    refused(
        &known,
        "28P01",
        "password authentication failed for user \"alice\"",
        Reason::ScramFailed,
    );
    refused(
        &unknown,
        "28P01",
        "password authentication failed for user \"nobod\"",
        Reason::IdentityUnknown,
    );
    assert_eq!(known.to_client.len(), unknown.to_client.len());
}

#[test]
fn every_no_behind_a_good_proof_has_one_text() {
    let mut conversation = begin(TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "other")]));
    prove(&mut conversation, PASSWORD);
    let text = "access to database \"other\" is not granted to user \"alice\"";
    refused(&conversation, "28000", text, Reason::NoSuchDatabase);
}

#[test]
fn a_setting_that_the_grant_fixes_is_refused_in_every_spelling() {
    for pair in [
        ("statement_timeout", "0"),
        ("Statement_Timeout", "0"),
        ("options", "-cstatement_timeout=0"),
    ] {
        let mut conversation = begin(TlsMode::Off);
        conversation.client(&startup(&[("user", "alice"), ("database", "app"), pair]));
        prove(&mut conversation, PASSWORD);
        assert_eq!(
            conversation.error().map(|(state, _)| state).as_deref(),
            Some("42501"),
            "{pair:?}"
        );
        assert_eq!(conversation.attempts[0].reason, Reason::StartupSettingRefused);
    }
}

#[test]
fn guarded_settings_are_refused_before_any_proof() {
    for options in [
        "-cPOSTERN.identity=x",
        "--postern.identity=x",
        "-c  role=x",
        "--session-authorization=x",
    ] {
        let mut conversation = begin(TlsMode::Off);
        conversation.client(&startup(&[
            ("user", "alice"),
            ("database", "app"),
            ("options", options),
        ]));
        assert_eq!(
            conversation.error().map(|(state, _)| state).as_deref(),
            Some("42501"),
            "{options}"
        );
    }
}

#[test]
fn replication_is_recognised_and_not_granted() {
    for replication in ["true", "on", "1", "YES", "database"] {
        let mut conversation = begin(TlsMode::Off);
        conversation.client(&startup(&[
            ("user", "alice"),
            ("database", "app"),
            ("replication", replication),
        ]));
        prove(&mut conversation, PASSWORD);
        let text = "access to database \"app\" is not granted to user \"alice\"";
        refused(&conversation, "28000", text, Reason::ReplicationNotGranted);
    }
}

#[test]
fn a_listener_that_requires_tls_refuses_a_plain_start_up_and_takes_a_plain_cancel() {
    let mut conversation = begin(TlsMode::Require);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    refused(
        &conversation,
        "28000",
        "this listener requires an encrypted connection",
        Reason::TlsRequired,
    );
    let mut conversation = begin(TlsMode::Require);
    let mut cancel = Vec::new();
    initial::encode_cancel(
        &mut cancel,
        crate::wire::cancel::CancelRequest {
            process_id: 7,
            key: b"abcd",
        },
    );
    conversation.client(&cancel);
    assert_eq!(conversation.cancels, [(7, b"abcd".to_vec())]);
    conversation
        .gate
        .handle_cancel_done(&conversation.world, Reason::CancelNoMatch, None);
    conversation.drain();
    assert_eq!(conversation.attempts[0].outcome, Outcome::Cancel);
    assert!(conversation.to_client.is_empty(), "a cancel is never answered");
}

#[test]
fn clear_bytes_behind_an_ssl_request_are_refused() {
    let mut conversation = begin(TlsMode::Allow);
    let mut bytes = Vec::new();
    initial::encode_ssl_request(&mut bytes);
    bytes.extend_from_slice(&startup(&[("user", "alice")]));
    conversation.client(&bytes);
    refused(
        &conversation,
        "08P01",
        "received unencrypted data after SSL request",
        Reason::ProtocolViolation,
    );
}

#[test]
fn garbage_and_oversize_lengths_are_protocol_violations() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 4],
        &[0, 0, 0x40, 0, 0, 3, 0, 0],
    ] {
        let mut conversation = begin(TlsMode::Off);
        conversation.client(bytes);
        assert_eq!(
            conversation.error().map(|(state, _)| state).as_deref(),
            Some("08P01"),
            "{bytes:?}"
        );
        assert_eq!(conversation.attempts.len(), 1);
    }
}

#[test]
fn another_message_than_a_sasl_response_is_named() {
    let mut conversation = begin(TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    conversation.client(b"Q\0\0\0\x0dselect 1\0");
    refused(
        &conversation,
        "08P01",
        "expected SASL response, got message type 81",
        Reason::ProtocolViolation,
    );
}

#[test]
fn silence_has_a_deadline_and_a_record() {
    let mut conversation = begin(TlsMode::Off);
    conversation.time(10_001);
    assert!(conversation.closed && conversation.to_client.is_empty());
    assert_eq!(conversation.attempts[0].reason, Reason::StartupTimeout);

    let mut conversation = begin(TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    conversation.time(60_001);
    let text = "canceling authentication due to timeout";
    refused(&conversation, "57014", text, Reason::AuthenticationTimeout);
}

#[test]
fn probes_and_half_messages_are_told_apart() {
    let mut conversation = begin(TlsMode::Off);
    conversation.gate.handle_client_closed(&mut conversation.world);
    conversation.drain();
    assert_eq!(conversation.attempts[0].reason, Reason::Probe);

    let mut conversation = begin(TlsMode::Off);
    conversation.client(&[0, 0]);
    conversation.gate.handle_client_closed(&mut conversation.world);
    conversation.drain();
    assert_eq!(conversation.attempts[0].reason, Reason::ClientClosed);
}

#[test]
fn the_limit_of_sessions_is_53300() {
    let mut world = World::new(&model());
    world.places = 0;
    let mut conversation = Conversation::new(world, WHOLE, TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    refused(
        &conversation,
        "53300",
        "too many connections for role \"alice\"",
        Reason::TooManySessions,
    );
}
