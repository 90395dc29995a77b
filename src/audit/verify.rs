//! Reads a record back and says whether it is whole: lines, torn ones, and one attempt and at most one end for each session.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::fields::{FIELDS, paths};
use super::reason::{EndReason, Outcome, Reason};

/// Sessions and lines named in a report, of each kind; the rest is only counted.
const NAMED: usize = 20;

/// What a record was found to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub files: u64,
    pub lines: u64,
    /// Lines by event.
    pub events: BTreeMap<String, u64>,
    /// Permitted attempts without an end: living sessions, or ends that a kill took.
    pub open: u64,
    /// Ends whose attempt is in none of the files: it was in an older one.
    pub ends_without_attempt: u64,
    /// Torn lines that `audit.torn_tail` tells of.
    pub told_tears: u64,
    /// Bytes behind the last line feed of each file, added up: a writer that was killed, or one that is writing.
    pub torn_tail: u64,
    /// Records that the writer says are lost.
    pub dropped: u64,
    /// Attempts that were counted in an aggregate.
    pub aggregated: u64,
    /// Members and names that this version does not know, with how often they came.
    pub unknown: BTreeMap<String, u64>,
    /// What must not be, in words; the first few of each kind.
    pub faults: Vec<String>,
    /// How many there are in all.
    pub fault_count: u64,
}

impl Report {
    /// Nothing in it that must not be. A torn tail, drops and unknown members are told, and are no faults.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} lines in {} files", self.lines, self.files)?;
        for (event, count) in &self.events {
            writeln!(f, "  {event}: {count}")?;
        }
        let notes = [
            (self.open, "permitted attempts without an end (living, or killed)"),
            (self.ends_without_attempt, "ends whose attempt is not in these files"),
            (self.told_tears, "torn lines, told by audit.torn_tail"),
            (self.torn_tail, "bytes of a torn last line"),
            (self.dropped, "records dropped, as the writer says"),
            (self.aggregated, "attempts counted in aggregates"),
        ];
        for (count, what) in notes.iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "{count} {what}")?;
        }
        for (name, count) in &self.unknown {
            writeln!(f, "unknown to this version: {name} ({count} times)")?;
        }
        for fault in &self.faults {
            writeln!(f, "fault: {fault}")?;
        }
        match self.fault_count {
            0 => write!(f, "sound"),
            count => write!(f, "not sound: {count} faults"),
        }
    }
}

/// Reads whole files, in this order: the oldest first.
///
/// # Errors
/// Where one cannot be read.
pub fn verify_files<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> io::Result<Report> {
    let mut verification = Verification::default();
    for path in files {
        let path = path.as_ref();
        verification.read(&path.display().to_string(), BufReader::new(File::open(path)?))?;
    }
    Ok(verification.finish())
}

/// A verification that is under way.
#[derive(Default)]
pub struct Verification {
    report: Report,
    sessions: HashMap<String, Session>,
    faults_by_kind: HashMap<&'static str, usize>,
    /// The last line, where it was torn and nothing has told of it yet: where it is, and its bytes.
    torn: Option<(String, u64)>,
}

#[derive(Default)]
struct Session {
    attempts: u32,
    permitted: bool,
    ends: u32,
}

