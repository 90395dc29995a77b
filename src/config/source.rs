//! The text of a configuration while it is read, and what was found wrong with it so far.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use postern_policy::fault::{Fault, Faults};

/// The text that is read, and what was found wrong with it.
pub struct Source<'a> {
    name: &'a str,
    text: &'a str,
    /// What relative paths are relative to.
    directory: &'a Path,
    faults: Vec<Fault>,
    /// Every key that was asked for (`server.cores`).
    asked: BTreeSet<String>,
}

impl<'a> Source<'a> {
    pub fn new(name: &'a str, text: &'a str, directory: &'a Path) -> Self {
        Self {
            name,
            text,
            directory,
            faults: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    pub fn fault(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(Fault::in_source(self.name, self.text, span, message));
    }

    pub fn fault_of_file(&mut self, message: impl Into<String>) {
        self.faults.push(Fault::of_file(self.name, message));
    }

    /// A path of the text, whole.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// Notes that reading has asked for a key.
    pub fn note_key(&mut self, table: &str, key: &str) {
        self.asked.insert(format!("{table}.{key}"));
    }

    pub fn into_faults(self) -> Faults {
        Faults::new(self.faults)
    }

    /// Every key that reading has asked for, whether the text has it or not.
    #[cfg(test)]
    pub fn asked(&self) -> &BTreeSet<String> {
        &self.asked
    }
}
