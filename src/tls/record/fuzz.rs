//! Fuzz bodies: any bytes in, and the invariants of the link must hold. Run as plain functions by tests, over scripts at
//! random and from a corpus.
//!
//! The bytes are a script for a peer that holds the right keys: so the states behind the cipher are reached, which
//! random records never would. What each run saw comes back as [`Marks`].

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_policy::model::{ServerTls, ServerTlsMode};
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::key::MAX_PLAINTEXT;
use super::{ContentType, Link, Opened, Reading, RecordAssembler, RecordKey, Schedule};
use crate::tls::{Handshake, ListenerTls, MAX_RECORD, TlsError, UpstreamTls, Version, Violation};

/// What a run went through. A fuzzing session that never sees some of these is not testing what it should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(pub u32);

impl Marks {
    pub const DATA: Marks = Marks(1);
    pub const KEY_UPDATE: Marks = Marks(1 << 1);
    pub const CLOSED: Marks = Marks(1 << 2);
    pub const PEER_ALERT: Marks = Marks(1 << 3);
    pub const VIOLATION: Marks = Marks(1 << 4);
    pub const DECRYPT_FAILED: Marks = Marks(1 << 5);
    pub const ASSEMBLED: Marks = Marks(1 << 6);
    pub const ANSWERED: Marks = Marks(1 << 7);
    pub const SPLIT_MESSAGE: Marks = Marks(1 << 8);
    pub const ESTABLISHED: Marks = Marks(1 << 9);
    pub const HANDSHAKE_REFUSED: Marks = Marks(1 << 10);
    pub const PADDED: Marks = Marks(1 << 11);

    /// What [`fuzz_record`] can reach.
    pub const OF_RECORDS: Marks = Marks(((1 << 9) - 1) | (1 << 11));
    /// What [`fuzz_handshake`] can reach.
    pub const OF_HANDSHAKES: Marks = Marks(1 << 9 | 1 << 10);

    /// What the bits mean, lowest first.
    pub const NAMES: [&'static str; 12] = [
        "data",
        "data behind a key update",
        "closed",
        "alert of the peer",
        "violation",
        "decryption failed",
        "assembled",
        "answered",
        "split message",
        "established",
        "handshake refused",
        "padded",
    ];

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..)
            .zip(Self::NAMES)
            .filter_map(move |(bit, name)| (self.0 >> bit & 1 == 1).then_some(name))
    }

    pub fn add(&mut self, other: Marks) {
        self.0 |= other.0;
    }
}

/// Plays `data` as a script against one end of an established link.
///
/// # Panics
/// When an invariant does not hold: that is the find.
pub fn fuzz_record(listener: &Arc<ListenerTls>, data: &[u8]) -> Marks {
    let mut script = Script(data);
    let setup = script.byte();
    let (server, client) = match setup & 1 {
        0 => (
            fixed_link(1, 2, Schedule::Server(None)),
            fixed_link(2, 1, Schedule::Client(None)),
        ),
        _ => shake(listener, |_| {}).unwrap_or_else(|error| panic!("two good ends: {error}")),
    };
    let (peer, link) = if setup & 2 == 0 {
        (client, server)
    } else {
        (server, client)
    };
    let mut game = Game::new(peer, link);
    while !script.0.is_empty() {
        game.act(&mut script);
    }
    game.deliver(usize::MAX);
    if !game.spoiled && game.link.reading == Reading::Open {
        assert_eq!(game.got, game.sent, "plaintext was lost");
        assert!(!game.illegal, "what must end the connection was taken");
    }
    game.marks
}

/// Spoils the bytes of a handshake between two good ends, as `data` says.
///
/// # Panics
/// When an invariant does not hold: that is the find.
pub fn fuzz_handshake(listener: &Arc<ListenerTls>, data: &[u8]) -> Marks {
    let mut script = Script(data);
    let mut marks = Marks(0);
    let outcome = shake(listener, |flight| spoil(flight, &mut script));
    marks.add(match outcome {
        Ok(_) => Marks::ESTABLISHED,
        Err(_) => Marks::HANDSHAKE_REFUSED,
    });
    marks
}

