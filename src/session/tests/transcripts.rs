//! Conversations by name. Each is played whole, then with every message cut into pieces of every size, so that each byte is
//! a boundary once; all must tell the same. What belongs together in one segment, a client's pipelined query for example, is
//! coalesced in the transcript itself.

use aws_lc_rs::digest::{SHA256, digest};
use postern_policy::model::{Identity, IdentityKey, Method, Model, ServerMethod};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;

use super::conversation::*;
use super::driven::{Relay, told};
use super::server::*;
use crate::audit::{EndReason, Outcome, Reason, TlsFacts, TlsVersion};
use crate::identity::scram::client;
use crate::identity::scram::server::Binding;
use crate::session::{ClientTls, TlsMode};
use crate::wire::authentication::encode_cleartext_password;
use crate::wire::cancel::CancelRequest;
use crate::wire::error::Report;
use crate::wire::initial::{self, ProtocolVersion};
use crate::wire::sqlstate::SqlState;

/// Longer than any message of a transcript.
const WHOLE: usize = 4_096;
const LONGEST: usize = 200;

struct Transcript {
    name: &'static str,
    tls: TlsMode,
    model: fn(&Card) -> Model,
    world: fn(&mut World),
    say: fn(&mut Play),
    /// Of the attempt's record.
    outcome: Outcome,
    reason: Reason,
    /// Whether a relay comes of it.
    relay: bool,
    /// How a session that was permitted ended before its relay.
    end: Option<EndReason>,
}

const LOGIN: Transcript = Transcript {
    name: "",
    tls: TlsMode::Allow,
    model: |_| model(),
    world: |_| {},
    say: |_| {},
    outcome: Outcome::Permitted,
    reason: Reason::Ok,
    relay: true,
    end: None,
};

const REFUSAL: Transcript = Transcript {
    outcome: Outcome::Denied,
    relay: false,
    ..LOGIN
};

const NO_RELAY: Transcript = Transcript { relay: false, ..LOGIN };

