//! Conversations as a fuzz body: an input decoded into events of a gate and then of its passage, driven from
//! `tests/corpus/session`. Each is played with the bytes whole and again cut into pieces, and both must tell the same.

use std::ops::Range;

use postern_fuzzing::{Entry, Marks, Script, drive};

use super::chaos::check;
use super::conversation::*;
use crate::audit::{EndReason, Outcome, Reason};
use crate::session::{Passage, TlsMode, Verdict};
use crate::time::Mono;
use crate::wire::cancel::CancelRequest;
use crate::wire::initial::{self, ProtocolVersion};
use crate::wire::tag::{BACKEND_IN_RELAY, FRONTEND_IN_RELAY, TagSet};

const MARKS: [&str; 20] = [
    "version negotiated",
    "challenged",
    "permitted",
    "denied",
    "abandoned",
    "cancel",
    "unrecorded",
    "next candidate",
    "server login begun",
    "ended before relay",
    "relay",
    "relayed from the client",
    "relayed from the server",
    "violation of the client",
    "violation of the server",
    "dropped while ending",
    "ended at a boundary",
    "ended behind a message",
    "quiet",
    "terminated",
];

#[test]
fn driven_from_the_corpus() {
    drive("session", &MARKS, generated, run);
}

/// First byte: the size of pieces; second: what the world is like; then events.
fn run(input: &[u8], marks: &mut Marks) {
    let Some(([size, world], events)) = input.split_first_chunk::<2>() else {
        return;
    };
    let whole = play(*world, events, usize::MAX, marks);
    let split = play(*world, events, usize::from(size % 64) + 1, &mut Marks::default());
    assert_eq!(whole.told, split.told, "whole and in pieces");
    match (whole.relay, split.relay) {
        (None, None) => {}
        (Some(whole), Some(split)) => whole.assert_same(&split),
        (whole, split) => panic!("relay: {} whole, {} in pieces", whole.is_some(), split.is_some()),
    }
}

struct Played {
    told: String,
    relay: Option<Relay>,
}

fn play(world: u8, events: &[u8], piece: usize, marks: &mut Marks) -> Played {
    let mut around = World::new(&model());
    around.route.candidates = usize::from(world & 1) + 1;
    around.places = u32::from(world & 2 == 0);
    let mut conversation = Conversation::new(around, piece, TlsMode::Off);
    conversation.delay = world >> 2 & 3;
    let mut script = Script::new(events);
    let mut generation = 1;
    while !script.is_empty() && !conversation.closed && conversation.passage.is_none() {
        generation += 1;
        enter(&mut conversation, &mut script, generation);
        conversation.drain();
        let unwritten = conversation.waiting.is_some();
        assert!(
            !unwritten || conversation.to_server.is_empty(),
            "a server hears of an attempt that is not written down"
        );
        check(&conversation);
        conversation.event();
    }
    mark(&conversation, marks);
    let told = told(&conversation);
    let relay = conversation.passage.take().map(|passage| {
        let mut relay = Relay::new(passage, conversation.world.now, piece);
        relay.client(&conversation.left_over);
        relay.server(&conversation.left_over_of_server);
        while !script.is_empty() && !relay.over {
            relay.act(&mut script);
        }
        relay.mark(marks);
        relay
    });
    Played { told, relay }
}

/// All that anybody hears. What is left over counts only where there is a relay for it, and goes there.
pub(super) fn told(conversation: &Conversation) -> String {
    format!(
        "to the client {}\nto the server {}\n{:?}\n{:?}\n{:?} {:?} {}",
        conversation.to_client.escape_ascii(),
        conversation.to_server.escape_ascii(),
        conversation.attempts,
        conversation.ends,
        conversation.connects,
        conversation.cancels,
        conversation.closed,
    )
}