/// Up to four edits of one flight: a flipped bit, a cut, bytes put in, bytes said twice.
fn spoil(flight: &mut Vec<u8>, script: &mut Script<'_>) {
    for _ in 0..script.byte() % 5 {
        if flight.is_empty() {
            return;
        }
        let at = script.number() % flight.len();
        match script.byte() % 4 {
            0 => flight[at] ^= 1 << (script.byte() % 8),
            1 => flight.truncate(at),
            2 => {
                let extra = script.bytes(9).to_vec();
                flight.splice(at..at, extra);
            }
            _ => {
                let again = flight[at..].to_vec();
                flight.extend(again);
            }
        }
    }
}

/// Both ends of a handshake, with `change` between them, which may spoil each flight.
fn shake(listener: &Arc<ListenerTls>, mut change: impl FnMut(&mut Vec<u8>)) -> Result<(Link, Link), TlsError> {
    let tls = ServerTls {
        mode: ServerTlsMode::Require,
        ..ServerTls::default()
    };
    let upstream = UpstreamTls::new(&tls, None).map_err(|error| TlsError::Internal(error.to_string().into()))?;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut server = Handshake::server(listener, true)?;
    let mut client = Handshake::client(&upstream, "db.example", &mut to_server)?;
    let (mut server_link, mut client_link): (Option<Link>, Option<Link>) = (None, None);
    for _ in 0..8 {
        change(&mut to_server);
        let input = core::mem::take(&mut to_server);
        if server_link.is_none() {
            let progress = server.handle(&input, &mut to_client)?;
            assert!(progress.consumed <= input.len());
            server_link = progress.established.map(|established| *established.link);
        }
        change(&mut to_client);
        let mut input = core::mem::take(&mut to_client);
        let mut at = 0;
        if client_link.is_none() {
            let progress = client.handle(&input, &mut to_server)?;
            at = progress.consumed;
            client_link = progress.established.map(|established| *established.link);
        }
        if let Some(link) = &mut client_link {
            while let Opened::Data { consumed, .. } | Opened::Control { consumed } = link.open(&mut input[at..])? {
                at += consumed;
            }
        }
        if let (Some(_), Some(_)) = (&server_link, &client_link) {
            break;
        }
    }
    match (server_link, client_link) {
        (Some(server), Some(client)) => Ok((server, client)),
        (None, _) | (_, None) => Err(TlsError::ClosedInHandshake),
    }
}

/// A TLS 1.2 link under keys that the other end has too.
fn fixed_link(tx: u8, rx: u8, schedule: Schedule) -> Link {
    let secrets = |byte| ConnectionTrafficSecrets::Aes256Gcm {
        key: AeadKey::from([byte; 32]),
        iv: Iv::copy(&[byte; 12]),
    };
    let secrets = ExtractedSecrets {
        tx: (1, secrets(tx)),
        rx: (1, secrets(rx)),
    };
    Link::new(Version::Tls12, secrets, schedule).unwrap_or_else(|error| panic!("fixed keys: {error}"))
}

/// One run: `peer` follows the script, `link` is what is tested.
struct Game {
    peer: Link,
    link: Link,
    /// Application data that the peer sealed, unspoiled.
    sent: Vec<u8>,
    /// Records on their way to the link.
    wire: Vec<u8>,
    /// What came out of the link.
    got: Vec<u8>,
    /// Something other than good records of the peer is on the wire.
    spoiled: bool,
    /// The peer has said nothing but data and KeyUpdates.
    lawful: bool,
    /// The peer has said what must end the connection.
    illegal: bool,
    /// The peer has changed its key.
    rolled: bool,
    /// Records that the link has sealed of one plaintext: under nonces that never repeat no two are equal.
    probes: BTreeSet<Vec<u8>>,
    marks: Marks,
}

