//! The end of a stream that comes close behind its last bytes is seen, however the wake-ups fall together.

use super::support::*;
use crate::ring::{Group, Outcome, Received, Ring, Slot};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const NEAR: Slot = Slot(3);
const ARMED: u8 = 2;

/// With a receive waiting on the slot, lets the far end speak and leave between two turns; the bytes and then the end
/// must come.
fn sees_bytes_and_end(ring: &mut Ring, speak_and_leave: impl FnOnce()) {
    let armed = tag(ARMED, 3);
    ring.receive_multishot(NEAR, Group::Small, false, armed);
    ring.turn(Some(Duration::from_millis(10))).expect("the ring turns");
    assert!(ring.poll_completion().is_none());
    speak_and_leave();
    std::thread::sleep(Duration::from_millis(20));
    let mut count = 0;
    wait_for(ring, |ring, completion| {
        let Outcome::Received(received) = completion.outcome else {
            return None;
        };
        match received {
            Received::Bytes { segments, .. } => count += segments.remaining(),
            Received::End | Received::Failed(_) => return Some(()),
            Received::NoBuffers => panic!("there are buffers"),
        }
        if !completion.more {
            ring.receive_multishot(NEAR, Group::Small, false, armed);
        }
        None
    });
    assert_eq!(count, 4);
}

#[test]
fn tcp_end() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let mut far = connected(&mut ring, NEAR);
        sees_bytes_and_end(&mut ring, || {
            far.write_all(b"last").expect("room");
            drop(far);
        });
    });
}

#[test]
fn tcp_reset() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let mut far = connected(&mut ring, NEAR);
        sees_bytes_and_end(&mut ring, || {
            far.write_all(b"last").expect("room");
            socket2::SockRef::from(&far)
                .set_linger(Some(Duration::ZERO))
                .expect("a TCP socket");
            drop(far);
        });
    });
}

#[test]
fn unix_end() {
    with_each_mask(|options| {
        for whole in [false, true] {
            let mut ring = ring(&options);
            let (near, mut far) = UnixStream::pair().expect("a pair");
            ring.install(NEAR, near.into()).expect("a free slot");
            let mut kept = None;
            sees_bytes_and_end(&mut ring, || {
                far.write_all(b"last").expect("room");
                if whole {
                    drop(far);
                } else {
                    far.shutdown(std::net::Shutdown::Write).expect("open");
                    kept = Some(far);
                }
            });
        }
    });
}