impl Verification {
    /// Reads one file of the record. `name` is what the report calls it.
    ///
    /// # Errors
    /// Where `input` cannot be read.
    pub fn read(&mut self, name: &str, mut input: impl BufRead) -> io::Result<()> {
        self.report.files += 1;
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let place = format!("{name}:{number}");
            match line.strip_suffix(b"\n") {
                Some(line) => self.read_line(&place, line),
                None => self.report.torn_tail += line.len() as u64,
            }
        }
        self.tear_untold();
        Ok(())
    }

    /// The whole report, once all files are read.
    pub fn finish(mut self) -> Report {
        let mut sessions: Vec<(String, Session)> = self.sessions.drain().collect();
        sessions.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (id, session) in &sessions {
            self.judge(id, session);
        }
        self.report
    }

    fn read_line(&mut self, place: &str, line: &[u8]) {
        self.report.lines += 1;
        let value: Value = match serde_json::from_slice(line) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) | Err(_) => {
                self.tear_untold();
                self.torn = Some((place.to_owned(), line.len() as u64));
                return;
            }
        };
        let event = value["event"].as_str().unwrap_or_default();
        if let Some((torn_at, bytes)) = self.torn.take() {
            if event == "audit.torn_tail" && value["bytes"] == bytes {
                self.report.told_tears += 1;
            } else {
                self.fault_of_tear(&torn_at);
            }
        }
        *self.report.events.entry(event.to_owned()).or_default() += 1;
        self.note_unknown(event, &value);
        self.count(place, event, &value);
    }

    fn count(&mut self, place: &str, event: &str, value: &Value) {
        let number = |key: &str| value[key].as_u64().unwrap_or_default();
        match event {
            "attempt" | "end" => self.count_session(place, event, value),
            "audit.dropped" => self.report.dropped += number("permits") + number("ends") + number("others"),
            "attempts.aggregated" => self.report.aggregated += number("attempts"),
            _ => {}
        }
    }

    fn count_session(&mut self, place: &str, event: &str, value: &Value) {
        let Some(id) = value["session"].as_str() else {
            return self.fault("no session", format!("{place} names no session"));
        };
        let session = self.sessions.entry(id.to_owned()).or_default();
        if event == "end" {
            session.ends += 1;
            return;
        }
        session.attempts += 1;
        session.permitted |= value["outcome"] == Outcome::Permitted.as_str();
        if session.ends > 0 {
            self.fault("order", format!("{place}: session {id} ended before its attempt"));
        }
    }

    fn judge(&mut self, id: &str, session: &Session) {
        match (session.attempts, session.ends) {
            (0, _) => self.report.ends_without_attempt += 1,
            (1, 0) => self.report.open += u64::from(session.permitted),
            (1, _) if !session.permitted => {
                self.fault(
                    "not permitted",
                    format!("session {id} has an end and was not permitted"),
                );
            }
            (1, _) => {}
            (attempts, _) => self.fault("attempts", format!("session {id} has {attempts} attempts")),
        }
        if session.ends > 1 {
            self.fault("ends", format!("session {id} has {} ends", session.ends));
        }
    }

    fn note_unknown(&mut self, event: &str, value: &Value) {
        let Some((_, known)) = FIELDS.iter().find(|(name, _)| *name == event) else {
            return self.unknown(format!("event {event:?}"));
        };
        let mut unknown = Vec::new();
        paths(value, &mut |path| {
            let of_any_key = path
                .rsplit_once('.')
                .map(|(start, _)| format!("{start}.*"))
                .unwrap_or_default();
            if !known.iter().any(|known| *known == path || *known == of_any_key) {
                unknown.push(format!("{event}: {path:?}"));
            }
        });
        let closed = [
            (
                "outcome",
                value["outcome"]
                    .as_str()
                    .is_none_or(|name| Outcome::from_name(name).is_some()),
            ),
            (
                "reason",
                value["reason"]
                    .as_str()
                    .is_none_or(|name| Reason::from_name(name).is_some()),
            ),
            (
                "how",
                value["how"]
                    .as_str()
                    .is_none_or(|name| EndReason::from_name(name).is_some()),
            ),
        ];
        unknown.extend(
            closed
                .iter()
                .filter(|(_, known)| !known)
                .map(|(key, _)| format!("{event}: {key} {}", value[key])),
        );
        unknown.into_iter().for_each(|name| self.unknown(name));
    }

    fn unknown(&mut self, name: String) {
        *self.report.unknown.entry(name).or_default() += 1;
    }

    fn tear_untold(&mut self) {
        if let Some((place, _)) = self.torn.take() {
            self.fault_of_tear(&place);
        }
    }

    fn fault_of_tear(&mut self, place: &str) {
        self.fault(
            "torn line",
            format!("{place} is no whole line, and nothing tells of it"),
        );
    }

    fn fault(&mut self, kind: &'static str, message: String) {
        self.report.fault_count += 1;
        let of_kind = self.faults_by_kind.entry(kind).or_default();
        *of_kind += 1;
        if *of_kind <= NAMED {
            self.report.faults.push(message);
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
