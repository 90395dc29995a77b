//! What the tests of the ring share: small rings, and turning until something has happened.

use crate::ring::{
    Completion, Features, Group, Listener, Local, Outcome, PoolSize, Received, Ring, RingOptions, Slot, Tag,
};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Small enough that limits are met, with every feature that the kernel has.
pub fn options() -> RingOptions {
    RingOptions {
        submissions: 16,
        completions: 64,
        slots: 64,
        small: PoolSize {
            payload: 256,
            count: 64,
        },
        bulk: PoolSize {
            payload: 1_024,
            count: 64,
        },
        own: PoolSize {
            payload: 1_024,
            count: 64,
        },
        features: Features::ALL,
    }
}

/// Every test runs with the feature mask open and closed.
pub fn with_each_mask(test: impl Fn(RingOptions)) {
    for features in [Features::ALL, Features::NONE] {
        test(RingOptions { features, ..options() });
    }
}

pub fn ring(options: &RingOptions) -> Ring {
    Ring::new(options).expect("io_uring is allowed here")
}

pub fn tag(operation: u8, index: u32) -> Tag {
    Tag::new(operation, 0, index, 0)
}

/// Turns the ring and hands completions over until one is taken.
pub fn wait_for<T>(ring: &mut Ring, mut take: impl FnMut(&mut Ring, Completion) -> Option<T>) -> T {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        ring.turn(Some(Duration::from_millis(100))).expect("the ring turns");
        while let Some(completion) = ring.poll_completion() {
            if let Some(taken) = take(ring, completion) {
                return taken;
            }
        }
    }
    panic!("nothing came; the ring's counters: {:?}", ring.counters());
}

/// A TCP connection whose near end is in `slot`, and its far end.
pub fn connected(ring: &mut Ring, slot: Slot) -> TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
    far.set_nodelay(true).expect("a TCP socket");
    let (near, _) = listener.accept().expect("a connection");
    ring.install(slot, near.into()).expect("a free slot");
    far
}

pub fn tcp_listener() -> (Listener, SocketAddr) {
    let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 64).expect("a free port");
    let Local::Tcp(address) = *listener.local() else {
        panic!("a TCP listener")
    };
    (listener, address)
}

/// Receives exactly `count` bytes on a slot whose receive is armed, arming again where that is needed.
pub fn receive_exactly(ring: &mut Ring, slot: Slot, group: Group, bundle: bool, armed: Tag, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        wait_for(ring, |ring, completion| {
            let Outcome::Received(received) = completion.outcome else {
                return None;
            };
            match received {
                Received::Bytes { segments, .. } => {
                    segments.for_each(|segment| bytes.extend_from_slice(segment.bytes()))
                }
                Received::NoBuffers => {}
                Received::End | Received::Failed(_) => panic!("the connection ended after {} bytes", bytes.len()),
            }
            if !completion.more {
                ring.receive_multishot(slot, group, bundle, armed);
            }
            Some(())
        });
    }
    bytes
}
