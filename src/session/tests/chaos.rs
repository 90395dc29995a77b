//! Conversations in any order: good messages, garbage, closes, timeouts, policy swaps and servers that misbehave, with the
//! invariants of the gate checked after every step.

use proptest::prelude::*;

use super::conversation::*;
use crate::audit::{Outcome, Reason};
use crate::session::{Surroundings, TlsMode};
use crate::wire::initial;

/// What may happen to a gate.
#[derive(Debug, Clone)]
enum Event {
    Startup { user: usize, database: usize },
    Prove { right: bool },
    SslRequest,
    Cancel,
    ClientBytes(Vec<u8>),
    ClientCloses,
    Connected,
    Unreachable,
    ServerGreeting,
    ServerBytes(Vec<u8>),
    Time(u64),
    SwapPolicy { keep: bool },
    CancelDone,
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        3 => (0..2_usize, 0..2_usize).prop_map(|(user, database)| Event::Startup { user, database }),
        4 => any::<bool>().prop_map(|right| Event::Prove { right }),
        1 => Just(Event::SslRequest),
        1 => Just(Event::Cancel),
        1 => bytes().prop_map(Event::ClientBytes),
        1 => Just(Event::ClientCloses),
        4 => Just(Event::Connected),
        1 => Just(Event::Unreachable),
        4 => Just(Event::ServerGreeting),
        1 => bytes().prop_map(Event::ServerBytes),
        1 => (0..70_000_u64).prop_map(Event::Time),
        1 => any::<bool>().prop_map(|keep| Event::SwapPolicy { keep }),
        1 => Just(Event::CancelDone),
    ]
}

fn apply(conversation: &mut Conversation, event: &Event, generation: u64) {
    match event {
        Event::Startup { user, database } => {
            let pairs = [
                ("user", ["alice", "mallory"][*user]),
                ("database", ["app", "other"][*database]),
            ];
            conversation.client(&startup(&pairs));
        }
        Event::Prove { right } => {
            if conversation.to_client.starts_with(b"R") && conversation.left_over.is_empty() {
                prove(conversation, if *right { PASSWORD } else { b"wrong" });
            }
        }
        Event::SslRequest => {
            let mut request = Vec::new();
            initial::encode_ssl_request(&mut request);
            conversation.client(&request);
        }
        Event::Cancel => {
            let mut request = Vec::new();
            let cancel = crate::wire::cancel::CancelRequest {
                process_id: 1,
                key: b"abcd",
            };
            initial::encode_cancel(&mut request, cancel);
            conversation.client(&request);
        }
        Event::ClientBytes(bytes) => conversation.client(bytes),
        Event::ClientCloses => conversation.gate.handle_client_closed(&mut conversation.world),
        Event::Connected => {
            if !conversation.connects.is_empty() {
                conversation.connected();
            }
        }
        Event::Unreachable => conversation
            .gate
            .handle_unreachable(&mut conversation.world, &"refused"),
        Event::ServerGreeting => conversation.server(&server_greeting()),
        Event::ServerBytes(bytes) => conversation.server(bytes),
        Event::Time(millis) => conversation.time(*millis),
        Event::SwapPolicy { keep } => {
            let mut next = model();
            if !keep {
                next.grants.clear();
            }
            conversation.world.in_force = in_force(&next, generation);
            conversation.gate.handle_policy_changed(&mut conversation.world);
        }
        Event::CancelDone => conversation
            .gate
            .handle_cancel_done(&conversation.world, Reason::Ok, None),
    }
    conversation.drain();
}

/// The promises of the gate, whatever has happened so far.
pub fn check(conversation: &Conversation) {
    let permitted = conversation
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome == Outcome::Permitted)
        .count();
    assert!(conversation.attempts.len() <= 1, "an attempt has one record");
    assert!(conversation.ends.len() <= permitted, "only sessions end");
    if permitted == 0 {
        // The record of a permit is written while the connection is made, so where it fails there may be one.
        assert!(
            conversation.connects.is_empty() || !conversation.recording,
            "no connection before the permit"
        );
        assert!(conversation.to_server.is_empty(), "no byte before the permit");
        assert!(conversation.passage.is_none(), "no relay before the permit");
    }
    if conversation.closed {
        assert_eq!(conversation.attempts.len(), 1, "whoever came is on record");
        assert_eq!(conversation.ends.len(), permitted, "a session that is over has its end");
    }
    if let Some(passage) = &conversation.passage {
        let generation = conversation.world.in_force.snapshot.generation();
        assert_eq!(passage.standing.generation, generation, "judged by the policy in force");
        assert!(
            is_let_in(&after_refusals(conversation)),
            "relay before AuthenticationOk"
        );
    }
    assert!(
        !conversation
            .to_server
            .windows(PASSWORD.len())
            .any(|window| window == PASSWORD)
    );
}

/// What a client has heard has AuthenticationOk in it once, and ReadyForQuery at its end.
fn is_let_in(said: &[u8]) -> bool {
    let (mut rest, mut oks, mut last) = (said, 0, 0);
    while let Some(([tag, length @ ..], behind)) = rest.split_first_chunk::<5>() {
        let (body, behind) = behind.split_at(u32::from_be_bytes(*length) as usize - 4);
        oks += usize::from((*tag, body) == (b'R', &[0; 4]));
        (last, rest) = (*tag, behind);
    }
    oks == 1 && last == b'Z' && rest.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_the_gate_keeps_its_promises(events in prop::collection::vec(event(), 1..14), piece in 1..60_usize) {
        let mut conversation = Conversation::new(World::new(&model()), piece, TlsMode::Off);
        for (step, event) in events.iter().enumerate() {
            if conversation.closed || conversation.passage.is_some() {
                break;
            }
            apply(&mut conversation, event, step as u64 + 2);
            check(&conversation);
        }
    }
}

/// The chaos above is worth something only if it reaches the deep states.
#[test]
fn the_deep_states_are_reachable_by_these_events() {
    let mut conversation = Conversation::new(World::new(&model()), 7, TlsMode::Off);
    let way = [
        Event::SslRequest,
        Event::Startup { user: 0, database: 0 },
        Event::Connected,
    ];
    for event in &way {
        apply(&mut conversation, event, 2);
    }
    // The answer to the SSLRequest stands in front of what SCRAM sends.
    conversation.to_client.remove(0);
    apply(&mut conversation, &Event::Prove { right: true }, 2);
    apply(&mut conversation, &Event::Connected, 2);
    apply(&mut conversation, &Event::SwapPolicy { keep: true }, 3);
    apply(&mut conversation, &Event::ServerGreeting, 3);
    check(&conversation);
    let passage = conversation
        .passage
        .expect("let through after a swap that keeps the grant");
    assert_eq!(
        passage.standing.generation,
        conversation.world.in_force().snapshot.generation()
    );
}