const TRANSCRIPTS: [Transcript; 27] = [
    Transcript {
        name: "SCRAM in clear, a query, goodbye",
        say: |play| {
            play.enter();
            play.query_and_goodbye();
        },
        ..LOGIN
    },
    Transcript {
        name: "a query in the segment of the proof",
        say: |play| {
            play.client(&asking("app"));
            play.prove(client::Binding::None, &message(b'Q', b"select 1\0"));
            play.log_in();
            play.server(&[message(b'C', b"SELECT 1\0"), ready()].concat());
        },
        ..LOGIN
    },
    Transcript {
        name: "encryption refused twice, then SCRAM",
        tls: TlsMode::Off,
        say: |play| {
            play.client(&request(initial::encode_gss_enc_request));
            play.client(&request(initial::encode_ssl_request));
            play.enter();
        },
        ..LOGIN
    },
    Transcript {
        name: "SCRAM-SHA-256-PLUS",
        say: |play| {
            play.client(&request(initial::encode_ssl_request));
            play.encrypted(false, &[]);
            play.client(&asking("app"));
            play.prove(client::Binding::EndPoint(END_POINT), &[]);
            play.log_in();
            play.query_and_goodbye();
        },
        ..LOGIN
    },
    Transcript {
        name: "a certificate",
        model: enrolled,
        say: |play| {
            play.client(&request(initial::encode_ssl_request));
            play.show_card();
            play.client(&asking("app"));
            play.log_in();
            play.query_and_goodbye();
        },
        ..LOGIN
    },
    Transcript {
        name: "a certificate and direct TLS",
        model: enrolled,
        say: |play| {
            play.client(&[0x16, 3, 1, 0, 200, 1]);
            let card = play.card.der.clone();
            play.encrypted(true, &[CertificateDer::from(card)]);
            play.client(&asking("app"));
            play.log_in();
        },
        ..LOGIN
    },
    Transcript {
        name: "no certificate",
        model: enrolled,
        say: |play| {
            play.client(&request(initial::encode_ssl_request));
            play.encrypted(false, &[]);
            play.client(&asking("app"));
        },
        reason: Reason::CertificateMissing,
        ..REFUSAL
    },
    Transcript {
        name: "protocol 3.2",
        say: |play| {
            play.client(&startup_of(ProtocolVersion(3 << 16 | 2), &WANTED));
            play.prove(client::Binding::None, &[]);
            play.log_in();
        },
        ..LOGIN
    },
    Transcript {
        name: "a newer protocol with an option, negotiated down",
        say: |play| {
            let wanted = [WANTED[0], WANTED[1], ("_pq_.x", "1")];
            play.client(&startup_of(ProtocolVersion(3 << 16 | 9), &wanted));
            play.prove_behind_negotiation();
            play.log_in();
        },
        ..LOGIN
    },
    Transcript {
        name: "COPY in",
        say: |play| {
            play.enter();
            play.client(&message(b'Q', b"copy t from stdin\0"));
            play.server(&message(b'G', &[0, 0, 1, 0, 0]));
            let rows = [
                message(b'd', b"1\tone\n"),
                message(b'd', &[b'x'; 150]),
                message(b'c', b""),
            ];
            play.client(&rows.concat());
            play.server(&[message(b'C', b"COPY 2\0"), ready()].concat());
        },
        ..LOGIN
    },
    Transcript {
        name: "COPY out",
        say: |play| {
            play.enter();
            play.client(&message(b'Q', b"copy t to stdout\0"));
            let rows = [
                message(b'H', &[0, 0, 1, 0, 0]),
                message(b'd', &[b'y'; 120]),
                message(b'c', b""),
            ];
            play.server(&[rows.concat(), message(b'C', b"COPY 1\0"), ready()].concat());
            play.client(&message(b'X', b""));
        },
        ..LOGIN
    },
    Transcript {
        name: "the server asks for the password, over TLS",
        world: |world| {
            knows_password(world, ServerMethod::Password);
            encrypted(world);
        },
        say: |play| {
            play.arrive();
            accept_tls(&mut play.conversation);
            ask_for_cleartext(&mut play.conversation);
            play.let_in(&server_greeting());
            play.query_and_goodbye();
        },
        ..LOGIN
    },
    Transcript {
        name: "the server asks for the password in clear, where it may not",
        world: |world| knows_password(world, ServerMethod::Password),
        say: |play| {
            play.arrive();
            play.server(&said(encode_cleartext_password));
        },
        end: Some(EndReason::UpstreamCredentials),
        ..NO_RELAY
    },
    Transcript {
        name: "the server asks for MD5",
        world: |world| knows_password(world, ServerMethod::Md5),
        say: |play| {
            play.arrive();
            ask_for_md5(&mut play.conversation);
            play.let_in(&server_greeting());
            play.query_and_goodbye();
        },
        ..LOGIN
    },
    Transcript {
        name: "the server asks for SCRAM-SHA-256",
        world: |world| knows_password(world, ServerMethod::ScramSha256),
        say: |play| {
            play.arrive();
            ask_for_scram(&mut play.conversation, Binding::None);
            play.let_in(&server_greeting());
            play.query_and_goodbye();
        },
        ..LOGIN
    },
    Transcript {
        name: "the server asks for SCRAM-SHA-256-PLUS",
        world: |world| {
            knows_password(world, ServerMethod::ScramSha256);
            encrypted(world);
        },
        say: |play| {
            play.arrive();
            accept_tls(&mut play.conversation);
            let end_point = SERVER_END_POINT;
            ask_for_scram(&mut play.conversation, Binding::Offered { end_point });
            play.let_in(&server_greeting());
        },
        ..LOGIN
    },
    Transcript {
        name: "the server has no TLS",
        world: encrypted,
        say: |play| {
            play.arrive();
            play.server(b"N");
        },
        end: Some(EndReason::UpstreamTls),
        ..NO_RELAY
    },
    Transcript {
        name: "notices before and behind AuthenticationOk",
        say: |play| {
            play.arrive();
            play.server(&notice("of the proof"));
            play.let_in(&[server_ok(), notice("of the role"), server_greeting_behind_ok()].concat());
            let heard = String::from_utf8_lossy(&play.conversation.to_client).into_owned();
            assert!(
                heard.contains("of the role") && !heard.contains("of the proof"),
                "{heard}"
            );
        },
        ..LOGIN
    },
    Transcript {
        name: "the server has no room",
        say: |play| {
            play.arrive();
            let report = Report::fatal(SqlState::TooManyConnections, "sorry, too many clients already");
            play.server(&said(|out| report.encode(out)));
            assert_eq!(
                play.conversation.error(),
                Some(("53300".into(), "sorry, too many clients already".into()))
            );
        },
        end: Some(EndReason::UpstreamRefused),
        ..NO_RELAY
    },
    Transcript {
        name: "the server goes in the middle of its greeting",
        say: |play| {
            play.arrive();
            play.server(&server_ok());
            play.conversation
                .gate
                .handle_unreachable(&mut play.conversation.world, &"refused");
            play.conversation.drain();
        },
        end: Some(EndReason::UpstreamUnreachable),
        ..NO_RELAY
    },
    Transcript {
        name: "errors and notices of statements",
        say: |play| {
            play.enter();
            let wrong = Report::fatal(SqlState::ProtocolViolation, "division by zero");
            play.client(&message(b'Q', b"select 1/0\0"));
            play.server(&[said(|out| wrong.encode(out)), ready()].concat());
            let parts = [
                message(b'P', b"\0do it\0\0\0"),
                message(b'B', &[0; 8]),
                message(b'E', &[0; 5]),
                message(b'S', b""),
            ];
            play.client(&parts.concat());
            let answers = [
                message(b'1', b""),
                notice("of the statement"),
                said(|out| wrong.encode(out)),
                ready(),
            ];
            play.server(&answers.concat());
            play.client(&message(b'X', b""));
        },
        ..LOGIN
    },
    Transcript {
        name: "cancel by a key of protocol 3.0",
        say: |play| play.cancel(&[7; 4]),
        outcome: Outcome::Cancel,
        ..REFUSAL
    },
    Transcript {
        name: "cancel by a key of protocol 3.2",
        say: |play| play.cancel(&[7; 32]),
        outcome: Outcome::Cancel,
        ..REFUSAL
    },
    Transcript {
        name: "replication that is not granted",
        say: |play| {
            play.client(&startup(&[WANTED[0], WANTED[1], ("replication", "database")]));
            play.prove(client::Binding::None, &[]);
        },
        reason: Reason::ReplicationNotGranted,
        ..REFUSAL
    },
    Transcript {
        name: "a database that is not granted",
        say: |play| {
            play.client(&asking("other"));
            play.prove(client::Binding::None, &[]);
        },
        reason: Reason::NoSuchDatabase,
        ..REFUSAL
    },
    Transcript {
        name: "protocol 2",
        say: |play| play.client(&startup_of(ProtocolVersion(2 << 16), &WANTED)),
        reason: Reason::UnsupportedProtocol,
        ..REFUSAL
    },
    Transcript {
        name: "a query instead of a proof",
        say: |play| {
            play.client(&asking("app"));
            play.client(&message(b'Q', b"select 1\0"));
        },
        reason: Reason::ProtocolViolation,
        ..REFUSAL
    },
];

