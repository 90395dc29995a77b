//! Handshakes against plain rustls: cut anywhere, with and without certificates and tickets, and gone wrong.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::{AlertDescription, Error as Rustls, SupportedCipherSuite};

use super::fixtures::{Authority, Leaf, Receiver, require};
use super::peer::{Peer, accept, client_config, connect_to, server_config};
use super::{Handshake, HandshakeFacts, ListenerOptions, ListenerTls, Misuse, TlsError, UpstreamTls, Version};

const AES_1_3: SupportedCipherSuite = cipher_suite::TLS13_AES_128_GCM_SHA256;
const AES_1_2: SupportedCipherSuite = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const BOTH: [SupportedCipherSuite; 2] = [AES_1_3, AES_1_2];

fn server_leaf() -> Leaf {
    Authority::new("server ca").leaf(&["db.example"])
}

fn identity(leaf: &Leaf) -> Option<(&str, &str)> {
    Some((&leaf.chain, &leaf.key))
}

/// Our server end fed in pieces of `piece` bytes, with the client's first data glued to its last flight.
fn accept_in_pieces(listener: &Arc<ListenerTls>, peer: &mut Peer, piece: usize) -> (HandshakeFacts, Vec<u8>) {
    let mut ours = Handshake::server(listener, true).unwrap();
    let mut to_peer = Vec::new();
    let mut spoken = false;
    loop {
        peer.input(&core::mem::take(&mut to_peer)).unwrap();
        let mut bytes = peer.output();
        if !peer.0.is_handshaking() && !spoken {
            bytes.extend(peer.seal(b"startup message"));
            spoken = true;
        }
        assert!(!bytes.is_empty(), "the handshake stands still");
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + piece);
            let progress = ours.handle(&bytes[at..end], &mut to_peer).unwrap();
            at += progress.consumed;
            let Some(mut established) = progress.established else {
                assert_eq!(at, end);
                continue;
            };
            let mut receiver = Receiver::new();
            let mut plaintext = receiver.receive(&mut established.link, &bytes[at..]).unwrap();
            peer.input(&to_peer).unwrap();
            if !spoken {
                plaintext = receiver
                    .receive(&mut established.link, &peer.seal(b"startup message"))
                    .unwrap();
            }
            return (established.facts, plaintext);
        }
    }
}

#[test]
fn a_handshake_cut_into_pieces_of_any_size_is_the_same_and_data_behind_it_is_found() {
    let listener = server_leaf().listener();
    let client = Authority::new("client ca").leaf(&["alice"]);
    for suite in BOTH {
        for piece in (1..600).chain([5_000]) {
            let mut peer = Peer::client(client_config(suite, identity(&client)));
            let (facts, plaintext) = accept_in_pieces(&listener, &mut peer, piece);
            assert_eq!(plaintext, b"startup message", "{suite:?} in pieces of {piece}");
            assert_eq!(facts.peer_chain[0].as_ref(), client.der);
        }
    }
}

#[test]
fn our_client_end_cut_into_pieces_is_the_same() {
    let leaf = server_leaf();
    let upstream = UpstreamTls::new(&require(), None).unwrap();
    for suite in BOTH {
        for piece in 1..300 {
            let mut peer = Peer::server(server_config(suite, &leaf, None));
            let mut to_peer = Vec::new();
            let mut ours = Handshake::client(&upstream, "db.example", &mut to_peer).unwrap();
            let mut established = None;
            while established.is_none() {
                peer.input(&core::mem::take(&mut to_peer)).unwrap();
                let bytes = peer.output();
                assert!(!bytes.is_empty(), "the handshake stands still");
                let mut at = 0;
                while at < bytes.len() && established.is_none() {
                    let end = bytes.len().min(at + piece);
                    let progress = ours.handle(&bytes[at..end], &mut to_peer).unwrap();
                    at += progress.consumed;
                    established = progress.established;
                }
                if let Some(done) = &mut established {
                    Receiver::new().receive(&mut done.link, &bytes[at..]).unwrap();
                }
            }
            let mut established = established.unwrap();
            established.link.seal(b"hello", &mut to_peer).unwrap();
            assert_eq!(
                peer.input(&to_peer).unwrap(),
                b"hello",
                "{suite:?} in pieces of {piece}"
            );
            assert_eq!(established.facts.peer_chain[0].as_ref(), leaf.der);
        }
    }
}

/// Messages that span records: rustls holds on to the earlier ones until the last has come.
#[test]
fn a_handshake_in_tiny_records_is_the_same() {
    let leaf = server_leaf();
    let listener = leaf.listener();
    let client = Authority::new("client ca").leaf(&["alice"]);
    for suite in BOTH {
        for size in [32, 33, 64, 200] {
            let mut config = client_config(suite, identity(&client));
            config.max_fragment_size = Some(size);
            for piece in [1, 17, 5_000] {
                let (facts, plaintext) = accept_in_pieces(&listener, &mut Peer::client(config.clone()), piece);
                assert_eq!(plaintext, b"startup message", "{suite:?} in records of {size}");
                assert_eq!(facts.peer_chain[0].as_ref(), client.der);
            }
            let mut config = server_config(suite, &leaf, None);
            config.max_fragment_size = Some(size);
            let facts = connect_to(&require(), &mut Peer::server(config)).unwrap().facts;
            assert_eq!(facts.peer_chain[0].as_ref(), leaf.der);
        }
    }
}

