//! `postern enroll`: a certificate or a password in, an identity as policy text out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, ErrorKind};
use std::path::Path;

use postern_policy::text::{ReferencedFiles, SourceFile, parse};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::arguments::Enroll;
use super::certificate::read_chain;
use super::whole_file::{Existing, write};
use super::{Exit, Terminal, say, verifier};
use crate::control::keeper::hex;
use crate::identity::certificate::CertificateFacts;
use crate::identity::scram;

/// PostgreSQL's own.
const ITERATIONS: u32 = 4096;

pub fn run(arguments: &Enroll, input: &mut dyn BufRead, terminal: &mut Terminal<'_>) -> Exit {
    let enrolled = match Enrolled::of(arguments, input) {
        Ok(enrolled) => enrolled,
        Err((exit, text)) => return say(terminal.err, exit, format_args!("{text}")),
    };
    let text = enrolled.text(arguments);
    if let Err(faults) = check(&text, &arguments.groups) {
        return say(terminal.err, Exit::BadInput, format_args!("{faults}"));
    }
    match arguments.output.as_deref() {
        None => say(terminal.out, Exit::Ok, format_args!("{text}")),
        Some(path) => save(path, &text, arguments.force, enrolled.mode(), terminal),
    }
}

/// What proves the identity.
struct Enrolled {
    card: Option<Card>,
    scram: Option<String>,
}

/// A certificate, as far as it is told of.
struct Card {
    pin: String,
    about: String,
}

impl Enrolled {
    fn of(arguments: &Enroll, input: &mut dyn BufRead) -> Result<Self, (Exit, String)> {
        let card = arguments.certificate.as_deref();
        let card = card.map(|path| Card::read(path, arguments.public_key)).transpose();
        let card = card.map_err(|text| (Exit::BadInput, text))?;
        let iterations = arguments.iterations.unwrap_or(ITERATIONS);
        let scram = match arguments.password_stdin {
            true => Some(verifier::make(iterations, input).map_err(|unmade| (unmade.exit(), unmade.to_string()))?),
            false => None,
        };
        Ok(Self {
            card,
            scram: scram.as_ref().map(scram::verifier::format),
        })
    }

    fn text(&self, arguments: &Enroll) -> String {
        let mut text = String::from("# Enrolled with `postern enroll`.\n");
        if let Some(card) = &self.card {
            text.push_str(&card.about);
        }
        let mut line = |line: std::fmt::Arguments<'_>| {
            let written = writeln!(text, "{line}");
            debug_assert!(written.is_ok(), "a String takes everything");
        };
        line(format_args!("[identity.{}]", quoted(&arguments.name)));
        for (key, names) in [("aliases", &arguments.aliases), ("groups", &arguments.groups)] {
            if !names.is_empty() {
                line(format_args!("{key} = [{}]", list(names)));
            }
        }
        if let Some(card) = &self.card {
            line(format_args!("keys = [{{ {} }}]", card.pin));
        }
        if let Some(scram) = &self.scram {
            line(format_args!("scram = {}", quoted(scram)));
        }
        text
    }

    /// Nobody but its owner may write a policy; what passwords can be tried against is not for everybody's eyes either.
    fn mode(&self) -> u32 {
        match self.scram {
            Some(_) => 0o640,
            None => 0o644,
        }
    }
}

impl Card {
    fn read(path: &Path, by_public_key: bool) -> Result<Self, String> {
        let unreadable = || format!("{}: the certificate cannot be read", path.display());
        let chain = read_chain(path)?;
        let leaf = chain.first().ok_or_else(unreadable)?;
        let facts = CertificateFacts::read(leaf).map_err(|_| unreadable())?;
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let pin = match by_public_key {
            true => format!("public_key_sha256 = \"{}\"", hex(&facts.public_key)),
            false => format!("certificate_sha256 = \"{}\"", hex(&facts.fingerprint)),
        };
        let not_after = certificate.validity().not_after.timestamp();
        let not_after = jiff::Timestamp::from_second(not_after).map_err(|_| unreadable())?;
        // Whoever made the certificate wrote the names: in a comment they must stay.
        let about = format!(
            "# subject:   {}\n# issuer:    {}\n# not after: {not_after}\n",
            certificate.subject().to_string().escape_debug(),
            certificate.issuer().to_string().escape_debug(),
        );
        Ok(Self { pin, about })
    }
}

fn save(path: &Path, text: &str, force: bool, mode: u32, terminal: &mut Terminal<'_>) -> Exit {
    let existing = if force { Existing::Replace } else { Existing::Keep };
    let file = path.display();
    match write(path, text.as_bytes(), mode, existing) {
        Ok(()) => say(terminal.out, Exit::Ok, format_args!("{file}: written")),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => say(
            terminal.err,
            Exit::CannotWrite,
            format_args!("{file}: is there already; --force replaces it"),
        ),
        Err(error) => say(terminal.err, Exit::CannotWrite, format_args!("{file}: {error}")),
    }
}

/// Reads it as the gate would. The groups are another file's to define, so here they are.
fn check(text: &str, groups: &[String]) -> Result<(), postern_policy::fault::Faults> {
    let groups: BTreeSet<_> = groups.iter().collect();
    let groups = groups.into_iter().map(|group| format!("[group.{}]\n", quoted(group)));
    let source = |name: &str, text: String| SourceFile {
        name: name.to_owned(),
        text,
    };
    let sources = [
        source("the identity", text.to_owned()),
        source("its groups", groups.collect()),
    ];
    parse(&sources, &NoFiles).map(drop)
}

/// An identity names none.
struct NoFiles;

impl ReferencedFiles for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Err("is not read here".to_owned())
    }
}

fn list(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
