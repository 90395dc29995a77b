//! The fuzz bodies over arbitrary bytes, over well-formed messages, and over well-formed ones with a few bytes changed.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::tag::{BACKEND_IN_RELAY, FRONTEND_IN_RELAY};
use crate::wire::{cancel, initial, write};

/// Runs every body.
fn run_all(data: &[u8]) {
    for body in [
        fuzz_initial,
        fuzz_parameters,
        fuzz_follower,
        fuzz_assembler,
        fuzz_proxy_protocol,
    ] {
        let _reached = body(data);
    }
    let _kinds = fuzz_bodies(data);
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![
            Just(b'a'),
            Just(b' '),
            Just(b'='),
            Just(b'\\'),
            Just(b'-'),
            Just(b'c'),
            1..=255_u8
        ],
        0..24,
    )
}

fn pairs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let key = prop_oneof![
        Just(b"user".to_vec()),
        Just(b"database".to_vec()),
        Just(b"options".to_vec()),
        Just(b"replication".to_vec()),
        Just(b"Role".to_vec()),
        Just(b"_pq_.x".to_vec()),
        vec(1..=255_u8, 1..12),
    ];
    let value = prop_oneof![
        text(),
        Just(b"-c a.b=1 --Role=x".to_vec()),
        Just(b"-cwork-mem=1".to_vec())
    ];
    vec((key, value), 0..6)
}

fn startup() -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), pairs()).prop_map(|(minor, pairs)| {
        let mut out = Vec::new();
        let version = initial::ProtocolVersion(3 << 16 | u32::from(minor));
        encode_startup(
            &mut out,
            version,
            pairs.iter().map(|(name, value)| (&name[..], &value[..])),
        );
        out
    })
}

fn relayed(tags: &'static [(u8, &'static str)]) -> impl Strategy<Value = Vec<u8>> {
    vec((0..tags.len(), vec(any::<u8>(), 0..40)), 0..12).prop_map(|messages| {
        let mut out = Vec::new();
        for (place, body) in messages {
            let tag = tags[place].0;
            let body = if tag == b'Z' { b"I".to_vec() } else { body };
            write::message(&mut out, tag, |out| out.extend_from_slice(&body));
        }
        out
    })
}

/// Well-formed bytes of one kind or another.
fn well_formed() -> impl Strategy<Value = Vec<u8>> {
    let cancel = (any::<u32>(), vec(any::<u8>(), 4..40)).prop_map(|(process_id, key)| {
        let mut out = Vec::new();
        encode_cancel(&mut out, cancel::CancelRequest { process_id, key: &key });
        out
    });
    let proxy = any::<([u8; 4], u16)>().prop_map(|(address, port)| {
        let mut out = Vec::new();
        let peer = core::net::SocketAddr::from((address, port));
        proxy_protocol::encode_tcp(&mut out, peer, peer);
        out
    });
    prop_oneof![
        startup(),
        cancel,
        proxy,
        relayed(&FRONTEND_IN_RELAY),
        relayed(&BACKEND_IN_RELAY)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(data in vec(any::<u8>(), 0..300)) {
        run_all(&data);
    }

    #[test]
    fn well_formed_bytes_with_some_changed(
        mut data in well_formed(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        size in any::<u8>(),
    ) {
        for (place, byte) in changes {
            if !data.is_empty() {
                let place = place.index(data.len());
                data[place] = byte;
            }
        }
        run_all(&data);
        data.insert(0, size);
        run_all(&data);
        run_all(data.get(9..).unwrap_or_default());
    }

    #[test]
    fn a_startup_message_that_was_encoded_decodes_to_the_same_pairs(packet in startup()) {
        prop_assert!(fuzz_initial(&packet));
    }

    #[test]
    fn legal_streams_are_followed_to_their_end(size in any::<u8>(), stream in relayed(&BACKEND_IN_RELAY)) {
        let (_, error, at_boundary) = follow(stream.chunks(usize::from(size) + 1), &TagSet::BACKEND_IN_RELAY);
        prop_assert_eq!((error, at_boundary), (None, true));
    }
}

#[test]
fn every_body_reaches_its_deep_end() {
    let mut packet = Vec::new();
    let pairs: [(&[u8], &[u8]); 2] = [(b"user", b"a"), (b"options", b"-c a=1")];
    encode_startup(&mut packet, initial::ProtocolVersion::V3_0, pairs);
    assert!(fuzz_initial(&packet));
    assert!(fuzz_parameters(&packet[8..]));
    assert!(fuzz_follower(b"\x03S\0\0\0\x04S\0\0\0\x04"));
    assert!(fuzz_assembler(b"\x03S\0\0\0\x04"));
    assert_eq!(fuzz_bodies(b"secret\0"), ["password"]);
    let mut header = Vec::new();
    proxy_protocol::encode_tcp(&mut header, ([192, 0, 2, 1], 5).into(), ([192, 0, 2, 2], 6).into());
    assert!(fuzz_proxy_protocol(&header));
}