#[test]
fn a_client_is_asked_for_a_certificate_only_where_it_matters_and_may_have_none() {
    let listener = server_leaf().listener();
    let client = Authority::new("client ca").leaf(&["alice"]);
    for suite in BOTH {
        let chain = |ask: bool, identity| {
            let mut peer = Peer::client(client_config(suite, identity));
            let mut ours = Handshake::server(&listener, ask).unwrap();
            let mut to_peer = Vec::new();
            loop {
                peer.input(&core::mem::take(&mut to_peer)).unwrap();
                if let Some(done) = ours.handle(&peer.output(), &mut to_peer).unwrap().established {
                    return done.facts.peer_chain;
                }
            }
        };
        assert!(chain(true, None).is_empty());
        assert!(chain(false, identity(&client)).is_empty());
        assert_eq!(chain(true, identity(&client)).len(), 1);
    }
}

#[test]
fn an_enrolled_certificate_with_a_foreign_key_fails() {
    let listener = server_leaf().listener();
    let authority = Authority::new("client ca");
    let (enrolled, stranger) = (authority.leaf(&["alice"]), authority.leaf(&["mallory"]));
    for suite in BOTH {
        let mut peer = Peer::client(client_config(suite, Some((&enrolled.chain, &stranger.key))));
        let mut ours = Handshake::server(&listener, true).unwrap();
        let mut to_peer = Vec::new();
        let error = loop {
            peer.input(&core::mem::take(&mut to_peer)).unwrap();
            match ours.handle(&peer.output(), &mut to_peer) {
                Ok(progress) => assert!(progress.established.is_none()),
                Err(error) => break error,
            }
        };
        assert_eq!(
            (&error, error.as_str()),
            (&TlsError::KeyNotHeld, "tls_key_not_held"),
            "{suite:?}"
        );
        assert!(
            matches!(peer.input(&to_peer), Err(Rustls::AlertReceived(_))),
            "the client hears why"
        );
        assert_eq!(
            ours.handle(b"", &mut to_peer).err(),
            Some(TlsError::KeyNotHeld),
            "an error is final"
        );
    }
}

#[test]
fn every_kind_of_key_can_be_shown_and_any_authority_will_do() {
    let listener = server_leaf().listener();
    let kinds = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for kind in kinds {
        let client = Authority::new("anyone").leaf_with(&["alice"], kind, |_| {});
        for suite in BOTH {
            let mut peer = Peer::client(client_config(suite, identity(&client)));
            let facts = accept(&listener, &mut peer).unwrap().facts;
            assert_eq!(facts.peer_chain[0].as_ref(), client.der);
        }
    }
}

#[test]
fn a_resumed_session_shows_the_clients_chain_again() {
    let listener = server_leaf().listener();
    let client = Authority::new("client ca").leaf(&["alice"]);
    for suite in BOTH {
        let config = Arc::new(client_config(suite, identity(&client)));
        let mut resumed = Vec::new();
        for _ in 0..3 {
            let mut peer = Peer::client_of(config.clone());
            let facts = accept(&listener, &mut peer).unwrap().facts;
            assert_eq!(facts.peer_chain[0].as_ref(), client.der);
            assert_eq!(facts.end_point.as_deref(), listener.end_point());
            resumed.push(facts.resumed);
        }
        assert_eq!(resumed, [false, true, true], "{suite:?}");
    }
}

#[test]
fn tickets_die_with_their_listener_and_do_not_cross_to_where_a_certificate_is_asked_for() {
    let leaf = server_leaf();
    for suite in BOTH {
        let config = Arc::new(client_config(suite, None));
        let first = leaf.listener();
        accept(&first, &mut Peer::client_of(config.clone())).unwrap();
        assert!(
            accept(&first, &mut Peer::client_of(config.clone()))
                .unwrap()
                .facts
                .resumed
        );
        let rebuilt = leaf.listener();
        assert!(
            !accept(&rebuilt, &mut Peer::client_of(config.clone()))
                .unwrap()
                .facts
                .resumed,
            "{suite:?}"
        );

        let mut peer = Peer::client_of(config.clone());
        let mut ours = Handshake::server(&rebuilt, false).unwrap();
        let mut to_peer = Vec::new();
        let facts = loop {
            peer.input(&core::mem::take(&mut to_peer)).unwrap();
            if let Some(done) = ours.handle(&peer.output(), &mut to_peer).unwrap().established {
                break done.facts;
            }
        };
        assert!(
            !facts.resumed,
            "{suite:?}: a ticket from where a certificate was asked for"
        );
    }
}

