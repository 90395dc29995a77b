//! The policies that people read, read by the program: examples, documentation, and whatever anybody may write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use postern_policy::check::check;
use postern_policy::compile::compile;
use postern_policy::fault::Faults;
use postern_policy::model::Model;
use postern_policy::text::{ReferencedFiles, SourceFile, parse};

mod documentation;
mod examples;
mod properties;

/// Referenced files of one directory.
pub struct Directory(pub PathBuf);

impl ReferencedFiles for Directory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }
}

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The files of an example by name.
pub fn sources(directory: &Path) -> Vec<SourceFile> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("an example") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).expect("a readable file"));
        }
    }
    files
        .into_iter()
        .map(|(name, bytes)| SourceFile::from_bytes(name, bytes).expect("UTF-8"))
        .collect()
}

pub fn parse_one(text: &str, directory: &Path) -> Result<Model, Faults> {
    parse(
        &[SourceFile {
            name: "policy.toml".to_owned(),
            text: text.to_owned(),
        }],
        &Directory(directory.to_owned()),
    )
}

/// A model that was read keeps the rules, also when it is loaded from a snapshot.
pub fn assert_sound(model: &Model) {
    assert_eq!(check(model), Vec::new());
    compile(model).expect("a snapshot");
}