#[test]
fn every_transcript_tells_the_same_in_pieces_of_every_size() {
    let card = Card::new();
    for transcript in &TRANSCRIPTS {
        let whole = transcript.play(&card, WHOLE);
        let name = transcript.name;
        let attempt = &whole.conversation.attempts[0];
        assert_eq!(
            (attempt.outcome, attempt.reason),
            (transcript.outcome, transcript.reason),
            "{name}"
        );
        assert_eq!(whole.relay.is_some(), transcript.relay, "{name}");
        let end = whole.conversation.ends.first().map(|end| end.how);
        assert_eq!(end, transcript.end, "{name}");
        for piece in 1..LONGEST {
            let split = transcript.play(&card, piece);
            let (left, right) = (told(&whole.conversation), told(&split.conversation));
            assert_eq!(left, right, "{name}, in pieces of {piece}");
            match (&whole.relay, &split.relay) {
                (Some(whole), Some(split)) => whole.assert_same(split),
                (None, None) => {}
                (_, _) => panic!("{name}: only one of them reaches the relay, in pieces of {piece}"),
            }
        }
    }
}

impl Transcript {
    fn play(&self, card: &Card, piece: usize) -> Play {
        let mut world = World::new(&(self.model)(card));
        (self.world)(&mut world);
        let mut play = Play {
            conversation: Conversation::new(world, piece, self.tls),
            card: card.clone(),
            relay: None,
        };
        println!("{}, in pieces of {piece}", self.name);
        (self.say)(&mut play);
        play
    }
}

/// A conversation, and behind it the relay.
struct Play {
    conversation: Conversation,
    card: Card,
    relay: Option<Relay>,
}