impl Game {
    fn new(peer: Link, link: Link) -> Self {
        let (sent, wire, got) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            peer,
            link,
            sent,
            wire,
            got,
            spoiled: false,
            lawful: true,
            illegal: false,
            rolled: false,
            probes: BTreeSet::new(),
            marks: Marks(0),
        }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        match script.byte() % 11 {
            0 => {
                self.spoiled = true;
                self.wire.extend_from_slice(script.bytes(64));
            }
            1 => {
                let data = script.bytes(255);
                self.sent.extend_from_slice(data);
                self.say(ContentType::ApplicationData, data);
            }
            2 => {
                let data = script.bytes(255);
                self.sent.extend_from_slice(data);
                self.say_padded(data);
            }
            3 => {
                self.lawful = false;
                let content = [
                    ContentType::ChangeCipherSpec,
                    ContentType::Alert,
                    ContentType::Handshake,
                ];
                let content = content[usize::from(script.byte() % 3)];
                let bytes = script.bytes(16);
                self.say(content, bytes);
            }
            4 => self.key_update(script.byte()),
            5 => {
                if let Some(length) = self.wire.len().checked_sub(1) {
                    let at = script.number() % (length + 1);
                    self.wire[at] ^= 1 << (script.byte() % 8);
                    self.spoiled = true;
                }
            }
            6 => self.deliver(script.number() % 512),
            7 => {
                self.lawful = false;
                let descriptions = [0, 10, 20, 90, 100, 112];
                let description = descriptions[usize::from(script.byte()) % descriptions.len()];
                self.say(ContentType::Alert, &[script.byte() % 3, description]);
            }
            8 => self.answer(script),
            9 => self.say_about_the_longest(script.byte()),
            _ => self.key_update_and_more(script.bytes(16)),
        }
    }

    /// Seals under the peer's keys. (`append` fails only when the cipher does.)
    fn say(&mut self, content: ContentType, bytes: &[u8]) {
        self.peer
            .append(content, bytes, &mut self.wire)
            .unwrap_or_else(|error| panic!("sealing: {error}"));
    }

    /// Data with zeros behind it, as TLS 1.3 allows to hide its length (RFC 8446 5.4).
    fn say_padded(&mut self, data: &[u8]) {
        if self.peer.version() != Version::Tls13 {
            return self.say(ContentType::ApplicationData, data);
        }
        let inner = [data, &[ContentType::ApplicationData as u8], &[0; 9][..data.len() % 10]].concat();
        self.peer
            .write
            .append_inner(&inner, &mut self.wire)
            .unwrap_or_else(|error| panic!("sealing: {error}"));
        self.marks.add(Marks::PADDED);
    }

    /// A record of the longest plaintext, or a few bytes less or more.
    fn say_about_the_longest(&mut self, choice: u8) {
        let data = vec![choice; MAX_PLAINTEXT - 8 + usize::from(choice % 17)];
        if data.len() > MAX_PLAINTEXT {
            self.forbid();
        } else {
            self.sent.extend_from_slice(&data);
        }
        self.say(ContentType::ApplicationData, &data);
    }

    /// No message may stand behind a KeyUpdate in its record: it would lie around the change of keys.
    fn key_update_and_more(&mut self, more: &[u8]) {
        self.forbid();
        self.say(ContentType::Handshake, &[&[24, 0, 0, 1, 0], more, &[24]].concat());
    }

    fn forbid(&mut self) {
        self.lawful = false;
        self.illegal = true;
    }

    /// A KeyUpdate in one record or in two; lawful where there is such a thing.
    fn key_update(&mut self, choice: u8) {
        let message = [24, 0, 0, 1, choice & 1];
        let (first, second) = message.split_at(usize::from(choice >> 1) % message.len());
        if !first.is_empty() {
            self.say(ContentType::Handshake, first);
        }
        self.say(ContentType::Handshake, second);
        self.lawful &= self.link.version() == Version::Tls13;
        if let Ok(next) = self.peer.schedule.next_write() {
            self.peer.write = RecordKey::next(next).unwrap_or_else(|error| panic!("the next key: {error}"));
            self.rolled = true;
        }
    }

    /// Lets the link see the wire, cut at `cut`.
    fn deliver(&mut self, cut: usize) {
        let mut wire = core::mem::take(&mut self.wire);
        let mut rest = wire.split_off(cut.min(wire.len()));
        let mut outcome = self.open_all(&mut wire);
        if let Ok(left @ 1..) = outcome {
            outcome = self.assemble(&wire[wire.len() - left..], &mut rest);
        } else if outcome.is_ok() {
            outcome = self.open_all(&mut rest);
        }
        match outcome {
            Ok(left) => self.wire = rest.split_off(rest.len() - left.min(rest.len())),
            Err(error) => self.failed(&error),
        }
        if !self.link.partial.is_empty() {
            self.marks.add(Marks::SPLIT_MESSAGE);
        }
        if !self.spoiled {
            assert!(
                self.sent.starts_with(&self.got),
                "plaintext changed, or changed its order"
            );
        }
    }

    /// Opens whole records; gives how many bytes are left.
    fn open_all(&mut self, bytes: &mut [u8]) -> Result<usize, TlsError> {
        let mut at = 0;
        loop {
            let rest = &mut bytes[at..];
            let length = rest.len();
            let opened = self.link.open(rest)?;
            match opened {
                Opened::NeedMore { total } => {
                    assert!(total > length && total <= MAX_RECORD);
                    return Ok(length);
                }
                Opened::CloseNotify { consumed } => {
                    assert!(consumed <= length);
                    self.marks.add(Marks::CLOSED);
                    return Ok(0);
                }
                Opened::Data { plaintext, consumed } => {
                    assert!(!plaintext.is_empty() && plaintext.end <= consumed && consumed <= length);
                    assert!(
                        plaintext.len() <= MAX_PLAINTEXT,
                        "{} bytes of plaintext",
                        plaintext.len()
                    );
                    assert!(self.link.partial.is_empty(), "data inside of a handshake message");
                    self.got.extend_from_slice(&rest[plaintext]);
                    self.marks.add(if self.rolled && !self.spoiled {
                        Marks::KEY_UPDATE
                    } else {
                        Marks::DATA
                    });
                    at += consumed;
                }
                Opened::Control { consumed } => {
                    assert!((5..=length).contains(&consumed));
                    at += consumed;
                }
            }
        }
    }

    /// A record whose beginning is `head`; goes on with `rest` behind it. Gives how much of `rest` is left.
    fn assemble(&mut self, head: &[u8], rest: &mut Vec<u8>) -> Result<usize, TlsError> {
        let mut buffer = vec![0; MAX_RECORD];
        let mut assembler = RecordAssembler::default();
        let filled = assembler.fill(&mut buffer, head)?;
        assert_eq!((filled.taken, filled.record), (head.len(), None));
        let filled = assembler.fill(&mut buffer, rest)?;
        let Some(length) = filled.record else {
            rest.splice(0..0, head.iter().copied());
            return Ok(rest.len());
        };
        self.marks.add(Marks::ASSEMBLED);
        assert_eq!(self.open_all(&mut buffer[..length])?, 0);
        self.open_all(&mut rest[filled.taken..])
    }

    /// The link flushes what it owes and says something; a peer whose keys are right must understand it.
    fn answer(&mut self, script: &mut Script<'_>) {
        let owes = self.link.owes();
        let mut out = Vec::new();
        let flushed = self.link.flush_owed(&mut out);
        assert!(flushed.is_ok() && owes != out.is_empty() && out.len() < 256);
        if owes {
            self.marks.add(Marks::ANSWERED);
        }
        let data = script.bytes(255);
        let sealed = self.link.seal(data, &mut out);
        assert!(sealed.is_ok() || self.link.write_closed);
        let data = [data, self.probe(&mut out)].concat();
        let mut heard = Vec::new();
        let mut rest = out.as_mut_slice();
        while !rest.is_empty() {
            match self.peer.open(rest) {
                Ok(Opened::Data { plaintext, consumed }) => {
                    heard.extend_from_slice(&rest[plaintext]);
                    rest = &mut rest[consumed..];
                }
                Ok(Opened::Control { consumed } | Opened::CloseNotify { consumed }) => rest = &mut rest[consumed..],
                Ok(Opened::NeedMore { .. }) => panic!("half a record was sealed"),
                // Its own answers to a key update flood, or our fatal alert.
                Err(error) => {
                    assert!(
                        matches!(error, TlsError::AlertReceived(_) | TlsError::Violation(_)),
                        "{error}"
                    );
                    return;
                }
            }
        }
        assert!(sealed.is_err() || heard == data || self.peer.reading != Reading::Open);
    }

    /// The same plaintext twice; gives what the peer must hear of it.
    fn probe(&mut self, out: &mut Vec<u8>) -> &'static [u8] {
        if self.link.write_closed || self.link.owes() {
            return b"";
        }
        for _ in 0..2 {
            let start = out.len();
            assert!(self.link.seal(b"probe", out).is_ok());
            assert!(self.probes.insert(out[start..].to_vec()), "a nonce was used twice");
        }
        b"probeprobe"
    }

    fn failed(&mut self, error: &TlsError) {
        assert_eq!(self.link.open(&mut []).as_ref(), Err(error), "an error is final");
        assert!(self.link.partial.is_empty());
        self.marks.add(match error {
            TlsError::AlertReceived(_) => Marks::PEER_ALERT,
            TlsError::DecryptFailed => {
                assert!(self.spoiled, "a good record does not authenticate");
                Marks::DECRYPT_FAILED
            }
            TlsError::Violation(violation) => {
                let flood = matches!(violation, Violation::EmptyRecordFlood | Violation::KeyUpdateFlood);
                assert!(
                    self.spoiled || !self.lawful || flood,
                    "a lawful peer is refused: {violation}"
                );
                Marks::VIOLATION
            }
            other => panic!("no bytes of a peer may cause this: {other}"),
        });
    }
}

