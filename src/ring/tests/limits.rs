//! What happens at the ends of things: no buffers, no slots, a full submission queue, a full completion queue.

use super::support::*;
use crate::ring::{Errno, Group, Outcome, PoolSize, Received, Ring, RingOptions, Segment, Slot};
use std::io::{Read, Write};

const NEAR: Slot = Slot(3);
const ARMED: u8 = 2;

/// Arms a receive again and again, and holds what comes, until the group is empty.
fn until_starved(ring: &mut Ring, bundle: bool, held: &mut Vec<Segment>) {
    ring.receive_multishot(NEAR, Group::Small, bundle, tag(ARMED, 3));
    wait_for(ring, |ring, completion| {
        let Outcome::Received(received) = completion.outcome else {
            return None;
        };
        match received {
            Received::Bytes { segments, .. } => held.extend(segments),
            Received::NoBuffers => {
                assert!(!completion.more);
                return Some(());
            }
            other => panic!("{other:?}"),
        }
        if !completion.more {
            ring.receive_multishot(NEAR, Group::Small, bundle, tag(ARMED, 3));
        }
        None
    });
}

#[test]
fn without_buffers_nothing_is_lost() {
    with_each_mask(|options| {
        for bundle in [false, true] {
            let small = PoolSize { payload: 64, count: 4 };
            let mut ring = ring(&RingOptions {
                small,
                ..options.clone()
            });
            let mut far = connected(&mut ring, NEAR);
            let sent: Vec<u8> = (0..2_000_u32).map(|byte| byte as u8).collect();
            far.write_all(&sent).expect("room in the socket");
            let mut got = Vec::new();
            let mut held = Vec::new();
            until_starved(&mut ring, bundle, &mut held);
            assert_eq!(ring.group_counters(Group::Small).outstanding, 4);
            assert_eq!(ring.group_counters(Group::Small).starvations, 1);
            held.drain(..)
                .for_each(|segment| got.extend_from_slice(segment.bytes()));
            ring.receive_multishot(NEAR, Group::Small, bundle, tag(ARMED, 3));
            let rest = receive_exactly(
                &mut ring,
                NEAR,
                Group::Small,
                bundle,
                tag(ARMED, 3),
                sent.len() - got.len(),
            );
            got.extend(rest);
            assert!(got == sent);
            assert_eq!(ring.group_counters(Group::Small).outstanding, 0);
        }
    });
}

#[test]
fn idle_connections_hold_no_buffer() {
    with_each_mask(|options| {
        let small = PoolSize { payload: 64, count: 2 };
        let mut ring = ring(&RingOptions { small, ..options });
        let slots: Vec<Slot> = (0..6).map(Slot).collect();
        // Half of them Unix sockets, which receive one at a time.
        let mut far_ends: Vec<Box<dyn Write>> = Vec::new();
        for slot in &slots {
            if slot.0 % 2 == 0 {
                far_ends.push(Box::new(connected(&mut ring, *slot)));
            } else {
                let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
                ring.install(*slot, near.into()).expect("a free slot");
                far_ends.push(Box::new(far));
            }
            ring.receive_multishot(*slot, Group::Small, false, tag(ARMED, slot.0));
        }
        ring.turn(Some(std::time::Duration::from_millis(20)))
            .expect("the ring turns");
        assert!(ring.poll_completion().is_none());
        assert_eq!(ring.live_operations(), 6);
        assert_eq!(ring.group_counters(Group::Small).peak, 0);
        // More of them wait than there are buffers, and still each gets one when it needs it.
        for (slot, far) in slots.iter().zip(&mut far_ends) {
            far.write_all(b"awake").expect("an open connection");
            let count = wait_for(&mut ring, |_, completion| {
                assert_eq!(completion.tag, tag(ARMED, slot.0));
                match completion.outcome {
                    Outcome::Received(Received::Bytes { segments, .. }) => Some(segments.remaining()),
                    other => panic!("{other:?}"),
                }
            });
            assert_eq!(count, 5);
        }
        assert_eq!(ring.group_counters(Group::Small).peak, 1);
    });
}

