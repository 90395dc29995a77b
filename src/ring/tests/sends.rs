//! Sends: many segments at once, more than a socket takes, to a peer that reads slowly or not at all.

use super::support::*;
use crate::ring::{Errno, MOST_SEGMENTS, Outcome, OwnBuffers, Ring, Segment, Slot};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const NEAR: Slot = Slot(3);

fn holding(own: &OwnBuffers, bytes: &[u8]) -> Segment {
    let mut segment = own.take().expect("a buffer");
    assert_eq!(segment.append(bytes), bytes.len());
    segment
}

fn sent(ring: &mut Ring) -> Result<usize, Errno> {
    wait_for(ring, |_, completion| match completion.outcome {
        Outcome::Sent(sent) => Some(sent.map(|count| count as usize)),
        _ => None,
    })
}

/// Reads everything up to `count` bytes, in small sips with pauses.
fn sip(mut far: TcpStream, count: usize) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = vec![0; count];
        for (turn, sip) in bytes.chunks_mut(100_000).enumerate() {
            if turn % 10 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
            far.read_exact(sip).expect("an open connection");
        }
        bytes
    })
}

#[test]
fn forty_segments_arrive_in_order_with_one_send() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let mut far = connected(&mut ring, NEAR);
        let own = ring.own_buffers().clone();
        let mut queue: Vec<Segment> = (0..40_u8)
            .map(|number| holding(&own, &vec![number; usize::from(number) * 7]))
            .collect();
        let expected: Vec<u8> = queue.iter().flat_map(|segment| segment.bytes().to_vec()).collect();
        assert_eq!(ring.send(NEAR, &mut queue, tag(3, 3)), expected.len());
        assert_eq!(ring.live_operations(), 1);
        // The session dies with its queue; the bytes live until they are sent.
        drop(queue);
        assert_eq!(own.counters().outstanding, 39, "the empty segment was not taken");
        assert_eq!(sent(&mut ring), Ok(expected.len()));
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).expect("all of it");
        assert!(got == expected);
        assert_eq!(own.counters().outstanding, 0);
    });
}

#[test]
fn one_send_takes_so_many_segments_and_the_rest_waits() {
    let mut ring = ring(&options());
    let _far = connected(&mut ring, NEAR);
    let own = ring.own_buffers().clone();
    let mut whole = holding(&own, &[9; 1_000]);
    let mut queue: Vec<Segment> = (0..MOST_SEGMENTS + 5).map(|_| whole.split_to(2)).collect();
    assert_eq!(ring.send(NEAR, &mut queue, tag(3, 3)), MOST_SEGMENTS * 2);
    assert!(!queue[MOST_SEGMENTS - 1].is_exclusive());
    assert!(
        queue[MOST_SEGMENTS].is_exclusive(),
        "what is not sent can still be changed"
    );
    assert_eq!(sent(&mut ring), Ok(MOST_SEGMENTS * 2));
}

#[test]
fn ten_megabytes_reach_a_slow_reader() {
    with_each_mask(|options| {
        const TOTAL: usize = 10 << 20;
        let mut ring = ring(&options);
        let reader = sip(connected(&mut ring, NEAR), TOTAL);
        let own = ring.own_buffers().clone();
        let mut queue: VecDeque<Segment> = VecDeque::new();
        let (mut made, mut done) = (0, 0);
        while done < TOTAL {
            while made < TOTAL && queue.len() < 50 {
                let piece: Vec<u8> = (made..TOTAL.min(made + own.payload())).map(byte_at).collect();
                made += piece.len();
                own.copy_to(&piece, &mut queue).expect("fewer than the pool has");
            }
            let under_way = ring.send(NEAR, &mut queue, tag(3, 3));
            let mut count = sent(&mut ring).expect("an open connection");
            assert_eq!(count, under_way, "the kernel waits for all of it");
            done += count;
            while let Some(front) = queue.front_mut().filter(|front| front.len() <= count) {
                count -= front.len();
                queue.pop_front();
            }
        }
        assert!(reader.join().expect("the reader") == (0..TOTAL).map(byte_at).collect::<Vec<u8>>());
        assert_eq!(own.counters().outstanding, 0);
    });
}

fn byte_at(position: usize) -> u8 {
    (position ^ (position >> 9)) as u8
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let far = connected(&mut ring, NEAR);
        drop(far);
        let own = ring.own_buffers().clone();
        let failed = loop {
            let mut segment = holding(&own, b"anybody there?");
            assert_eq!(ring.send(NEAR, [&mut segment], tag(3, 3)), 14);
            if let Err(errno) = sent(&mut ring) {
                break errno;
            }
        };
        assert!(
            matches!(failed, Errno::BROKEN_PIPE | Errno::CONNECTION_RESET),
            "{failed}"
        );
        assert_eq!(own.counters().outstanding, 0);
    });
}

#[test]
fn a_stuck_send_is_cancelled_and_lets_go() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let mut far = connected(&mut ring, NEAR);
        let own = ring.own_buffers().clone();
        let mut queue: Vec<Segment> = (0..60).map(|_| holding(&own, &[5; 1_024])).collect();
        // Until the far end, which reads nothing, and the socket's own buffer are full.
        let mut taken = 0;
        loop {
            ring.send(NEAR, &mut queue, tag(3, 3));
            ring.turn(Some(Duration::from_millis(50))).expect("the ring turns");
            match ring.poll_completion().map(|completion| completion.outcome) {
                Some(Outcome::Sent(sent)) => taken += sent.expect("an open connection") as usize,
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
        drop(queue);
        assert_eq!(own.counters().outstanding, 60, "the kernel still reads them");
        ring.cancel_slot(NEAR, tag(7, 3));
        let (mut cancelled, mut sent) = (None, None);
        wait_for(&mut ring, |_, completion| {
            match completion.outcome {
                Outcome::Cancelled(count) => cancelled = Some(count),
                Outcome::Sent(result) => sent = Some(result),
                other => panic!("{other:?}"),
            }
            (cancelled.is_some() && sent.is_some()).then_some(())
        });
        assert_eq!(cancelled, Some(Ok(1)));
        assert_eq!(own.counters().outstanding, 0);
        // It may have got some of it out, and says how much: what the far end reads is exactly what was told.
        match sent.expect("told above") {
            Ok(part) => taken += part as usize,
            Err(errno) => assert_eq!(errno, Errno::CANCELLED),
        }
        ring.close(NEAR, tag(4, 3)).expect("in use");
        wait_for(&mut ring, |_, completion| {
            matches!(completion.outcome, Outcome::Closed(Ok(()))).then_some(())
        });
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).expect("an orderly end");
        assert_eq!(rest.len(), taken);
        far.write_all(b"x").unwrap_or_default();
    });
}
