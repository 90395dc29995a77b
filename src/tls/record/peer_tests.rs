//! The record layer against plain rustls, in both roles, with every suite.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, cipher_suite};

use crate::tls::fixtures::{Authority, Leaf, Receiver, require};
use crate::tls::peer::{Peer, accept, client_config, connect_to, server_config};
use crate::tls::{HEAD_ROOM, Link, MAX_PLAINTEXT_TO_CLIENT, TAIL_ROOM, TlsError, Version};

const AES_1_3: SupportedCipherSuite = cipher_suite::TLS13_AES_128_GCM_SHA256;
const AES_1_2: SupportedCipherSuite = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

const SIZES: [usize; 16] = [
    0, 1, 2, 15, 16, 17, 255, 256, 8_191, 8_192, 8_193, 16_383, 16_384, 16_385, 32_768, 40_960,
];

fn leaf_for(authority: &Authority, suite: SupportedCipherSuite) -> Leaf {
    match format!("{suite:?}").contains("RSA_WITH") {
        true => authority.leaf_with(&["db.example"], &rcgen::PKCS_RSA_SHA256, |_| {}),
        false => authority.leaf(&["db.example"]),
    }
}

/// Both roles: our end's link and the rustls end.
fn both_roles(suite: SupportedCipherSuite) -> [(Link, Peer); 2] {
    let leaf = leaf_for(&Authority::new("ca"), suite);
    let mut client = Peer::client(client_config(suite, None));
    let server_link = accept(&leaf.listener(), &mut client).unwrap().link;
    let mut server = Peer::server(server_config(suite, &leaf, None));
    let client_link = connect_to(&require(), &mut server).unwrap().link;
    [(*server_link, client), (*client_link, server)]
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 + i / 256) as u8).collect()
}

/// Seals as the core does: in place, in a buffer with room, in as many records as it takes.
fn seal_in_place(link: &mut Link, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in plaintext.chunks(link.max_plaintext()) {
        link.flush_owed(&mut out).unwrap();
        let mut buffer = vec![0xaa; HEAD_ROOM + piece.len() + TAIL_ROOM];
        buffer[HEAD_ROOM..HEAD_ROOM + piece.len()].copy_from_slice(piece);
        let record = link
            .seal_in_place(&mut buffer, HEAD_ROOM..HEAD_ROOM + piece.len())
            .unwrap();
        out.extend_from_slice(&buffer[record]);
    }
    out
}

#[test]
fn every_suite_and_size_passes_both_ways_in_both_roles() {
    for suite in ALL_CIPHER_SUITES {
        for (mut link, mut peer) in both_roles(*suite) {
            let mut receiver = Receiver::new();
            for size in SIZES {
                let data = pattern(size);
                let sealed = seal_in_place(&mut link, &data);
                assert_eq!(peer.input(&sealed).unwrap(), data, "{suite:?} {size}");
                let mut appended = Vec::new();
                link.seal(&data, &mut appended).unwrap();
                assert_eq!(peer.input(&appended).unwrap(), data, "{suite:?} {size}");
                let sealed = peer.seal(&data);
                assert_eq!(receiver.receive(&mut link, &sealed).unwrap(), data, "{suite:?} {size}");
            }
            assert_eq!(receiver.copied, 0, "whole records are opened where they lie");
        }
    }
}

#[test]
fn a_stream_cut_at_each_byte_gives_the_same_plaintext() {
    for suite in [AES_1_3, AES_1_2] {
        for cut in 0.. {
            let [(mut link, mut peer), _] = both_roles(suite);
            let stream = [peer.seal(b"first"), peer.seal(b"second"), peer.seal(&[7; 40])].concat();
            if cut > stream.len() {
                break;
            }
            let mut receiver = Receiver::new();
            let mut plaintext = receiver.receive(&mut link, &stream[..cut]).unwrap();
            plaintext.extend(receiver.receive(&mut link, &stream[cut..]).unwrap());
            assert_eq!(plaintext, [&b"firstsecond"[..], &[7; 40]].concat(), "cut at {cut}");
        }
    }
}