#[test]
fn a_full_table_says_so_and_a_closed_slot_is_free_again() {
    with_each_mask(|options| {
        let mut ring = ring(&RingOptions { slots: 2, ..options });
        let _first = connected(&mut ring, Slot(0));
        let _second = connected(&mut ring, Slot(1));
        let event = || crate::ring::EventFd::new().expect("a descriptor").into();
        assert_eq!(ring.install(Slot(1), event()), Err(Errno::BUSY));
        assert_eq!(ring.install(Slot(2), event()), Err(Errno::BAD_DESCRIPTOR));
        ring.close(Slot(1), tag(4, 1)).expect("in use");
        // The close waits in the queue: filling the slot now would let it hit the new owner.
        assert_eq!(ring.install(Slot(1), event()), Err(Errno::BUSY));
        assert_eq!(ring.close(Slot(1), tag(4, 1)), Err(Errno::BAD_DESCRIPTOR));
        wait_for(&mut ring, |_, completion| {
            matches!(completion.outcome, Outcome::Closed(Ok(()))).then_some(())
        });
        ring.install(Slot(1), event()).expect("free again");
        assert_eq!(ring.slots_used(), 2);
    });
}

#[test]
fn operations_on_an_empty_slot_fail_and_hold_nothing() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let mut segments = vec![ring.own_buffers().take().expect("a buffer")];
        assert_eq!(
            ring.send(NEAR, &mut segments, tag(3, 3)),
            0,
            "empty segments are not sent"
        );
        segments[0].append(b"into the void");
        ring.receive_multishot(NEAR, Group::Small, false, tag(ARMED, 3));
        assert_eq!(ring.send(NEAR, &mut segments, tag(3, 3)), 13);
        segments.clear();
        assert_eq!(
            ring.own_buffers().counters().outstanding,
            1,
            "the ring holds what it sends"
        );
        let mut failures = 0;
        wait_for(&mut ring, |_, completion| {
            match completion.outcome {
                Outcome::Sent(Err(Errno::BAD_DESCRIPTOR)) => failures += 1,
                Outcome::Received(Received::Failed(Errno::BAD_DESCRIPTOR)) => failures += 1,
                other => panic!("{other:?}"),
            }
            (failures == 2).then_some(())
        });
        assert_eq!(ring.live_operations(), 0);
        assert_eq!(ring.own_buffers().counters().outstanding, 0);
    });
}

#[test]
fn full_queues_lose_nothing() {
    with_each_mask(|options| {
        let mut ring = ring(&RingOptions {
            submissions: 4,
            completions: 8,
            ..options
        });
        let mut far = connected(&mut ring, NEAR);
        let count = 500_u32;
        for number in 0..count {
            let mut segment = loop {
                match ring.own_buffers().take() {
                    Ok(segment) => break segment,
                    // All buffers are under way: drain without looking at the results, they are counted below by the bytes.
                    Err(_) => wait_for(&mut ring, |_, completion| {
                        assert!(matches!(completion.outcome, Outcome::Sent(Ok(4))));
                        Some(())
                    }),
                }
            };
            segment.append(&number.to_be_bytes());
            assert_eq!(ring.send(NEAR, [&mut segment], tag(3, number)), 4);
        }
        while ring.live_operations() > 0 {
            ring.turn(Some(std::time::Duration::from_millis(100)))
                .expect("the ring turns");
            while ring.poll_completion().is_some() {}
        }
        let mut bytes = vec![0; count as usize * 4];
        far.read_exact(&mut bytes).expect("all of it");
        let expected: Vec<u8> = (0..count).flat_map(u32::to_be_bytes).collect();
        assert!(bytes == expected);
        let counters = ring.counters();
        assert!(counters.full_submissions > 0 && counters.overflows > 0, "{counters:?}");
        assert_eq!(ring.own_buffers().counters().outstanding, 0);
    });
}
