//! `postern verifier`: a password in, a SCRAM verifier out.

use std::io::{BufRead, Read};

use super::arguments::Verifier;
use super::{Exit, Terminal, say};
use crate::identity::scram::verifier;
use crate::secret::Secret;

/// PostgreSQL's salt length, bytes.
const SALT: usize = 16;
/// PostgreSQL's own bound on a password message, bytes.
const MAX_PASSWORD: u64 = 64 * 1024;

pub fn run(arguments: &Verifier, input: &mut dyn BufRead, terminal: &mut Terminal<'_>) -> Exit {
    let password = match read_password(input) {
        Ok(password) => password,
        Err(error) => return say(terminal.err, Exit::BadInput, format_args!("standard input: {error}")),
    };
    match password.expose() {
        [] => {
            return say(
                terminal.err,
                Exit::BadInput,
                format_args!("standard input holds no password"),
            );
        }
        bytes if bytes.contains(&0) => {
            return say(
                terminal.err,
                Exit::BadInput,
                format_args!("a PostgreSQL password holds no NUL byte"),
            );
        }
        _ => {}
    }
    let mut salt = [0; SALT];
    if aws_lc_rs::rand::fill(&mut salt).is_err() {
        return say(
            terminal.err,
            Exit::Internal,
            format_args!("the system gives no random bytes"),
        );
    }
    let made = verifier::make(password.expose(), &salt, arguments.iterations);
    say(terminal.out, Exit::Ok, format_args!("{}", verifier::format(&made)))
}

/// Up to the first line end, which is not part of it.
fn read_password(input: &mut dyn BufRead) -> std::io::Result<Secret> {
    // Room for everything at once: a buffer that grows would leave unzeroed copies behind.
    let mut bytes = Vec::with_capacity(MAX_PASSWORD as usize);
    input.take(MAX_PASSWORD).read_until(b'\n', &mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Secret::new(bytes))
}
