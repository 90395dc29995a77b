//! One try at a policy: from a directory to something that can be put in force, or to everything that is wrong with it.
//!
//! Reads files, compiles and checks: seconds for a large policy, so it runs on control's own worker and never on a core.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use postern_policy::compile::compile;
use postern_policy::fault::{Fault, Faults};
use postern_policy::model::Model;
use postern_policy::snapshot::{Snapshot, SnapshotFault};
use postern_policy::text::{ReferencedFiles, SourceFile, parse};

use super::background::unnoticed;
use super::directory::{self, Contents, DirectoryFault, TextFile};
use super::sealed::{SealError, Sealed};
use super::secret_file::{read_certificate, read_secret};
use crate::in_force::{InForce, NotInForce};

/// A policy of this size takes so long that the cores would feel it, bytes.
const LARGE: u64 = 32 * 1024 * 1024;

/// What came of it, and which files beside the directory it depends on, good or bad.
pub struct Attempt {
    pub outcome: Result<InForce, LoadFault>,
    pub referenced: BTreeSet<PathBuf>,
}

/// Why a directory did not become a policy. The one in force is not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    #[error(transparent)]
    Directory(#[from] DirectoryFault),
    #[error(transparent)]
    Text(#[from] Faults),
    #[error("{name}: {fault}")]
    Snapshot { name: String, fault: SnapshotFault },
    #[error("compiled policy: {0}")]
    Compiled(#[from] SnapshotFault),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Trust(#[from] NotInForce),
}

impl LoadFault {
    /// One by one, with their places as far as there are any.
    pub fn faults(&self, directory: &Path) -> Faults {
        let whole = |message: String| Fault::of_file(directory.display().to_string(), message).into();
        match self {
            Self::Text(faults) => faults.clone(),
            Self::Snapshot { name, fault } => Fault::of_file(name.clone(), fault.to_string()).into(),
            Self::Directory(fault) => whole(fault.to_string()),
            Self::Compiled(fault) => whole(fault.to_string()),
            Self::Seal(fault) => whole(fault.to_string()),
            Self::Trust(fault) => whole(fault.to_string()),
        }
    }
}

/// Whether password and key files are looked at while the text is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secrets {
    /// Serving: a missing secret makes its role unusable and rejects no policy.
    Later,
    /// `postern check`: each must be there and usable; relative to this directory.
    Check(PathBuf),
}

/// Tries the directory as it is now.
pub fn attempt(directory: &Path, generation: u64) -> Attempt {
    let small = directory::size(directory) < LARGE;
    let directory = directory.to_owned();
    let attempt = move || {
        let files = Files::new(&directory, Secrets::Later);
        Attempt {
            outcome: in_force(&directory, &files, generation),
            referenced: files.referenced(),
        }
    };
    if small { attempt() } else { unnoticed(attempt) }
}

/// The model of a directory, for the commands. Of a snapshot as well.
pub fn model(directory: &Path, secrets: Secrets) -> Result<Model, LoadFault> {
    let files = Files::new(directory, secrets);
    match directory::read(directory)? {
        Contents::Text(texts) => Ok(parse(&sources(texts), &files)?),
        Contents::Snapshot { name, bytes } => {
            let fault = |fault| LoadFault::Snapshot {
                name: name.clone(),
                fault,
            };
            Snapshot::load(Box::new(bytes), 0)
                .map_err(fault)?
                .model()
                .map_err(fault)
        }
    }
}

fn in_force(directory: &Path, files: &Files, generation: u64) -> Result<InForce, LoadFault> {
    let snapshot = match directory::read(directory)? {
        Contents::Text(texts) => {
            let model = parse(&sources(texts), files)?;
            let bytes = compile(&model).map_err(SnapshotFault::from)?;
            Snapshot::load(Box::new(Sealed::copy_of(bytes.as_slice())?), generation)?
        }
        Contents::Snapshot { name, bytes } => {
            Snapshot::load(Box::new(bytes), generation).map_err(|fault| LoadFault::Snapshot { name, fault })?
        }
    };
    Ok(InForce::new(snapshot)?)
}

fn sources(texts: Vec<TextFile>) -> Vec<SourceFile> {
    texts
        .into_iter()
        .map(|file| SourceFile {
            name: file.name,
            text: file.text,
        })
        .collect()
}

/// The files that the text names, and which of them were asked for.
struct Files {
    directory: PathBuf,
    secrets: Secrets,
    asked: Mutex<BTreeSet<PathBuf>>,
}

impl Files {
    fn new(directory: &Path, secrets: Secrets) -> Self {
        Self {
            directory: directory.to_owned(),
            secrets,
            asked: Mutex::default(),
        }
    }

    fn referenced(&self) -> BTreeSet<PathBuf> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ReferencedFiles for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let path = self.directory.join(path);
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.clone());
        directory::read_referenced(&path).map_err(|fault| fault.to_string())
    }

    fn check_secret(&self, path: &str) -> Result<(), String> {
        let Secrets::Check(base) = &self.secrets else {
            return Ok(());
        };
        let path = base.join(path);
        match read_secret(&path).map(drop) {
            Ok(()) => Ok(()),
            // A certificate stands among the secrets of a role and is none.
            Err(_) if is_certificate(&path) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        }
    }
}

/// A certificate and nothing but: a key beside it makes a file a secret.
fn is_certificate(path: &Path) -> bool {
    let has = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    read_certificate(path).is_ok_and(|bytes| has(&bytes, b"BEGIN CERTIFICATE") && !has(&bytes, b"PRIVATE KEY"))
}
