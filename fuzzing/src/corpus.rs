//! The corpora: `tests/corpus/<body>/`, a file for each entry.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Entry;

/// In the order of their names, so that a seed means the same on every file system.
pub fn read(body: &str) -> Vec<Entry> {
    let directory = directory(body);
    let listing = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut entries: Vec<Entry> = listing
        .map(|file| {
            let path = file
                .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
                .path();
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes,
            )
        })
        .collect();
    entries.sort();
    entries
}

/// Entries of other names, finds of earlier runs, stay.
pub fn write(body: &str, entries: &[Entry]) {
    let directory = directory(body);
    let written = fs::create_dir_all(&directory).and_then(|()| {
        entries
            .iter()
            .try_for_each(|(name, bytes)| fs::write(directory.join(name), bytes))
    });
    written.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn directory(body: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(body)
}