#[test]
fn a_stream_in_single_bytes_and_odd_pieces_gives_the_same_plaintext() {
    for suite in ALL_CIPHER_SUITES {
        for (mut link, mut peer) in both_roles(*suite) {
            for piece in [1, 7, 4_096, 16_645] {
                let data = pattern(40_960);
                let mut receiver = Receiver::new();
                let mut plaintext = Vec::new();
                for bytes in peer.seal(&data).chunks(piece) {
                    plaintext.extend(receiver.receive(&mut link, bytes).unwrap());
                }
                assert!(plaintext == data, "{suite:?} in pieces of {piece}");
            }
        }
    }
}

#[test]
fn records_to_clients_stay_under_8_kib_and_to_servers_under_16() {
    let [(mut to_client, _), (mut to_server, _)] = both_roles(AES_1_3);
    let mut out = Vec::new();
    to_client.seal(&pattern(MAX_PLAINTEXT_TO_CLIENT + 1), &mut out).unwrap();
    assert_eq!(u16::from_be_bytes([out[3], out[4]]), 8_192 + 17);
    let mut buffer = vec![0; HEAD_ROOM + 8_193 + TAIL_ROOM];
    assert_eq!(
        to_client
            .seal_in_place(&mut buffer, HEAD_ROOM..HEAD_ROOM + 8_193)
            .unwrap_err()
            .as_str(),
        "tls_misuse"
    );
    assert!(
        to_server
            .seal_in_place(&mut buffer, HEAD_ROOM..HEAD_ROOM + 8_193)
            .is_ok()
    );
}

#[test]
fn key_updates_from_the_peer_pass_under_full_duplex() {
    for (mut link, mut peer) in both_roles(AES_1_3) {
        let mut receiver = Receiver::new();
        for round in 0..100 {
            let ours = pattern(round * 37 + 1);
            let theirs = pattern(round * 53 + 1);
            // Both are on the way at once: the peer changes its key, and asks for ours, before it sees our record.
            let to_peer = seal_in_place(&mut link, &ours);
            peer.0.refresh_traffic_keys().unwrap();
            let to_us = [peer.output(), peer.seal(&theirs)].concat();
            assert_eq!(receiver.receive(&mut link, &to_us).unwrap(), theirs, "round {round}");
            assert!(link.owes());
            assert_eq!(peer.input(&to_peer).unwrap(), ours, "round {round}");
        }
    }
}

#[test]
fn while_the_answer_waits_reading_goes_on_and_one_answer_is_enough() {
    let [(mut link, mut peer), _] = both_roles(AES_1_3);
    let mut receiver = Receiver::new();
    for round in 0..50 {
        peer.0.refresh_traffic_keys().unwrap();
        let bytes = [peer.output(), peer.seal(&pattern(1_000 + round))].concat();
        assert_eq!(receiver.receive(&mut link, &bytes).unwrap(), pattern(1_000 + round));
    }
    let mut buffer = [0; HEAD_ROOM + 1 + TAIL_ROOM];
    let early = link.seal_in_place(&mut buffer, HEAD_ROOM..HEAD_ROOM + 1).unwrap_err();
    assert_eq!(
        early.to_string(),
        "the link was used wrongly: sealed before the owed answer was flushed"
    );
    let mut out = Vec::new();
    link.flush_owed(&mut out).unwrap();
    assert_eq!(out.len(), 5 + 5 + 17, "one KeyUpdate");
    assert!(!link.owes());
    out.extend(seal_in_place(&mut link, b"under the next key"));
    assert_eq!(peer.input(&out).unwrap(), b"under the next key");
}

