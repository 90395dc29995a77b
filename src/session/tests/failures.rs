//! Failed proofs in a row: the answers become slower, then nothing is asked; and what is no failed proof.

use std::sync::Arc;

use postern_policy::model::Method;

use super::conversation::*;
use super::tokens::{Attempting, token_model};
use crate::audit::{Outcome, Reason};
use crate::core::failures::Failures;
use crate::session::TlsMode;
use crate::wire::initial;

const TOO_MANY: (&str, &str) = ("28000", "too many failed authentication attempts, try again later");

/// One attempt of `user` after the others that `failures` has seen, up to the proof.
fn attempt(failures: &Arc<Failures>, user: &str, password: &[u8]) -> Conversation {
    let mut world = World::new(&model());
    world.failures = failures.clone();
    let mut conversation = Conversation::new(world, usize::MAX, TlsMode::Off);
    conversation.client(&startup(&[("user", user), ("database", "app")]));
    prove(&mut conversation, password);
    conversation
}

fn fail(failures: &Arc<Failures>, times: usize, user: &str) {
    for _ in 0..times {
        attempt(failures, user, b"wrong");
    }
}

fn refused(conversation: &Conversation) -> bool {
    let error = conversation.error();
    let error = error.as_ref().map(|(state, text)| (state.as_str(), text.as_str()));
    error == Some(TOO_MANY)
}

#[test]
fn each_failure_more_waits_twice_as_long_for_its_answer() {
    let failures = Arc::new(failures(true));
    for user in ["alice", "nobody", "alice", "nobody", "alice"] {
        assert!(attempt(&failures, user, b"wrong").closed, "at once");
    }
    for (user, delay) in [("nobody", 100), ("alice", 200), ("nobody", 400)] {
        let mut slow = attempt(&failures, user, b"wrong");
        slow.time(delay - 1);
        assert_eq!((slow.error(), slow.closed), (None, false), "{user}");
        slow.time(1);
        let (sqlstate, text) = slow.error().expect("the answer");
        assert_eq!(sqlstate, "28P01");
        assert_eq!(text, format!("password authentication failed for user \"{user}\""));
    }
}

#[test]
fn whoever_does_not_wait_for_the_answer_has_failed_all_the_same() {
    let failures = Arc::new(failures(true));
    fail(&failures, 5, "alice");
    for delay in [100, 200] {
        let mut slow = attempt(&failures, "alice", b"wrong");
        assert_eq!(slow.gate.deadline(), slow.world.now.after_millis(delay));
        slow.gate.handle_client_closed(&mut slow.world);
        slow.drain();
        assert_eq!(slow.attempts[0].reason, Reason::ScramFailed);
    }
}

#[test]
fn a_network_that_goes_on_is_asked_for_nothing_whatever_the_name() {
    let failures = Arc::new(failures(true));
    fail(&failures, 101, "alice");
    for user in ["alice", "nobody"] {
        let mut stranger = attempt(&failures, user, PASSWORD);
        assert!(refused(&stranger) && stranger.closed);
        assert!(!stranger.to_client.contains(&b'R'), "it was asked for something");
        assert_eq!(stranger.attempts[0].reason, Reason::TooManyFailures);
        assert!(stranger.attempts[0].is_before_proof());
        stranger.world.now = stranger.world.now.after_millis(60_000);
        let again = {
            let mut world = World::new(&model());
            (world.failures, world.now) = (failures.clone(), stranger.world.now);
            let mut conversation = Conversation::new(world, usize::MAX, TlsMode::Off);
            conversation.client(&startup(&[("user", user), ("database", "app")]));
            conversation
        };
        assert!(again.to_client.starts_with(b"R"), "it is asked again");
    }
}

/// Connections that were opened before it was too many are no way round.
#[test]
fn who_was_asked_before_is_not_heard_behind_it() {
    let failures = Arc::new(failures(true));
    let mut world = World::new(&model());
    world.failures = failures.clone();
    let mut early = Conversation::new(world, usize::MAX, TlsMode::Off);
    early.client(&startup(&[("user", "alice"), ("database", "app")]));
    assert!(early.to_client.starts_with(b"R"), "it is asked");
    fail(&failures, 101, "alice");
    prove(&mut early, PASSWORD);
    assert!(refused(&early) && early.closed);
    assert_eq!(early.attempts[0].reason, Reason::TooManyFailures);
}

#[test]
fn a_good_login_is_not_delayed_and_clears_nothing() {
    let failures = Arc::new(failures(true));
    fail(&failures, 20, "alice");
    let good = attempt(&failures, "alice", PASSWORD);
    assert_eq!(good.attempts[0].outcome, Outcome::Permitted);
    assert_eq!(good.connects, [0]);
    let slow = attempt(&failures, "alice", b"wrong");
    assert_eq!(slow.gate.deadline(), slow.world.now.after_millis(5_000));
}

#[test]
fn what_is_denied_behind_a_good_proof_is_no_failure() {
    let failures = Arc::new(failures(true));
    for _ in 0..200 {
        let mut world = World::new(&model());
        world.failures = failures.clone();
        let mut conversation = Conversation::new(world, usize::MAX, TlsMode::Off);
        conversation.client(&startup(&[("user", "alice"), ("database", "other")]));
        prove(&mut conversation, PASSWORD);
        assert_eq!(conversation.attempts[0].reason, Reason::NoSuchDatabase);
        assert!(conversation.closed);
    }
}

#[test]
fn who_shows_nothing_has_not_failed() {
    let failures = Arc::new(failures(true));
    for _ in 0..200 {
        for bytes in [startup(&[("user", "alice"), ("database", "app")]), Vec::new(), {
            let mut out = Vec::new();
            initial::encode_ssl_request(&mut out);
            out
        }] {
            let mut world = World::new(&model());
            world.failures = failures.clone();
            let mut conversation = Conversation::new(world, usize::MAX, TlsMode::Off);
            conversation.client(&bytes);
            conversation.gate.handle_client_closed(&mut conversation.world);
            conversation.drain();
        }
    }
    assert!(attempt(&failures, "alice", b"wrong").closed, "the first failure");
}

#[test]
fn discovery_does_not_count_and_a_bad_token_does() {
    let failures = Arc::new(failures(true));
    let model = token_model(Method::OauthBearer);
    let begin = || {
        let mut world = World::new(&model);
        world.failures = failures.clone();
        Attempting::at(world, &model, None)
    };
    for _ in 0..200 {
        let discovered = begin().discover();
        assert_eq!(discovered.attempt().reason, Reason::TokenDiscovery);
    }
    for _ in 0..5 {
        assert_eq!(begin().show("no.token").attempt().reason, Reason::TokenMalformed);
    }
    let mut slow = begin();
    slow.conversation.to_client.clear();
    let mut slow = slow.show("no.token");
    assert!(slow.conversation.to_client.is_empty(), "the challenge came early");
    slow.conversation.time(100);
    slow.answer_challenge();
    assert_eq!(slow.attempt().reason, Reason::TokenMalformed);
}
