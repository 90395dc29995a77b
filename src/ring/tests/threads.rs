//! What goes between threads: descriptors from ring to ring, and signals to a ring.

use super::support::*;
use crate::ring::{Errno, EventFd, Group, Outcome, Received, Ring, Segment, Slot, Tag, socket};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const LISTENER: Slot = Slot(0);
const NEAR: Slot = Slot(3);

#[test]
fn an_accepted_connection_is_served_by_another_threads_ring() {
    with_each_mask(|options| {
        let (tell, told) = mpsc::channel();
        let other = options.clone();
        let server = thread::spawn(move || {
            let mut ring = ring(&other);
            tell.send(ring.handle()).expect("the test waits");
            serve_one_arrival(&mut ring)
        });
        let target = told.recv().expect("the other ring");
        let mut ring = ring(&options);
        let (listener, address) = tcp_listener();
        ring.install_shared(LISTENER, std::os::fd::AsFd::as_fd(&listener))
            .expect("a free slot");
        ring.accept_multishot(LISTENER, tag(1, 0));
        let mut client = TcpStream::connect(address).expect("a listener");
        wait_for(&mut ring, |ring, completion| {
            match completion.outcome {
                Outcome::Accepted(accepted) => {
                    ring.hand_over(
                        &target,
                        accepted.expect("a connection"),
                        Tag::new(9, 1, 77, 5),
                        tag(8, 0),
                    );
                }
                Outcome::HandedOver(handed) => {
                    assert_eq!(completion.tag, tag(8, 0));
                    handed.expect("the target lives");
                    return Some(());
                }
                other => panic!("{other:?}"),
            }
            None
        });
        client.write_all(b"hello").expect("an open connection");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("an echo");
        assert_eq!(&answer, b"hello");
        let (arrived, peer) = server.join().expect("the server");
        assert_eq!(arrived, Tag::new(9, 1, 77, 5));
        assert_eq!(peer, socket::Peer::Tcp(client.local_addr().expect("connected")));
    });
}

fn serve_one_arrival(ring: &mut Ring) -> (Tag, socket::Peer) {
    let mut arrived = None;
    let mut queue: Vec<Segment> = Vec::new();
    wait_for(ring, |ring, completion| {
        match completion.outcome {
            Outcome::Arrived(fd) => {
                arrived = Some((completion.tag, socket::peer(&fd).expect("a connection")));
                ring.install(NEAR, fd).expect("a free slot");
                ring.receive_multishot(NEAR, Group::Small, false, tag(2, 3));
            }
            Outcome::Received(Received::Bytes { segments, .. }) => {
                queue.extend(segments);
                ring.send(NEAR, &mut queue, tag(3, 3));
            }
            Outcome::Sent(sent) => return sent.ok(),
            other => panic!("{other:?}"),
        }
        None
    });
    arrived.expect("a descriptor came before its bytes")
}

#[test]
fn a_descriptor_comes_back_from_a_ring_that_has_ended() {
    let handle = thread::spawn(|| ring(&options()).handle())
        .join()
        .expect("a ring that is dropped");
    let mut ring = ring(&options());
    let event: OwnedFd = EventFd::new().expect("a descriptor").into();
    ring.hand_over(&handle, event, tag(9, 0), tag(8, 0));
    let handed = wait_for(&mut ring, |_, completion| match completion.outcome {
        Outcome::HandedOver(handed) => Some(handed),
        _ => None,
    });
    assert_eq!(handed.map_err(|(errno, _)| errno), Err(Errno::BAD_DESCRIPTOR));
}

#[test]
fn descriptors_on_their_way_to_an_ending_ring_are_closed_or_come_back() {
    for _ in 0..50 {
        let (tell, told) = mpsc::channel();
        let other = thread::spawn(move || {
            let ring = ring(&options());
            tell.send(ring.handle()).expect("the test waits");
        });
        let target = told.recv().expect("the other ring");
        let mut ring = ring(&options());
        let pairs = (0..20).map(|_| UnixStream::pair().expect("a pair"));
        let far_ends: Vec<UnixStream> = pairs
            .map(|(near, far)| {
                ring.hand_over(&target, near.into(), tag(9, 0), tag(8, 0));
                ring.turn(Some(Duration::ZERO)).expect("the ring turns");
                while ring.poll_completion().is_some() {}
                far
            })
            .collect();
        other.join().expect("the other ring ends");
        drop(ring);
        for mut far in far_ends {
            far.set_read_timeout(Some(PATIENCE)).expect("a socket");
            assert_eq!(far.read(&mut [0; 1]).expect("the near end is closed"), 0);
        }
    }
}

#[test]
fn a_signal_wakes_a_sleeping_ring() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let event = Arc::new(EventFd::new().expect("a descriptor"));
        // One from before it is watched counts too.
        event.signal();
        ring.watch(&event, tag(9, 0));
        let mut woken = 0;
        let mut seen = |ring: &mut Ring| {
            wait_for(ring, |ring, completion| {
                assert!(matches!(completion.outcome, Outcome::Woken(Ok(()))));
                if !completion.more {
                    ring.watch(&event, tag(9, 0));
                }
                woken += 1;
                Some(())
            });
        };
        seen(&mut ring);
        for _ in 0..100 {
            let event = Arc::clone(&event);
            let signaller = thread::spawn(move || {
                thread::sleep(Duration::from_micros(300));
                event.signal();
                event.signal();
            });
            seen(&mut ring);
            signaller.join().expect("the signaller");
            // The second signal may come on its own.
            ring.turn(Some(Duration::from_millis(1))).expect("the ring turns");
            while ring.poll_completion().is_some() {}
        }
        assert_eq!(woken, 101);
    });
}

#[test]
fn a_dropped_ring_ends_what_is_under_way() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let own = ring.own_buffers().clone();
        let mut far = connected(&mut ring, NEAR);
        let (listener, address) = tcp_listener();
        ring.install_shared(LISTENER, std::os::fd::AsFd::as_fd(&listener))
            .expect("a free slot");
        ring.accept_multishot(LISTENER, tag(1, 0));
        ring.receive_multishot(NEAR, Group::Small, false, tag(2, 3));
        ring.watch(&Arc::new(EventFd::new().expect("a descriptor")), tag(9, 0));
        let mut last = own.take().expect("a buffer");
        last.append(b"last");
        ring.send(NEAR, [&mut last], tag(3, 3));
        far.write_all(b"unread").expect("an open connection");
        drop(last);
        drop(ring);
        assert_eq!(own.counters().outstanding, 0, "nothing is left with the kernel");
        let mut got = Vec::new();
        let _reset_or_end = far.read_to_end(&mut got);
        assert!(got.is_empty() || got == b"last");
        drop(listener);
        assert!(TcpStream::connect(address).is_err(), "the listener's slot is closed");
    });
}

#[test]
fn segments_may_outlive_their_ring() {
    let mut ring = ring(&options());
    let mut far = connected(&mut ring, NEAR);
    far.write_all(b"kept").expect("an open connection");
    ring.receive_multishot(NEAR, Group::Small, false, tag(2, 3));
    let kept = wait_for(&mut ring, |_, completion| match completion.outcome {
        Outcome::Received(Received::Bytes { mut segments, .. }) => segments.next(),
        _ => None,
    });
    drop(ring);
    assert_eq!(kept.bytes(), b"kept");
}