#[test]
fn a_worn_key_is_changed_in_1_3_and_ends_sealing_in_1_2() {
    for (mut link, mut peer) in both_roles(AES_1_3) {
        for _ in 0..5 {
            link.write.wear_to(0x1200);
            assert_eq!(
                peer.input(&seal_in_place(&mut link, &pattern(40_000))).unwrap(),
                pattern(40_000)
            );
            assert!(!link.write.is_worn());
        }
    }
    for (mut link, mut peer) in both_roles(AES_1_2) {
        link.write.wear_to(0);
        let mut out = Vec::new();
        assert_eq!(link.seal(b"x", &mut out), Err(TlsError::KeysWornOut));
        link.close_notify(&mut out).unwrap();
        assert_eq!(peer.input(&out).unwrap(), b"");
        assert!(peer.0.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn a_peer_with_a_worn_key_is_asked_to_change_it() {
    let [(mut link, mut peer), _] = both_roles(AES_1_3);
    link.read.wear_to(0);
    let mut receiver = Receiver::new();
    assert_eq!(receiver.receive(&mut link, &peer.seal(b"ab")).unwrap(), b"ab");
    let mut out = Vec::new();
    link.flush_owed(&mut out).unwrap();
    assert_eq!(receiver.receive(&mut link, &peer.seal(b"cd")).unwrap(), b"cd");
    assert!(!link.owes(), "it is asked once");
    assert_eq!(peer.input(&out).unwrap(), b"");
    let answer = [peer.output(), peer.seal(b"ef")].concat();
    assert_eq!(receiver.receive(&mut link, &answer).unwrap(), b"ef");
    assert!(!link.read.is_worn());
}

#[test]
fn close_notify_ends_one_direction_each() {
    for suite in [AES_1_3, AES_1_2] {
        for (mut link, mut peer) in both_roles(suite) {
            peer.0.send_close_notify();
            let bytes = peer.output();
            let mut receiver = Receiver::new();
            assert_eq!(
                receiver
                    .receive(&mut link, &[bytes, b"ignored".to_vec()].concat())
                    .unwrap(),
                b""
            );
            assert!(receiver.closed);
            let mut out = seal_in_place(&mut link, b"still here");
            link.close_notify(&mut out).unwrap();
            let length = out.len();
            link.close_notify(&mut out).unwrap();
            assert_eq!(out.len(), length, "said once");
            assert_eq!(peer.input(&out).unwrap(), b"still here");
            assert!(peer.0.process_new_packets().unwrap().peer_has_closed());
            assert_eq!(link.seal(b"x", &mut out).unwrap_err().as_str(), "tls_misuse");
        }
    }
}

#[test]
fn garbled_replayed_and_reordered_records_end_the_link_with_an_alert() {
    for suite in [AES_1_3, AES_1_2, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256] {
        for breakage in 0..3 {
            let [(mut link, mut peer), _] = both_roles(suite);
            let mut first = peer.seal(b"first");
            let second = peer.seal(b"second");
            let bytes = match breakage {
                0 => {
                    *first.last_mut().unwrap() ^= 1;
                    first
                }
                1 => [first.clone(), first].concat(),
                _ => [second, first].concat(),
            };
            let error = Receiver::new().receive(&mut link, &bytes).unwrap_err();
            assert_eq!(error, TlsError::DecryptFailed, "{suite:?} {breakage}");
            assert_eq!(
                link.open(&mut [0; 5]),
                Err(TlsError::DecryptFailed),
                "an error is final"
            );
            assert!(link.owes());
            let mut alert = Vec::new();
            link.flush_owed(&mut alert).unwrap();
            let heard = peer.input(&alert).unwrap_err();
            assert_eq!(
                heard,
                rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)
            );
        }
    }
}

#[test]
fn each_flipped_bit_of_a_record_is_noticed() {
    for suite in [AES_1_3, AES_1_2] {
        let length = both_roles(suite)[0].1.seal(b"data").len();
        for bit in 0..length * 8 {
            // The minor version in the header is ignored in TLS 1.2 (RFC 5246 E.1) and authenticated in 1.3.
            if suite == AES_1_2 && bit / 8 == 2 {
                continue;
            }
            let [(mut link, mut peer), _] = both_roles(suite);
            let mut record = peer.seal(b"data");
            record[bit / 8] ^= 1 << (bit % 8);
            match Receiver::new().receive(&mut link, &record) {
                Err(_) => {}
                // A length that grew: the record is waited for.
                Ok(plaintext) => assert!(plaintext.is_empty() && (3..5).contains(&(bit / 8)), "bit {bit}"),
            }
        }
    }
}

#[test]
fn the_facts_name_version_and_suite() {
    for suite in ALL_CIPHER_SUITES {
        let leaf = leaf_for(&Authority::new("ca"), *suite);
        let mut client = Peer::client(client_config(*suite, None));
        let facts = accept(&leaf.listener(), &mut client).unwrap().facts;
        let expected = match suite {
            SupportedCipherSuite::Tls12(_) => Version::Tls12,
            SupportedCipherSuite::Tls13(_) => Version::Tls13,
        };
        assert_eq!(facts.version, expected);
        let registered = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
        assert_eq!(facts.cipher, registered);
        assert!(facts.alpn && !facts.resumed && facts.peer_chain.is_empty());
    }
}
