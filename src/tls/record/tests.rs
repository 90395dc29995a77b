//! The record layer between two ends of our own. Against rustls: `peer_tests.rs`.

use crate::tls::fixtures::{Authority, handshake, read_all, require};
use crate::tls::{HEAD_ROOM, Link, TAIL_ROOM, UpstreamTls};

fn pair() -> (Link, Link) {
    let listener = Authority::new("ca").leaf(&["db.example"]).listener();
    let (server, client) = handshake(&listener, &UpstreamTls::new(&require(), None).unwrap());
    (*server.link, *client.link)
}

#[test]
fn what_one_end_seals_in_place_the_other_opens() {
    let (mut server, mut client) = pair();
    let mut buffer = [0; HEAD_ROOM + 5 + TAIL_ROOM];
    buffer[HEAD_ROOM..HEAD_ROOM + 5].copy_from_slice(b"hello");
    let record = server.seal_in_place(&mut buffer, HEAD_ROOM..HEAD_ROOM + 5).unwrap();
    assert_eq!(read_all(&mut client, buffer[record].to_vec()), b"hello");
    let mut out = Vec::new();
    client.seal(b"answer", &mut out).unwrap();
    assert_eq!(read_all(&mut server, out), b"answer");
}
