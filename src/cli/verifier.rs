//! `postern verifier`: a password in, a SCRAM verifier out.

use std::io::{BufRead, Read};

use postern_policy::model::ScramVerifier;

use super::arguments::Verifier;
use super::{Exit, Terminal, say};
use crate::identity::scram::verifier;
use crate::secret::Secret;

/// PostgreSQL's salt length, bytes.
const SALT: usize = 16;
/// PostgreSQL's own bound on a password message, bytes.
const MAX_PASSWORD: u64 = 64 * 1024;

pub fn run(arguments: &Verifier, input: &mut dyn BufRead, terminal: &mut Terminal<'_>) -> Exit {
    match make(arguments.iterations, input) {
        Ok(made) => say(terminal.out, Exit::Ok, format_args!("{}", verifier::format(&made))),
        Err(unmade) => say(terminal.err, unmade.exit(), format_args!("{unmade}")),
    }
}

/// Why there is no verifier.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmade {
    #[error("standard input: {0}")]
    Input(#[from] std::io::Error),
    #[error("standard input holds no password")]
    Empty,
    #[error("a PostgreSQL password holds no NUL byte")]
    Nul,
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl Unmade {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input(_) | Self::Empty | Self::Nul => Exit::BadInput,
            Self::NoRandom => Exit::Internal,
        }
    }
}

/// The verifier of the password in the first line of `input`.
pub(super) fn make(iterations: u32, input: &mut dyn BufRead) -> Result<ScramVerifier, Unmade> {
    let password = read_password(input)?;
    match password.expose() {
        [] => return Err(Unmade::Empty),
        bytes if bytes.contains(&0) => return Err(Unmade::Nul),
        _ => {}
    }
    let mut salt = [0; SALT];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Unmade::NoRandom)?;
    Ok(verifier::make(password.expose(), &salt, iterations))
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