/// The events before the relay, by their byte.
mod before {
    pub const STARTUP: u8 = 0;
    pub const PROVE: u8 = 1;
    pub const PROVE_WRONG: u8 = 2;
    pub const SSL: u8 = 3;
    pub const GSS: u8 = 4;
    pub const CANCEL: u8 = 5;
    pub const CLIENT_BYTES: u8 = 6;
    pub const CLIENT_CLOSES: u8 = 7;
    pub const CONNECTED: u8 = 8;
    pub const UNREACHABLE: u8 = 9;
    pub const GREETING: u8 = 10;
    pub const SERVER_BYTES: u8 = 11;
    pub const TIME: u8 = 12;
    pub const SWAP: u8 = 13;
    pub const CANCEL_DONE: u8 = 14;
    pub const RECORD_BREAKS: u8 = 15;
}

fn enter(conversation: &mut Conversation, script: &mut Script<'_>, generation: u64) {
    let mut bytes = Vec::new();
    match script.byte() % 16 {
        before::STARTUP => conversation.client(&startup_by(script.byte())),
        before::PROVE => prove_if_asked(conversation, PASSWORD),
        before::PROVE_WRONG => prove_if_asked(conversation, b"wrong"),
        before::SSL => {
            initial::encode_ssl_request(&mut bytes);
            conversation.client(&bytes);
        }
        before::GSS => {
            initial::encode_gss_enc_request(&mut bytes);
            conversation.client(&bytes);
        }
        before::CANCEL => {
            let key = script.bytes();
            initial::encode_cancel(&mut bytes, CancelRequest { process_id: 1, key });
            conversation.client(&bytes);
        }
        before::CLIENT_BYTES => conversation.client(script.bytes()),
        before::CLIENT_CLOSES => conversation.gate.handle_client_closed(&mut conversation.world),
        before::CONNECTED if !conversation.connects.is_empty() => conversation.connected(),
        before::UNREACHABLE => conversation
            .gate
            .handle_unreachable(&mut conversation.world, &"refused"),
        before::GREETING => conversation.server(&server_greeting()),
        before::SERVER_BYTES => conversation.server(script.bytes()),
        before::TIME => conversation.time(u64::from(script.number())),
        before::SWAP => {
            let (mut next, choice) = (model(), script.byte());
            if choice & 1 == 0 {
                next.grants.clear();
            }
            conversation.world.in_force = in_force(&next, generation);
            // The core may not have told its gates yet.
            if choice & 2 == 0 {
                conversation.gate.handle_policy_changed(&mut conversation.world);
            }
        }
        before::CANCEL_DONE => conversation
            .gate
            .handle_cancel_done(&conversation.world, Reason::Ok, None),
        before::RECORD_BREAKS => conversation.recording = false,
        _connected_to_nothing => {}
    }
}

fn startup_by(choice: u8) -> Vec<u8> {
    let version = [3 << 16, 3 << 16 | 2, 3 << 16 | 9999, 2 << 16][usize::from(choice >> 2 & 3)];
    let mut pairs = vec![
        ("user", ["alice", "mallory"][usize::from(choice & 1)]),
        ("database", ["app", "other"][usize::from(choice >> 1 & 1)]),
    ];
    let more = [
        None,
        Some(("replication", "on")),
        Some(("options", "-c a.b=1")),
        Some(("_pq_.x", "1")),
    ];
    pairs.extend(more[usize::from(choice >> 4 & 3)]);
    startup_of(ProtocolVersion(version), &pairs)
}

/// The client's end can only answer what it was asked, once.
fn prove_if_asked(conversation: &mut Conversation, password: &[u8]) {
    let said = conversation.to_client.iter().find(|byte| **byte != b'N');
    if said.is_some_and(|byte| b"Rv".contains(byte)) && last_sasl(&after_refusals(conversation)).is_none() {
        prove(conversation, password);
    }
}

