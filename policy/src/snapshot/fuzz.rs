//! Fuzz body of the loader: edits of a real snapshot, with the hash made right again or not, driven from
//! `tests/corpus/snapshot`. Without a right hash nothing loads but the original; with it, what loads says and decides what a
//! policy compiled from its words does.

use core::net::Ipv4Addr;
use std::path::Path;

use postern_fuzzing::{Entry, Marks, RENEW, Script, drive};

use super::*;
use crate::authenticate::Source;
use crate::decide::{Facts, Permit, Proofs, Refusal, Replication};
use crate::model::NamePattern;
use crate::sample;
use crate::time::Utc;

const MARKS: [&str; 10] = [
    "loaded",
    "not a snapshot",
    "another version",
    "another length",
    "another hash",
    "broken layout",
    "reference astray",
    "out of order",
    "index disagrees",
    "against the rules",
];

/// The hash is what the original's was.
const UNSEALED: u8 = 0;
/// The header is made again for what the archive has become.
const SEALED: u8 = 1;
/// No edits: the input is the file.
const RAW: u8 = 2;

const FLIP: u8 = 0;
const ADD: u8 = 2;
const CUT: u8 = 4;

#[test]
fn driven_from_the_corpus() {
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(original_path(), compile(&sample::policy()).unwrap()).unwrap();
    }
    let original = std::fs::read(original_path()).unwrap();
    drive(
        "snapshot",
        &MARKS,
        || generated(&original),
        |input, marks| run(&original, input, marks),
    );
}

/// A file beside the corpus: certificates are made anew for each test process, and the places of edits must stay.
fn original_path() -> impl AsRef<Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/original.snapshot")
}

fn run(original: &[u8], input: &[u8], marks: &mut Marks) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    let (bytes, sealed) = match kind % 3 {
        UNSEALED => (edited(original, rest, 0), false),
        SEALED => (sealed_again(edited(original, rest, HEADER)), true),
        _raw => (rest.to_vec(), false),
    };
    match Snapshot::load(Box::new(HeapBytes::copy_of(&bytes)), 1) {
        Ok(snapshot) => {
            assert!(sealed || bytes == original, "an edit without a right hash was loaded");
            assert_sound(&snapshot);
            marks.reach("loaded");
        }
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            if let Some(mark) = mark(&fault) {
                marks.reach(mark);
            }
        }
    }
}

fn mark(fault: &SnapshotFault) -> Option<&'static str> {
    match fault {
        SnapshotFault::NotASnapshot => Some("not a snapshot"),
        SnapshotFault::Version(_) => Some("another version"),
        SnapshotFault::Length { .. } => Some("another length"),
        SnapshotFault::Hash => Some("another hash"),
        SnapshotFault::Layout(_) => Some("broken layout"),
        SnapshotFault::Inconsistent(Inconsistent::Astray(_)) => Some("reference astray"),
        SnapshotFault::Inconsistent(Inconsistent::Order(_)) => Some("out of order"),
        SnapshotFault::Inconsistent(Inconsistent::Index(_)) => Some("index disagrees"),
        SnapshotFault::Policy(_) => Some("against the rules"),
        SnapshotFault::Compile(_) => None,
        SnapshotFault::Misaligned => panic!("the bytes of `HeapBytes` are aligned"),
    }
}

/// Up to 16 edits, each an operation, a place and a value, behind the first `fixed` bytes.
fn edited(original: &[u8], edits: &[u8], fixed: usize) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let mut script = Script::new(edits);
    for _ in 0..16 {
        if script.is_empty() || bytes.len() <= fixed + 4 {
            break;
        }
        let (operation, place, value) = (script.byte(), usize::from(script.number()), script.byte());
        let within = bytes.len() - fixed - 4;
        let at = fixed + place % (within + 1);
        match operation % 5 {
            FLIP => bytes[at] ^= value,
            1 => bytes[at] = value,
            ADD => bytes[at] = bytes[at].wrapping_add(value),
            // Another number of the same archive, from nearby: a reference that leads somewhere else.
            3 => {
                let from = fixed + (at - fixed + 4 * usize::from(value)) % (within + 1);
                bytes.copy_within(from..from + 4, at);
            }
            _cut => bytes.truncate(at),
        }
    }
    bytes
}

fn sealed_again(mut bytes: Vec<u8>) -> Vec<u8> {
    let header = Header::of(bytes.get(HEADER..).unwrap_or_default()).encode();
    bytes[..HEADER].copy_from_slice(&header);
    bytes
}

