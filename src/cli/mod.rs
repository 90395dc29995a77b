//! The command line: what may be typed, and which room does it. No logic of its own beyond that.

mod arguments;
mod certificate;
mod check;
mod compile;
mod enroll;
mod exit;
mod explain;
mod gate_secret;
mod live;
mod log;
mod policy;
mod providers;
mod record;
mod serve;
mod shown_token;
mod token;
mod verifier;
mod whole_file;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use clap::error::ErrorKind;

pub use arguments::{Arguments, Command};
use arguments::{Token, TokenCommand};
pub use exit::Exit;

/// Where a command writes: standard output and standard error, or buffers in tests.
pub struct Terminal<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Exit {
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments { command }) => dispatch(&command, terminal),
        Err(error) => show_usage(&error, terminal),
    }
}

fn dispatch(command: &Command, terminal: &mut Terminal<'_>) -> Exit {
    match command {
        Command::Serve(arguments) => serve::run(arguments, terminal),
        Command::Check(arguments) => check::run(arguments, terminal),
        Command::Explain(arguments) => explain::run(arguments, &mut std::io::stdin().lock(), terminal),
        Command::Compile(arguments) => compile::run(arguments, terminal),
        Command::Verifier(arguments) => verifier::run(arguments, &mut std::io::stdin().lock(), terminal),
        Command::Enroll(arguments) => enroll::run(arguments, &mut std::io::stdin().lock(), terminal),
        Command::Providers(arguments) => providers::run(arguments, terminal),
        Command::Token(Token {
            command: TokenCommand::Inspect(arguments),
        }) => token::run(arguments, &mut std::io::stdin().lock(), terminal),
        Command::Audit(arguments) => record::run(arguments, terminal),
        Command::Version => say(terminal.out, Exit::Ok, format_args!("postern {}", version())),
    }
}

/// `--help` and `--version` are answers, anything else is an error.
fn show_usage(error: &clap::Error, terminal: &mut Terminal<'_>) -> Exit {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => say(terminal.out, Exit::Ok, format_args!("{text}")),
        _ => say(terminal.err, Exit::Usage, format_args!("{text}")),
    }
}

/// Version and, where the build knew it, commit.
pub fn version() -> String {
    match option_env!("POSTERN_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Writes a line and ends as `exit`, unless nobody can read it.
fn say(to: &mut dyn Write, exit: Exit, text: std::fmt::Arguments<'_>) -> Exit {
    let text = text.to_string();
    match writeln!(to, "{}", text.trim_end()) {
        Ok(()) => exit,
        Err(_) => Exit::CannotWrite,
    }
}

#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod tests;
