//! What the end of a proof does to a session that has something under way: never more than the transaction that is open.

use super::conversation::*;
use crate::session::{Passage, Verdict};
use crate::time::Mono;

const QUERY: &[u8] = b"Q\0\0\0\x0dselect 1\0";
const SYNC: &[u8] = b"S\0\0\0\x04";
const TERMINATE: &[u8] = b"X\0\0\0\x04";
const COMPLETE: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
const IDLE: &[u8] = b"Z\0\0\0\x05I";
const IN_TRANSACTION: &[u8] = b"Z\0\0\0\x05T";

fn session() -> Box<Passage> {
    let mut conversation = Conversation::new(World::new(&model()), usize::MAX, crate::session::TlsMode::Off);
    conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
    prove(&mut conversation, PASSWORD);
    conversation.connected();
    conversation.server(&server_greeting());
    conversation.passage.expect("a session")
}

fn client(passage: &mut Passage, bytes: &[u8]) -> Verdict {
    passage.handle_client(Mono(0), bytes)
}

fn server(passage: &mut Passage, bytes: &[u8]) {
    assert_eq!(passage.handle_server(Mono(0), bytes), Verdict::Forward);
}

#[test]
fn who_has_nothing_open_begins_nothing_more() {
    let mut quiet = session();
    quiet.refuse_new();
    assert_eq!(client(&mut quiet, QUERY), Verdict::Refuse);
    assert_eq!(client(&mut quiet, TERMINATE), Verdict::Forward);
    let mut quiet = session();
    quiet.finish_transaction();
    assert!(quiet.is_finished());
}

#[test]
fn a_transaction_is_finished_and_none_begun() {
    for refuses in [true, false] {
        let mut passage = session();
        assert_eq!(client(&mut passage, QUERY), Verdict::Forward);
        server(&mut passage, &[COMPLETE, IN_TRANSACTION].concat());
        match refuses {
            true => passage.refuse_new(),
            false => passage.finish_transaction(),
        }
        for _ in 0..2 {
            assert_eq!(client(&mut passage, QUERY), Verdict::Forward);
            server(&mut passage, &[COMPLETE, IN_TRANSACTION].concat());
            assert!(!passage.is_finished());
        }
        assert_eq!(client(&mut passage, QUERY), Verdict::Forward);
        server(&mut passage, &[COMPLETE, IDLE].concat());
        assert_eq!(passage.is_finished(), !refuses);
        if refuses {
            assert_eq!(client(&mut passage, QUERY), Verdict::Refuse);
        }
    }
}

/// Or else it would outlive its proof for ever.
#[test]
fn a_client_that_always_asks_ahead_is_stopped_between_two_transactions() {
    for refuses in [true, false] {
        let mut passage = session();
        for ahead in [QUERY, QUERY, SYNC] {
            assert_eq!(client(&mut passage, ahead), Verdict::Forward);
        }
        match refuses {
            true => passage.refuse_new(),
            false => passage.finish_transaction(),
        }
        assert_eq!(
            client(&mut passage, QUERY),
            Verdict::Forward,
            "nobody knows yet what is open"
        );
        server(&mut passage, COMPLETE);
        assert_eq!(client(&mut passage, QUERY), Verdict::Forward);
        server(&mut passage, IDLE);
        assert_eq!(passage.is_finished(), !refuses);
        if refuses {
            server(&mut passage, &[COMPLETE, IDLE].concat());
            assert_eq!(
                client(&mut passage, QUERY),
                Verdict::Refuse,
                "what was asked before is answered"
            );
        }
    }
}

/// The rest of a message may begin with any byte.
#[test]
fn a_goodbye_is_a_message() {
    let mut passage = session();
    let query = b"Q\0\0\0\x0cX\0\0\0\x04;;\0";
    assert_eq!(client(&mut passage, QUERY), Verdict::Forward);
    passage.refuse_new();
    assert_eq!(client(&mut passage, &query[..5]), Verdict::Forward);
    server(&mut passage, &[COMPLETE, IDLE].concat());
    assert_eq!(client(&mut passage, &query[5..]), Verdict::Refuse);
}
