//! `postern audit verify`: whether a record is whole.

use super::arguments::{Audit, AuditCommand, AuditVerify};
use super::{Exit, Terminal, say};
use crate::audit::verify_files;

pub fn run(arguments: &Audit, terminal: &mut Terminal<'_>) -> Exit {
    match &arguments.command {
        AuditCommand::Verify(verify) => run_verify(verify, terminal),
    }
}

fn run_verify(arguments: &AuditVerify, terminal: &mut Terminal<'_>) -> Exit {
    match verify_files(&arguments.files) {
        Ok(report) => {
            let exit = if report.is_sound() { Exit::Ok } else { Exit::Found };
            say(terminal.out, exit, format_args!("{report}"))
        }
        Err(error) => say(
            terminal.err,
            Exit::BadInput,
            format_args!("the record cannot be read: {error}"),
        ),
    }
}