/// Its words, compiled again, are the same policy, and it decides as that does.
fn assert_sound(snapshot: &Snapshot) {
    let model = snapshot.model().unwrap();
    let again = HeapBytes::copy_of(&compile(&model).unwrap());
    let again = Snapshot::load(Box::new(again), 1).unwrap();
    assert!(
        again.model().unwrap() == model,
        "compiled again, it says something else"
    );
    // Offsets of time zones are the compiler's own: only with equal ones must decisions be equal.
    if zones(snapshot) == zones(&again) {
        let words = Words::of(&model);
        assert_eq!(words.decisions(snapshot), words.decisions(&again));
    }
}

fn zones(snapshot: &Snapshot) -> Vec<(String, Vec<(i64, i64)>)> {
    let image = snapshot.image();
    let zones = image.zones.iter().map(|zone| {
        let transitions = image.transitions_of(zone).unwrap();
        let transitions = transitions
            .iter()
            .map(|one| (one.at.to_native(), one.offset.to_native()));
        (image.text(&zone.name).unwrap().to_owned(), transitions.collect())
    });
    zones.collect()
}

/// What may be asked of a policy.
struct Words {
    identities: Vec<String>,
    users: Vec<String>,
    databases: Vec<String>,
}

impl Words {
    fn of(model: &Model) -> Self {
        let patterns = model.grants.values().flat_map(|grant| &grant.databases);
        let patterns = patterns.chain(model.denies.values().flat_map(|deny| &deny.databases));
        let databases = patterns.flat_map(|pattern| match pattern {
            NamePattern::Exact(name) | NamePattern::Prefix(name) => vec![name.clone(), format!("{name}x")],
            NamePattern::Any => vec!["any".to_owned()],
        });
        let identities = model.identities.keys().cloned();
        let aliases = model
            .identities
            .values()
            .flat_map(|identity| identity.aliases.iter().cloned());
        let roles = model.grants.values().map(|grant| grant.role.clone());
        Self {
            users: identities.clone().chain(aliases).chain(roles).collect(),
            identities: identities.collect(),
            databases: databases.collect(),
        }
    }

    fn decisions(&self, snapshot: &Snapshot) -> Vec<Option<Result<Permit, Refusal>>> {
        let mut decisions = Vec::new();
        for name in &self.identities {
            let Some(identity) = snapshot.identity_by_name(name) else {
                decisions.push(None);
                continue;
            };
            for user in &self.users {
                for database in &self.databases {
                    for (source, replication) in [
                        (Source::Ip(Ipv4Addr::new(10, 1, 2, 3).into()), Replication::No),
                        (Source::Ip(Ipv4Addr::new(10, 66, 2, 3).into()), Replication::No),
                        (Source::Unix, Replication::Database),
                    ] {
                        let facts = Facts {
                            identity,
                            proofs: Proofs {
                                certificate: true,
                                scram: true,
                                ..Proofs::default()
                            },
                            subject: None,
                            groups: &[],
                            claims: &crate::attributes::NONE,
                            certificate: &crate::attributes::NONE,
                            token_age: None,
                            user,
                            database,
                            source,
                            replication,
                            now: Utc(1_800_000_000_000_000),
                        };
                        decisions.push(Some(snapshot.decide(&facts)));
                    }
                }
            }
        }
        decisions
    }
}

/// One entry for each mark: the original, broken headers, and for each fault of an archive the first flipped bit that has it.
fn generated(original: &[u8]) -> Vec<Entry> {
    let mut entries = vec![
        ("original".to_owned(), vec![UNSEALED]),
        ("no-magic".to_owned(), vec![UNSEALED, FLIP, 0, 0, 1]),
        ("version".to_owned(), vec![UNSEALED, FLIP, 0, 8, 1]),
        ("length".to_owned(), vec![UNSEALED, CUT, 1, 0, 0]),
        // The hash is right still: it is of the archive.
        ("length-says-less".to_owned(), vec![UNSEALED, ADD, 0, 17, 255]),
        ("length-says-more".to_owned(), vec![UNSEALED, ADD, 0, 17, 1]),
        ("hash".to_owned(), vec![UNSEALED, FLIP, 1, 0, 1]),
        ("empty".to_owned(), vec![RAW]),
    ];
    let mut found = std::collections::BTreeMap::new();
    for place in 0..(original.len() - HEADER - 4).min(usize::from(u16::MAX)) as u16 {
        let [high, low] = place.to_be_bytes();
        let input = vec![SEALED, FLIP, high, low, 1];
        let mut marks = Marks::default();
        run(original, &input, &mut marks);
        found.entry(marks.names().next()).or_insert(input);
    }
    entries.extend(
        found
            .into_iter()
            .filter_map(|(mark, input)| Some((mark?.replace(' ', "-"), input))),
    );
    entries
}
