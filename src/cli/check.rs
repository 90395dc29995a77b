//! `postern check`: everything that is wrong with a policy, and with what its roles may do where it is in force.

use super::arguments::Check;
use super::{Exit, Terminal, live, say};
use crate::control::load::{self, Secrets};
use crate::in_force::InForce;
use postern_policy::snapshot::Snapshot;

pub fn run(arguments: &Check, terminal: &mut Terminal<'_>) -> Exit {
    let secrets = arguments.secrets.as_ref().unwrap_or(&arguments.directory);
    // A relative path in a policy is relative to its directory wherever the command is started.
    let secrets = std::path::absolute(secrets).unwrap_or_else(|_| secrets.clone());
    let model = match load::model(&arguments.directory, Secrets::Check(secrets.clone())) {
        Ok(model) => model,
        Err(fault) => {
            return say(
                terminal.err,
                Exit::Found,
                format_args!("{}", fault.faults(&arguments.directory)),
            );
        }
    };
    let snapshot = match Snapshot::of(&model, 0) {
        Ok(snapshot) => snapshot,
        Err(fault) => return say(terminal.err, Exit::Found, format_args!("error: {fault}")),
    };
    if let Err(fault) = InForce::new(snapshot) {
        return say(terminal.err, Exit::Found, format_args!("error: {fault}"));
    }
    match arguments.live {
        true => live::run(&model, secrets, terminal),
        false => Exit::Ok,
    }
}