fn mark(conversation: &Conversation, marks: &mut Marks) {
    let said = after_refusals(conversation);
    let mut on = |is: bool, name| {
        if is {
            marks.reach(name);
        }
    };
    on(said.first() == Some(&b'v'), "version negotiated");
    on(last_sasl(&said).is_some(), "challenged");
    on(conversation.connects.len() > 1, "next candidate");
    on(!conversation.to_server.is_empty(), "server login begun");
    on(!conversation.ends.is_empty(), "ended before relay");
    on(conversation.passage.is_some(), "relay");
    if let Some(attempt) = conversation.attempts.first() {
        on(attempt.outcome == Outcome::Permitted, "permitted");
        on(attempt.outcome == Outcome::Denied, "denied");
        on(attempt.outcome == Outcome::Abandoned, "abandoned");
        on(attempt.outcome == Outcome::Cancel, "cancel");
        on(attempt.reason == Reason::AuditUnavailable, "unrecorded");
    }
}

/// The session behind the gate, and what it has let through.
pub(super) struct Relay {
    passage: Box<Passage>,
    now: Mono,
    piece: usize,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// One direction ended the session.
    over: bool,
    seen: Vec<&'static str>,
}

/// The events of the relay, by their byte.
mod during {
    pub const CLIENT_BYTES: u8 = 0;
    pub const SERVER_BYTES: u8 = 1;
    pub const CLIENT_MESSAGE: u8 = 2;
    pub const SERVER_MESSAGE: u8 = 3;
    pub const END: u8 = 4;
}

impl Relay {
    pub(super) fn new(passage: Box<Passage>, now: Mono, piece: usize) -> Self {
        let (to_server, to_client, seen) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            passage,
            now,
            piece,
            to_server,
            to_client,
            over: false,
            seen,
        }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        match script.byte() % 5 {
            during::CLIENT_BYTES => self.client(script.bytes()),
            during::SERVER_BYTES => self.server(script.bytes()),
            during::CLIENT_MESSAGE => self.client(&message(&FRONTEND_IN_RELAY, script)),
            during::SERVER_MESSAGE => self.server(&message(&BACKEND_IN_RELAY, script)),
            _end => {
                self.passage.end(EndReason::PolicyChanged);
                self.passage.end(EndReason::IdleLimit);
                assert_eq!(
                    self.passage.ending(),
                    Some(EndReason::PolicyChanged),
                    "the first reason stays"
                );
            }
        }
        if self.passage.is_quiet() {
            self.seen.push("quiet");
        }
    }

    pub(super) fn client(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            if self.over {
                return;
            }
            let ending = self.passage.ending().is_some();
            let verdict = self.passage.handle_client(self.now, piece);
            assert_eq!(
                ending,
                verdict == Verdict::Drop,
                "nothing is dropped but while ending, and then all"
            );
            match verdict {
                Verdict::Forward => {
                    self.to_server.extend_from_slice(piece);
                    self.seen.push("relayed from the client");
                }
                Verdict::Drop => self.seen.push("dropped while ending"),
                Verdict::Violation { legal, .. } => {
                    self.to_server.extend_from_slice(&piece[..legal]);
                    self.stop("violation of the client");
                }
                Verdict::ForwardAndEnd(_) | Verdict::ForwardAndNotify(_) => {
                    panic!("only the server's side ends at a boundary")
                }
                Verdict::Refuse => panic!("no proof has ended"),
            }
        }
        assert_eq!(self.passage.bytes_from_client, self.to_server.len() as u64);
        ends_in(&self.to_server, &TagSet::FRONTEND_IN_RELAY);
    }

    pub(super) fn server(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            if self.over {
                return;
            }
            let started = self.to_client.len();
            match self.passage.handle_server(self.now, piece) {
                Verdict::Forward => {
                    self.to_client.extend_from_slice(piece);
                    self.seen.push("relayed from the server");
                }
                Verdict::ForwardAndEnd(length) => {
                    self.to_client.extend_from_slice(&piece[..length]);
                    let end = ends_in(&self.to_client, &TagSet::BACKEND_IN_RELAY);
                    assert!(end != Place::Body, "the session ends inside a message");
                    self.stop(if self.to_client.len() == started {
                        "ended at a boundary"
                    } else {
                        "ended behind a message"
                    });
                }
                Verdict::Violation { legal, .. } => {
                    self.to_client.extend_from_slice(&piece[..legal]);
                    self.stop("violation of the server");
                }
                Verdict::Drop | Verdict::Refuse => panic!("the server's bytes are not dropped"),
                Verdict::ForwardAndNotify(_) => panic!("no proof ends"),
            }
        }
        assert_eq!(self.passage.bytes_from_server, self.to_client.len() as u64);
        let end = ends_in(&self.to_client, &TagSet::BACKEND_IN_RELAY);
        // Once it is over the follower must not be asked again.
        if !self.over {
            assert_eq!(self.passage.at_server_boundary(), end == Place::Boundary);
        }
    }

    fn stop(&mut self, how: &'static str) {
        self.over = true;
        self.seen.push(how);
    }

    fn mark(&self, marks: &mut Marks) {
        self.seen.iter().for_each(|name| marks.reach(name));
        if self.passage.is_terminating() {
            marks.reach("terminated");
        }
    }

    /// In pieces the first bytes of a header that turns out to be illegal have passed already.
    pub(super) fn assert_same(&self, split: &Self) {
        let early = if self.over { 0..5 } else { 0..1 };
        assert_same_stream(&self.to_server, &split.to_server, early.clone());
        assert_same_stream(&self.to_client, &split.to_client, early);
        assert_eq!((self.over, self.passage.ending()), (split.over, split.passage.ending()));
        assert_eq!(self.passage.is_terminating(), split.passage.is_terminating());
        if !self.over {
            assert_eq!(self.passage.counts, split.passage.counts);
            assert_eq!(self.passage.is_quiet(), split.passage.is_quiet());
        }
    }
}