#[test]
fn alpn_is_taken_where_it_is_offered_and_must_be_postgresqls() {
    let listener = server_leaf().listener();
    for suite in BOTH {
        let with = |protocols: &[&[u8]]| {
            let mut config = client_config(suite, None);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            accept(&listener, &mut Peer::client(config)).map(|established| established.facts.alpn)
        };
        assert_eq!(with(&[]), Ok(false));
        assert_eq!(with(&[b"postgresql"]), Ok(true));
        assert_eq!(with(&[b"http/1.1", b"postgresql"]), Ok(true));
        assert_eq!(with(&[b"http/1.1"]), Err(TlsError::NoApplicationProtocol));
    }
}

#[test]
fn the_oldest_version_is_the_operators_choice() {
    let listener = server_leaf().listener_with(&ListenerOptions {
        minimum: Version::Tls13,
    });
    assert!(accept(&listener, &mut Peer::client(client_config(AES_1_3, None))).is_ok());
    let error = accept(&listener, &mut Peer::client(client_config(AES_1_2, None)))
        .err()
        .unwrap();
    assert_eq!(error.as_str(), "tls_incompatible");
}

#[test]
fn what_is_not_tls_is_told_from_its_first_bytes_and_answered_with_an_alert() {
    let listener = server_leaf().listener();
    let startup = [0, 0, 0, 9, 0, 3, 0, 0, 0];
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &startup,
        &[0x16, 9, 9, 0, 5],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut out = Vec::new();
        let mut ours = Handshake::server(&listener, false).unwrap();
        let error = ours.handle(garbage, &mut out).err().unwrap();
        assert!(
            ["tls_not_tls", "tls_record_too_long"].contains(&error.as_str()),
            "{garbage:?} {error}"
        );
        assert!(out.len() == 7 && out[0] == 21, "{garbage:?} {out:?}");
    }
}

#[test]
fn endless_handshakes_are_cut_off() {
    let listener = server_leaf().listener();
    // A ClientHello of 2^24 - 1 bytes that comes in small records, and one that comes in full ones.
    for size in [1_usize, 16_384] {
        let mut ours = Handshake::server(&listener, false).unwrap();
        let mut out = Vec::new();
        let mut first = true;
        let mut sent = 0;
        let error = loop {
            let mut record = vec![22, 3, 1, (size >> 8) as u8, size as u8];
            record.resize(5 + size, 0);
            if first {
                let hello = [1, 0xff, 0xff, 0xff];
                record[5..][..size.min(4)].copy_from_slice(&hello[..size.min(4)]);
            }
            first = false;
            sent += record.len();
            match ours.handle(&record, &mut out) {
                Ok(_) => assert!(sent < 200_000),
                Err(error) => break error,
            }
        };
        assert_eq!(error.fault(), super::Fault::Peer, "{error}");
        assert!(ours.held.len() <= 64 * 1024);
    }
}

#[test]
fn a_client_that_gives_up_says_so_and_is_believed() {
    let authority = Authority::new("client ca");
    for suite in BOTH {
        let mut server = Peer::server(server_config(suite, &server_leaf(), Some(&authority)));
        let error = match connect_to(&require(), &mut server) {
            Err(error) => error,
            // In TLS 1.3 a client is done before the server has judged its certificate.
            Ok(mut established) => Receiver::new()
                .receive(&mut established.link, &server.output())
                .unwrap_err(),
        };
        let TlsError::AlertReceived(alert) = error else {
            panic!("{error}")
        };
        assert!(
            ["certificate_required", "handshake_failure"].contains(&alert.as_str()),
            "{alert}"
        );
    }
}

#[test]
fn a_handshake_that_is_done_is_not_driven_on() {
    let listener = server_leaf().listener();
    let mut peer = Peer::client(client_config(AES_1_3, None));
    let mut ours = Handshake::server(&listener, false).unwrap();
    let mut to_peer = Vec::new();
    loop {
        peer.input(&core::mem::take(&mut to_peer)).unwrap();
        if ours.handle(&peer.output(), &mut to_peer).unwrap().established.is_some() {
            break;
        }
    }
    assert_eq!(ours.handle(b"", &mut to_peer).err(), Some(Misuse::HandshakeDone.into()));
}

#[test]
fn a_garbled_handshake_record_is_answered_with_an_alert() {
    let listener = server_leaf().listener();
    let mut peer = Peer::client(client_config(AES_1_3, None));
    let mut ours = Handshake::server(&listener, false).unwrap();
    let mut to_peer = Vec::new();
    ours.handle(&peer.output(), &mut to_peer).unwrap();
    peer.input(&core::mem::take(&mut to_peer)).unwrap();
    let mut finished = peer.output();
    *finished.last_mut().unwrap() ^= 1;
    assert_eq!(
        ours.handle(&finished, &mut to_peer).err(),
        Some(TlsError::DecryptFailed)
    );
    assert_eq!(
        peer.input(&to_peer),
        Err(Rustls::AlertReceived(AlertDescription::BadRecordMac))
    );
}
