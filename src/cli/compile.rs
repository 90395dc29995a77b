//! `postern compile`: a directory in, one snapshot file out.

use postern_policy::compile::compile;
use postern_policy::snapshot::{HeapBytes, Snapshot};

use super::arguments::Compile;
use super::whole_file::{Existing, write};
use super::{Exit, Terminal, say};
use crate::control::keeper::hex;
use crate::control::load::{self, Secrets};
use crate::in_force::InForce;

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
    let (identities, hash) = (snapshot.identity_count(), hex(snapshot.hash()));
    if let Err(fault) = InForce::new(snapshot) {
        return say(terminal.err, Exit::BadInput, format_args!("error: {fault}"));
    }
    if let Err(error) = write(&arguments.output, &bytes, 0o644, Existing::Replace) {
        return say(
            terminal.err,
            Exit::CannotWrite,
            format_args!("{}: {error}", arguments.output.display()),
        );
    }
    let (file, length) = (arguments.output.display(), bytes.len());
    say(
        terminal.out,
        Exit::Ok,
        format_args!("{file}: {length} bytes, {identities} identities, hash {hash}"),
    )
}
