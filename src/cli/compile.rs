//! `postern compile`: a directory in, one snapshot file out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use postern_policy::compile::compile;
use postern_policy::snapshot::{HeapBytes, Snapshot};

use super::arguments::Compile;
use super::{Exit, Terminal, say};
use crate::control::keeper::hex;
use crate::control::load::{self, Secrets};

pub fn run(arguments: &Compile, terminal: &mut Terminal<'_>) -> Exit {
    let model = match load::model(&arguments.directory, Secrets::Later) {
        Ok(model) => model,
        Err(fault) => {
            return say(
                terminal.err,
                Exit::BadInput,
                format_args!("{}", fault.faults(&arguments.directory)),
            );
        }
    };
    let bytes = match compile(&model) {
        Ok(bytes) => bytes,
        Err(fault) => return say(terminal.err, Exit::BadInput, format_args!("{fault}")),
    };
    // What a gate would refuse is not written.
    let snapshot = match Snapshot::load(Box::new(HeapBytes::copy_of(&bytes)), 0) {
        Ok(snapshot) => snapshot,
        Err(fault) => {
            return say(
                terminal.err,
                Exit::Internal,
                format_args!("what was compiled cannot be read back: {fault}"),
            );
        }
    };
    if let Err(error) = replace(&arguments.output, &bytes) {
        return say(
            terminal.err,
            Exit::CannotWrite,
            format_args!("{}: {error}", arguments.output.display()),
        );
    }
    let (length, identities) = (bytes.len(), snapshot.identity_count());
    let (file, hash) = (arguments.output.display(), hex(snapshot.hash()));
    say(
        terminal.out,
        Exit::Ok,
        format_args!("{file}: {length} bytes, {identities} identities, hash {hash}"),
    )
}

/// Writes beside the file and renames over it: whoever watches it sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    // Hidden, so that a gate that watches the directory does not take it for a policy.
    let fresh = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = write_synced(&fresh, bytes).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() && fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    written
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
