//! Cancelling a receive while bytes come in: each byte is delivered, or still in the socket.

use super::support::*;
use crate::ring::{Errno, Group, Outcome, Received, Ring, Slot, Tag};
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

const NEAR: Slot = Slot(3);

fn armed(generation: u16) -> Tag {
    Tag::new(2, 0, 3, generation)
}

/// Waits until the receive of this generation has ended and the cancel has been answered.
fn settle(ring: &mut Ring, generation: u16, got: &mut Vec<u8>) {
    let (mut ended, mut answered) = (false, false);
    wait_for(ring, |_, completion| {
        match completion.outcome {
            Outcome::Received(received) => {
                assert_eq!(completion.tag, armed(generation), "an older receive came back");
                ended |= !completion.more;
                match received {
                    Received::Bytes { segments, .. } => {
                        segments.for_each(|segment| got.extend_from_slice(segment.bytes()));
                    }
                    Received::NoBuffers | Received::Failed(Errno::CANCELLED) => {}
                    other => panic!("{other:?}"),
                }
            }
            Outcome::Cancelled(result) => {
                answered = true;
                let gone_or_going = matches!(result, Ok(_) | Err(Errno::NOT_FOUND | Errno::ALREADY));
                assert!(gone_or_going, "{result:?}");
                // It was over, or it never will be by itself: cancelled means that its last completion comes.
            }
            other => panic!("{other:?}"),
        }
        (ended && answered).then_some(())
    });
}

#[test]
fn no_byte_is_lost_when_receives_are_cancelled_under_load() {
    with_each_mask(|options| {
        for bundle in [false, true] {
            let mut ring = ring(&options);
            let mut far = connected(&mut ring, NEAR);
            let expected: Vec<u8> = (0..600_000_u32).map(|position| (position >> 3) as u8).collect();
            let written = expected.clone();
            let writer = thread::spawn(move || {
                for piece in written.chunks(1_777) {
                    far.write_all(piece).expect("an open connection");
                }
                far
            });
            let mut got = Vec::new();
            let mut generation = 0;
            while got.len() < expected.len() {
                generation += 1;
                let group = if generation % 3 == 0 { Group::Bulk } else { Group::Small };
                ring.receive_multishot(NEAR, group, bundle, armed(generation));
                if generation % 2 == 0 {
                    // Armed and cancelled within one submission.
                    ring.turn(Some(Duration::from_micros(200))).expect("the ring turns");
                }
                ring.cancel_receive(group, armed(generation), tag(7, 3));
                settle(&mut ring, generation, &mut got);
            }
            assert!(got == expected);
            drop(writer.join().expect("the writer"));
            for group in [Group::Small, Group::Bulk] {
                assert_eq!(ring.group_counters(group).outstanding, 0);
            }
            assert_eq!(ring.live_operations(), 0);
        }
    });
}

#[test]
fn cancelling_what_is_not_there_says_so() {
    let mut ring = ring(&options());
    ring.cancel_receive(Group::Small, armed(1), tag(7, 3));
    ring.cancel_accept(armed(1), tag(7, 3));
    for _ in 0..2 {
        let answer = wait_for(&mut ring, |_, completion| match completion.outcome {
            Outcome::Cancelled(answer) => Some(answer),
            _ => None,
        });
        assert_eq!(answer, Err(Errno::NOT_FOUND));
    }
}

#[test]
fn completions_of_a_closed_session_are_known_by_their_generation() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let mut first = connected(&mut ring, NEAR);
        ring.receive_multishot(NEAR, Group::Small, false, armed(1));
        ring.turn(Some(Duration::ZERO)).expect("the ring turns");
        first.write_all(b"old").expect("an open connection");
        ring.cancel_slot(NEAR, tag(7, 3));
        ring.close(NEAR, Tag::new(4, 0, 3, 1)).expect("in use");
        let mut seen = Vec::new();
        wait_for(&mut ring, |_, completion| {
            seen.push((completion.tag.generation(), completion.tag.operation()));
            matches!(completion.outcome, Outcome::Closed(_)).then_some(())
        });
        // The slot's next session: what the old one still had to say carries the old generation.
        let mut second = connected(&mut ring, NEAR);
        ring.receive_multishot(NEAR, Group::Small, false, armed(2));
        second.write_all(b"new").expect("an open connection");
        let mut bytes = Vec::new();
        wait_for(&mut ring, |_, completion| {
            let Outcome::Received(received) = completion.outcome else {
                return None;
            };
            match (completion.tag.generation(), received) {
                (2, Received::Bytes { segments, .. }) => {
                    segments.for_each(|segment| bytes.extend_from_slice(segment.bytes()));
                }
                (1, _) => {}
                other => panic!("{other:?}"),
            }
            (bytes.len() == 3).then_some(())
        });
        assert_eq!(bytes, b"new");
        assert_eq!(
            first.read(&mut [0; 8]).unwrap_or(0),
            0,
            "the first connection is closed"
        );
    });
}