impl Play {
    fn client(&mut self, bytes: &[u8]) {
        match &mut self.relay {
            None => self.conversation.client(bytes),
            Some(relay) => relay.client(bytes),
        }
    }

    fn server(&mut self, bytes: &[u8]) {
        match &mut self.relay {
            None => self.conversation.server(bytes),
            Some(relay) => relay.server(bytes),
        }
    }

    fn prove(&mut self, binding: client::Binding<'_>, behind: &[u8]) {
        prove_bound(&mut self.conversation, PASSWORD, binding, behind);
    }

    /// NegotiateProtocolVersion stands before the challenge.
    fn prove_behind_negotiation(&mut self) {
        assert_eq!(self.conversation.to_client.first(), Some(&b'v'));
        self.prove(client::Binding::None, &[]);
    }

    /// The client's half, up to the connection to the server.
    fn arrive(&mut self) {
        self.client(&asking("app"));
        self.prove(client::Binding::None, &[]);
        self.conversation.connected();
    }

    /// Both halves, where neither is remarkable.
    fn enter(&mut self) {
        self.arrive();
        self.let_in(&server_greeting());
    }

    /// The server's half, up to the relay.
    fn log_in(&mut self) {
        self.conversation.connected();
        self.let_in(&server_greeting());
    }

    fn let_in(&mut self, greeting: &[u8]) {
        self.conversation.server(greeting);
        let passage = self.conversation.passage.take().expect("let through");
        let mut relay = Relay::new(passage, self.conversation.world.now, self.conversation.piece);
        relay.client(&self.conversation.left_over);
        relay.server(&self.conversation.left_over_of_server);
        self.relay = Some(relay);
    }

    fn query_and_goodbye(&mut self) {
        self.client(&message(b'Q', b"select 1\0"));
        self.server(&[message(b'C', b"SELECT 1\0"), ready()].concat());
        self.client(&message(b'X', b""));
    }

    fn show_card(&mut self) {
        let card = self.card.der.clone();
        self.encrypted(false, &[CertificateDer::from(card)]);
    }

    /// The handshake is the core's: it has taken whatever the gate left, and is done.
    fn encrypted(&mut self, direct: bool, chain: &[CertificateDer<'static>]) {
        self.conversation.left_over.clear();
        let tls = ClientTls {
            facts: TlsFacts {
                version: TlsVersion::V1_3,
                cipher: "TLS_AES_128_GCM_SHA256",
                resumed: false,
                direct,
            },
            alpn: direct,
            chain: chain.to_vec(),
            end_point: Some(END_POINT.into()),
        };
        self.conversation.gate.handle_client_tls(&self.conversation.world, tls);
        self.conversation.drain();
        // What SSLRequest was answered with is in clear; the rest is another stream.
        self.conversation.to_client.clear();
    }

    fn cancel(&mut self, key: &[u8]) {
        let mut bytes = Vec::new();
        initial::encode_cancel(&mut bytes, CancelRequest { process_id: 9, key });
        self.client(&bytes);
        assert_eq!(self.conversation.cancels, [(9, key.to_vec())]);
        self.conversation
            .gate
            .handle_cancel_done(&self.conversation.world, Reason::Ok, None);
        self.conversation.drain();
    }
}

const WANTED: [(&str, &str); 2] = [("user", "alice"), ("database", "app")];
/// Channel binding data of the listener's certificate.
const END_POINT: &[u8] = &[3; 32];

fn asking(database: &str) -> Vec<u8> {
    startup(&[("user", "alice"), ("database", database)])
}

fn request(encode: fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn notice(text: &str) -> Vec<u8> {
    message(b'N', format!("SNOTICE\0VNOTICE\0C00000\0M{text}\0\0").as_bytes())
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// A client certificate, known by its fingerprint.
#[derive(Clone)]
struct Card {
    der: Vec<u8>,
}

impl Card {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
        Self {
            der: certificate.der().to_vec(),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &self.der).as_ref());
        fingerprint
    }
}

/// `alice` by certificate and nothing else.
fn enrolled(card: &Card) -> Model {
    let mut model = model();
    let alice = Identity {
        keys: vec![IdentityKey::Fingerprint(card.fingerprint())],
        ..Identity::default()
    };
    model.identities.insert("alice".into(), alice);
    model.authentication[0].method = Method::Certificate;
    model
}
