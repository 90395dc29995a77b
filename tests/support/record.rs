//! The record as a reader finds it: one JSON object for each line.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::place::{text_of, wait_for};

pub struct Reader(pub PathBuf);

/// The whole record is written within this time after what it tells.
const SOON: Duration = Duration::from_secs(5);

impl Reader {
    pub fn lines(&self) -> Vec<Value> {
        let text = text_of(&self.0);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the record: {line}")))
            .collect()
    }

    pub fn events(&self, event: &str) -> Vec<Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["event"] == event);
        lines
    }

    /// The newest attempt that is no probe; waits for it.
    pub fn attempt_with(&self, member: &str, value: &str) -> Value {
        self.attempt_where(&format!("an attempt with {member} {value}"), |line| {
            at(line, member) == value
        })
    }

    pub fn attempt_where(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, SOON, || {
            self.events("attempt").into_iter().rev().find(|line| is_it(line))
        })
    }

    pub fn end_of(&self, session: &str) -> Value {
        wait_for(&format!("the end of {session}"), SOON, || {
            self.events("end").into_iter().find(|line| line["session"] == session)
        })
    }

    pub fn wait_for_event(&self, event: &str) -> Value {
        wait_for(event, SOON, || self.events(event).pop())
    }
}

/// `asked.user` and the like; empty where there is nothing.
pub fn at(line: &Value, member: &str) -> String {
    let found = member.split('.').fold(line, |value, key| &value[key]);
    match found {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