/// The rest of a script; it never ends badly, it only runs dry.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    /// As many bytes as the next one says, at most `most`.
    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = usize::from(self.byte()).min(most).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixtures::Authority;

    /// xorshift64*: the scripts are the same in every run.
    fn scripts(seed: u64, count: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut state = seed | 1;
        let mut next = move || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        (0..count).map(move |_| {
            let length = next() % 200 + 2;
            // Small numbers are frequent: scripts are made of choices and short lengths.
            (0..length)
                .map(|_| {
                    if next() % 4 == 0 {
                        (next() >> 32) as u8
                    } else {
                        (next() >> 32) as u8 % 24
                    }
                })
                .collect()
        })
    }

    #[test]
    fn random_scripts_reach_every_state_of_a_link() {
        let listener = Authority::new("ca").leaf(&["db.example"]).listener();
        let mut marks = Marks::default();
        for script in scripts(0x7075, 2_000) {
            marks.add(fuzz_record(&listener, &script));
        }
        assert_eq!(marks, Marks::OF_RECORDS);
    }

    #[test]
    fn spoiled_handshakes_end_one_way_or_the_other() {
        let listener = Authority::new("ca").leaf(&["db.example"]).listener();
        let mut marks = Marks::default();
        for script in scripts(0x6873, 2_000) {
            marks.add(fuzz_handshake(&listener, &script));
        }
        assert_eq!(marks, Marks::OF_HANDSHAKES);
    }

    /// Of scripts at random those that each add a mark to what others have reached.
    fn generated(seed: u64, wanted: Marks, run: impl Fn(&[u8]) -> Marks) -> Vec<postern_fuzzing::Entry> {
        let (mut marks, mut entries) = (Marks::default(), Vec::new());
        for script in scripts(seed, 2_000) {
            let before = marks;
            marks.add(run(&script));
            if marks != before {
                entries.push((format!("script-{}", entries.len()), script));
            }
        }
        assert_eq!(marks, wanted);
        entries
    }

    #[test]
    fn records_driven_from_the_corpus() {
        let listener = Authority::new("ca").leaf(&["db.example"]).listener();
        let names: Vec<_> = Marks::OF_RECORDS.names().collect();
        let generated = || generated(0x7075, Marks::OF_RECORDS, |script| fuzz_record(&listener, script));
        postern_fuzzing::drive("tls-record", &names, generated, |data, marks| {
            fuzz_record(&listener, data).names().for_each(|name| marks.reach(name));
        });
    }

    /// The bytes that are spoiled differ from run to run, as keys and certificates do: so the corpus has what does not depend
    /// on them, a handshake left alone and one cut off at its first byte.
    #[test]
    fn handshakes_driven_from_the_corpus() {
        let listener = Authority::new("ca").leaf(&["db.example"]).listener();
        let names: Vec<_> = Marks::OF_HANDSHAKES.names().collect();
        let generated = || vec![("whole".to_owned(), vec![0]), ("cut".to_owned(), vec![1, 0, 0, 1])];
        postern_fuzzing::drive("tls-handshake", &names, generated, |data, marks| {
            fuzz_handshake(&listener, data)
                .names()
                .for_each(|name| marks.reach(name));
        });
    }
}