fn assert_same_stream(whole: &[u8], split: &[u8], more: Range<usize>) {
    assert!(
        split.starts_with(whole),
        "{} and {}",
        whole.escape_ascii(),
        split.escape_ascii()
    );
    assert!(more.contains(&(split.len() - whole.len())));
}

fn message(tags: &[(u8, &str)], script: &mut Script<'_>) -> Vec<u8> {
    let (tag, _) = tags[usize::from(script.byte()) % tags.len()];
    let body = script.bytes();
    let body = if tag == b'Z' {
        &b"ITE"[..].split_at(usize::from(script.byte() % 3)).1[..1]
    } else {
        body
    };
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Boundary,
    Header,
    Body,
}

/// Reads a relayed stream the plain way, from its start: only legal messages, and where it ends.
fn ends_in(mut stream: &[u8], legal: &TagSet) -> Place {
    loop {
        let Some((tag, rest)) = stream.split_first() else {
            return Place::Boundary;
        };
        let Some(length) = rest.first_chunk::<4>() else {
            return Place::Header;
        };
        assert!(legal.contains(*tag), "an illegal message was let through");
        let length = u32::from_be_bytes(*length) as usize;
        assert!(length >= 4, "an illegal length was let through");
        let Some(behind) = rest.get(length..) else {
            return Place::Body;
        };
        stream = behind;
    }
}

