//! Accept, receive, send from the received buffer, close: over TCP and Unix sockets.

use super::support::*;
use crate::ring::{Group, Half, Listener, Outcome, Received, Ring, RingOptions, Segment, Slot, Tag};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;

const LISTENER: Slot = Slot(0);
const SESSION: Slot = Slot(1);
const ACCEPT: u8 = 1;
const RECEIVE: u8 = 2;
const SEND: u8 = 3;
const CLOSE: u8 = 4;

/// Echoes one connection to its end, sending from the buffers that were received into.
fn echo_one(ring: &mut Ring, bundle: bool) {
    let armed = tag(RECEIVE, 1);
    let mut queue: Vec<Segment> = Vec::new();
    let mut sending = false;
    let mut ended = false;
    ring.accept_multishot(LISTENER, tag(ACCEPT, 0));
    wait_for(ring, |ring, completion| {
        match completion.outcome {
            Outcome::Accepted(accepted) => {
                ring.install(SESSION, accepted.expect("a connection"))
                    .expect("a free slot");
                ring.receive_multishot(SESSION, Group::Small, bundle, armed);
            }
            Outcome::Received(received) => {
                assert_eq!(completion.tag, armed);
                match received {
                    Received::Bytes { segments, .. } => queue.extend(segments),
                    Received::End => ended = true,
                    Received::NoBuffers => {}
                    Received::Failed(errno) => panic!("{errno}"),
                }
                if !completion.more && !ended {
                    ring.receive_multishot(SESSION, Group::Small, bundle, armed);
                }
            }
            Outcome::Sent(sent) => {
                cut(&mut queue, sent.expect("an open connection") as usize);
                sending = false;
            }
            Outcome::Closed(closed) => {
                closed.expect("an open slot");
                return Some(());
            }
            other => panic!("{other:?}"),
        }
        if !sending && !queue.is_empty() {
            sending = ring.send(SESSION, &mut queue, tag(SEND, 1)) > 0;
        }
        if ended && !sending {
            ring.close(SESSION, tag(CLOSE, 1)).expect("in use");
            ended = false;
        }
        None
    });
    ring.cancel_accept(tag(ACCEPT, 0), tag(9, 0));
    wait_for(ring, |_, completion| {
        matches!(completion.outcome, Outcome::Accepted(Err(_))).then_some(())
    });
}

fn cut(queue: &mut Vec<Segment>, mut count: usize) {
    queue.retain_mut(|segment| {
        let taken = count.min(segment.len());
        segment.consume(taken);
        count -= taken;
        !segment.is_empty()
    });
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|position| ((position * 31) >> 3) as u8).collect()
}

/// Writes and reads at once, as a client with more than a socket buffer's worth must.
fn talk(mut writer: impl Write + Send + 'static, mut reader: impl Read, shut: impl FnOnce() + Send + 'static) {
    let sent = pattern(300_000);
    let expected = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("an open connection");
        shut();
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).expect("an echo");
    writing.join().expect("the writer ends");
    assert!(back == expected, "{} bytes came back, or not the same", back.len());
}

fn nothing_is_held(ring: &mut Ring) {
    for group in [Group::Small, Group::Bulk] {
        assert_eq!(ring.group_counters(group).outstanding, 0);
    }
    assert_eq!(ring.own_buffers().counters().outstanding, 0);
    assert_eq!(ring.counters().unknown, 0);
}

#[test]
fn tcp_bytes_come_back() {
    with_each_mask(|options: RingOptions| {
        for bundle in [false, true] {
            let mut ring = ring(&options);
            let (listener, address) = tcp_listener();
            ring.install_shared(LISTENER, std::os::fd::AsFd::as_fd(&listener))
                .expect("a free slot");
            let client = thread::spawn(move || {
                let stream = TcpStream::connect(address).expect("a listener");
                let ends = [
                    stream.try_clone().expect("a clone"),
                    stream.try_clone().expect("a clone"),
                ];
                let [writer, reader] = ends;
                talk(writer, reader, move || {
                    stream.shutdown(std::net::Shutdown::Write).expect("open")
                });
            });
            echo_one(&mut ring, bundle);
            client.join().expect("the client is content");
            nothing_is_held(&mut ring);
        }
    });
}

#[test]
fn unix_bytes_come_back() {
    with_each_mask(|options| {
        let path = std::env::temp_dir().join(format!("postern-echo-{}", std::process::id()));
        let listener = Listener::unix(&path, 0o600, 8).expect("a free path");
        let mut ring = ring(&options);
        ring.install_shared(LISTENER, std::os::fd::AsFd::as_fd(&listener))
            .expect("a free slot");
        // Many times: a multishot receive misses the end of one such stream in ten.
        for _ in 0..20 {
            let stream = UnixStream::connect(&path).expect("a listener");
            let client = thread::spawn(move || {
                let ends = [
                    stream.try_clone().expect("a clone"),
                    stream.try_clone().expect("a clone"),
                ];
                let [writer, reader] = ends;
                talk(writer, reader, move || {
                    stream.shutdown(std::net::Shutdown::Write).expect("open")
                });
            });
            echo_one(&mut ring, false);
            client.join().expect("the client is content");
            nothing_is_held(&mut ring);
        }
        std::fs::remove_file(&path).expect("the socket file");
    });
}

#[test]
fn a_connection_is_made_ended_and_closed() {
    with_each_mask(|options| {
        let mut ring = ring(&options);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = crate::ring::socket::Address::from(listener.local_addr().expect("bound"));
        let socket = crate::ring::socket::connecting(&address).expect("a socket");
        ring.install(SESSION, socket).expect("a free slot");
        ring.connect(SESSION, address, tag(5, 1));
        let connected = wait_for(&mut ring, |_, completion| match completion.outcome {
            Outcome::Connected(connected) => Some(connected),
            _ => None,
        });
        connected.expect("a listener is there");
        ring.shut_down(SESSION, Half::Write, tag(6, 1));
        wait_for(&mut ring, |_, completion| {
            matches!(completion.outcome, Outcome::ShutDown(Ok(()))).then_some(())
        });
        let (mut far, _) = listener.accept().expect("the connection");
        assert_eq!(far.read(&mut [0; 8]).expect("an end"), 0);
        ring.close(SESSION, Tag::new(CLOSE, 0, 1, 0)).expect("in use");
        wait_for(&mut ring, |_, completion| {
            matches!(completion.outcome, Outcome::Closed(Ok(()))).then_some(())
        });
        assert_eq!(ring.slots_used(), 0);
    });
}
