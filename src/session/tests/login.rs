//! Conversations that end in a session, whole and split at every byte.

use super::conversation::*;
use crate::audit::{EndReason, Outcome, PeerText, Reason};
use crate::session::TlsMode;
use crate::wire::error::Report;
use crate::wire::initial::ProtocolVersion;
use crate::wire::sqlstate::SqlState;

const WHOLE: usize = usize::MAX;

fn logged_in(piece: usize) -> Conversation {
    let mut conversation = Conversation::new(World::new(&model()), piece, TlsMode::Off);
    conversation.client(&startup(&[
        ("user", "alice"),
        ("database", "app"),
        ("application_name", "t"),
    ]));
    prove(&mut conversation, PASSWORD);
    conversation.connected();
    conversation.server(&server_greeting());
    conversation
}

#[test]
fn a_good_proof_leads_to_a_session_with_one_record() {
    let conversation = logged_in(WHOLE);
    assert!(conversation.passage.is_some());
    assert_eq!(conversation.attempts.len(), 1);
    let attempt = &conversation.attempts[0];
    assert_eq!((attempt.outcome, attempt.reason), (Outcome::Permitted, Reason::Ok));
    assert_eq!(attempt.identity.as_deref(), Some("alice"));
    assert_eq!(attempt.role.as_deref(), Some("app_rw"));
    assert!(conversation.ends.is_empty(), "the session has not ended");
}

#[test]
fn the_server_is_logged_in_to_with_what_the_policy_says() {
    let sent = logged_in(WHOLE).to_server;
    let text = String::from_utf8_lossy(&sent);
    for pair in [
        "user\0app_rw\0",
        "database\0app\0",
        "statement_timeout\x0030s\0",
        "postern.identity\0alice\0",
        "application_name\0t\0",
    ] {
        assert!(text.contains(pair), "{pair:?} is missing in {text:?}");
    }
    assert!(!text.contains("user\0alice"), "the client's own name is not a role");
}

fn refused(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Report::fatal(SqlState::InvalidPassword, message).encode(&mut out);
    out
}