fn generated() -> Vec<Entry> {
    use before::*;
    let query = [during::CLIENT_MESSAGE, place(&FRONTEND_IN_RELAY, b'Q'), 2, b'q', 0];
    let ready = [during::SERVER_MESSAGE, place(&BACKEND_IN_RELAY, b'Z'), 0, 0];
    let data = |tags: &[(u8, &str)], message| [message, place(tags, b'd'), 3, b'1', b'\t', b'x'];
    let copy_in = data(&FRONTEND_IN_RELAY, during::CLIENT_MESSAGE);
    let copy_out = data(&BACKEND_IN_RELAY, during::SERVER_MESSAGE);
    let goodbye = [during::CLIENT_MESSAGE, place(&FRONTEND_IN_RELAY, b'X'), 0];
    let half = [during::SERVER_BYTES, 7, b'd', 0, 0, 0, 8, b'a', b'b'];
    let in_relay = |events: &[&[u8]]| {
        let way = [7, 0, STARTUP, 0, PROVE, CONNECTED, GREETING];
        [&way[..], &events.concat()].concat()
    };
    let entries = [
        ("probe", vec![3, 0, CLIENT_CLOSES]),
        ("half-a-startup", vec![1, 0, CLIENT_BYTES, 3, 0, 0, 0, CLIENT_CLOSES]),
        ("silence", vec![3, 0, TIME, 0xff, 0xff]),
        ("cancel", vec![4, 0, CANCEL, 4, b'a', b'b', b'c', b'd', CANCEL_DONE]),
        (
            "cancel-long-key",
            [&[4, 0, SSL, CANCEL, 32][..], &[5; 32], &[TIME, 0xff, 0xff]].concat(),
        ),
        ("no-encryption", vec![2, 0, GSS, SSL, STARTUP, 0, PROVE]),
        ("asked-twice", vec![2, 0, SSL, SSL]),
        ("version-2", vec![2, 0, STARTUP, 0x0c]),
        ("version-3.2", vec![9, 0, STARTUP, 0x04, PROVE, CONNECTED, GREETING]),
        ("version-3.9999", vec![9, 0, STARTUP, 0x38, PROVE, CONNECTED, GREETING]),
        ("replication", vec![9, 0, STARTUP, 0x10, PROVE]),
        ("wrong-password", vec![5, 0, STARTUP, 0, PROVE_WRONG]),
        ("unknown-name", vec![5, 0, STARTUP, 1, PROVE]),
        ("other-database", vec![5, 0, STARTUP, 2, PROVE]),
        ("no-places", vec![5, 2, STARTUP, 0, PROVE]),
        ("no-record", vec![5, 0, STARTUP, 0, RECORD_BREAKS, PROVE]),
        (
            "next-candidate",
            vec![5, 1, STARTUP, 0, PROVE, UNREACHABLE, CONNECTED, GREETING],
        ),
        ("unreachable", vec![5, 0, STARTUP, 0, PROVE, UNREACHABLE]),
        (
            "closed-in-login",
            vec![5, 0, STARTUP, 0, PROVE, CONNECTED, CLIENT_CLOSES],
        ),
        (
            "server-garbage",
            vec![5, 0, STARTUP, 0, PROVE, CONNECTED, SERVER_BYTES, 5, b'?', 0, 0, 0, 4],
        ),
        (
            "swap-keeps",
            vec![5, 0, STARTUP, 0, PROVE, CONNECTED, SWAP, 1, GREETING],
        ),
        (
            "swap-takes",
            vec![5, 0, STARTUP, 0, PROVE, CONNECTED, SWAP, 0, GREETING],
        ),
        (
            "swap-untold-keeps",
            vec![5, 0, STARTUP, 0, PROVE, CONNECTED, SWAP, 3, GREETING],
        ),
        (
            "swap-untold-takes",
            vec![5, 0, STARTUP, 0, PROVE, CONNECTED, SWAP, 2, GREETING],
        ),
        (
            "early-query",
            [
                &[
                    5,
                    0,
                    STARTUP,
                    0,
                    PROVE,
                    CLIENT_BYTES,
                    6,
                    b'Q',
                    0,
                    0,
                    0,
                    5,
                    0,
                    CONNECTED,
                    GREETING,
                ][..],
                &ready,
            ]
            .concat(),
        ),
        ("queries", in_relay(&[&query, &ready, &query, &ready, &goodbye])),
        (
            "copy-both-ways",
            in_relay(&[&query, &copy_in, &copy_in, &copy_out, &copy_out, &ready]),
        ),
        (
            "client-violates",
            in_relay(&[&query, &[during::CLIENT_BYTES, 5, b'p', 0, 0, 0, 4]]),
        ),
        (
            "server-violates",
            in_relay(&[&query, &[during::SERVER_BYTES, 5, b'R', 0, 0, 0, 3]]),
        ),
        (
            "ended-quiet",
            in_relay(&[&query, &ready, &[during::END], &query, &ready]),
        ),
        (
            "ended-in-a-message",
            in_relay(&[&query, &half, &[during::END], &copy_in, &half]),
        ),
    ];
    entries.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

fn place(tags: &[(u8, &str)], tag: u8) -> u8 {
    let place = tags.iter().position(|(other, _)| *other == tag);
    place.expect("a tag of the relay") as u8
}