fn refused_once() -> Conversation {
    let mut conversation = Conversation::new(World::new(&model()), WHOLE, TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    conversation.connected();
    conversation.server(&refused("first"));
    // The server closes behind it.
    conversation
        .gate
        .handle_unreachable(&mut conversation.world, &"refused");
    conversation.drain();
    assert_eq!((conversation.rereads, conversation.connects.len()), (1, 1));
    assert!(conversation.error().is_none(), "nothing is said yet");
    conversation
}

fn read_again(conversation: &mut Conversation, changed: bool) {
    conversation
        .gate
        .handle_credential_read(&mut conversation.world, changed);
    conversation.drain();
}

#[track_caller]
fn given_up(conversation: &Conversation, message: &str) {
    assert_eq!(
        conversation.error().map(|(sqlstate, _)| sqlstate).as_deref(),
        Some("08004")
    );
    let end = &conversation.ends[0];
    assert_eq!(end.how, EndReason::UpstreamRefused);
    let told = end.server_error.as_ref().expect("what the server said");
    assert_eq!(told.message, PeerText::from(message));
    assert!(conversation.closed);
}

#[test]
fn a_secret_that_has_changed_is_tried_once_more_and_no_third_time() {
    let mut conversation = refused_once();
    read_again(&mut conversation, true);
    assert_eq!(conversation.connects, [0, 0]);
    conversation.connected();
    conversation.server(&refused("second"));
    given_up(&conversation, "second");
    assert_eq!((conversation.rereads, conversation.connects.len()), (1, 2));

    let mut conversation = refused_once();
    read_again(&mut conversation, true);
    conversation.connected();
    conversation.server(&server_greeting());
    assert!(conversation.passage.is_some(), "the new secret was good");
}

#[test]
fn a_secret_that_is_the_same_is_not_tried_again() {
    let mut conversation = refused_once();
    read_again(&mut conversation, false);
    given_up(&conversation, "first");
    assert_eq!(conversation.connects.len(), 1);
}

#[test]
fn the_second_login_ends_by_the_deadline_of_the_first() {
    let mut conversation = refused_once();
    conversation.time(9_000);
    read_again(&mut conversation, true);
    conversation.connected();
    conversation.time(1_001);
    assert_eq!(conversation.ends[0].how, EndReason::UpstreamTimeout);

    let mut conversation = refused_once();
    conversation.time(10_001);
    given_up(&conversation, "first");
}

#[test]
fn every_split_of_the_conversation_says_the_same() {
    let whole = logged_in(WHOLE);
    for piece in 1..80 {
        let split = logged_in(piece);
        assert!(split.passage.is_some(), "in pieces of {piece}");
        assert_eq!(split.to_client, whole.to_client, "in pieces of {piece}");
        assert_eq!(split.to_server, whole.to_server, "in pieces of {piece}");
    }
}

#[test]
fn nothing_reaches_a_server_before_the_permit_is_recorded() {
    let mut conversation = Conversation::new(World::new(&model()), WHOLE, TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    conversation.connected();
    assert!(conversation.connects.is_empty() && conversation.to_server.is_empty());
    prove(&mut conversation, PASSWORD);
    assert_eq!(conversation.connects, [0]);
    assert!(conversation.to_server.is_empty(), "only a connection, no message yet");
}

#[test]
fn without_its_record_an_attempt_is_denied() {
    let mut conversation = Conversation::new(World::new(&model()), WHOLE, TlsMode::Off);
    conversation.recording = false;
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    assert_eq!(conversation.error().map(|(state, _)| state).as_deref(), Some("57P03"));
    assert_eq!(conversation.attempts.len(), 1);
    assert_eq!(conversation.attempts[0].reason, Reason::AuditUnavailable);
    assert!(conversation.closed && conversation.ends.is_empty());
}

#[test]
fn a_policy_that_changes_before_the_relay_takes_the_permission_away() {
    let mut conversation = Conversation::new(World::new(&model()), WHOLE, TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    conversation.connected();
    let mut without = model();
    without.grants.clear();
    conversation.world.in_force = in_force(&without, 2);
    conversation.server(&server_greeting());
    assert!(conversation.passage.is_none(), "not let through");
    assert_eq!(conversation.ends.len(), 1);
    assert_eq!(conversation.ends[0].how, EndReason::PolicyChanged);
    assert_eq!(conversation.error().map(|(state, _)| state).as_deref(), Some("28000"));
}

#[test]
fn the_next_candidate_is_tried_and_the_last_failure_ends_the_session() {
    let mut world = World::new(&model());
    world.route.candidates = 2;
    let mut conversation = Conversation::new(world, WHOLE, TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    conversation
        .gate
        .handle_unreachable(&mut conversation.world, &"refused");
    conversation.drain();
    assert_eq!(conversation.connects, [0, 1]);
    conversation.time(3_001);
    assert_eq!(conversation.ends.len(), 1);
    assert_eq!(conversation.ends[0].how, EndReason::UpstreamTimeout);
    assert_eq!(conversation.error().map(|(state, _)| state).as_deref(), Some("08001"));
    assert!(conversation.closed);
}

#[test]
fn a_client_of_3_2_gets_a_long_cancel_key_and_a_newer_one_is_told_so() {
    let key_length = |version: u32| {
        let mut conversation = Conversation::new(World::new(&model()), WHOLE, TlsMode::Off);
        conversation.client(&startup_of(
            ProtocolVersion(version),
            &[("user", "alice"), ("database", "app")],
        ));
        let negotiated = conversation.to_client.first() == Some(&b'v');
        prove(&mut conversation, PASSWORD);
        conversation.connected();
        conversation.server(&server_greeting());
        let shown = SERVER_PROCESS.to_be_bytes();
        let at = conversation
            .to_client
            .windows(4)
            .position(|window| window == shown)
            .expect("the key is shown");
        (negotiated, conversation.to_client[at - 1] - 8)
    };
    assert_eq!(key_length(3 << 16), (false, 4));
    assert_eq!(key_length(3 << 16 | 2), (false, 32));
    assert_eq!(key_length(3 << 16 | 9999), (true, 32));
}

#[test]
fn what_a_client_sends_early_is_left_for_the_relay() {
    let mut conversation = Conversation::new(World::new(&model()), WHOLE, TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    conversation.client(b"Q\0\0\0\x0dselect 1\0");
    assert_eq!(conversation.left_over, b"Q\0\0\0\x0dselect 1\0");
    assert!(conversation.to_server.is_empty());
}

#[test]
fn the_password_is_in_nothing_that_is_recorded() {
    let conversation = logged_in(WHOLE);
    let shown = format!("{:?}{:?}", conversation.attempts, conversation.ends);
    assert!(!shown.contains("marker-password"));
}
