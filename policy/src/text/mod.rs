//! Policy text, TOML, to [`Model`]: names resolved, values typed, everything that is not understood refused.
//!
//! All faults are found at once, each with its place. The text is walked as a tree with spans rather than read with serde,
//! which stops at the first fault. Rules about the policy as a whole are in [`crate::check`]; what they find is given its
//! place here. Reads no file itself: the texts and the files they name are handed in.

use toml::Spanned;
use toml::de::DeTable;

use crate::check::{Why, check};
use crate::fault::{Fault, Faults};
use crate::model::Model;

use definitions::Definitions;
use findings::{Findings, Span};

mod authentication;
mod claims;
mod cluster;
mod definitions;
mod findings;
mod grant;
mod hours;
mod identity;
mod locate;
mod provider;
mod referenced;
mod revocation;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

/// One file of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// As faults should name it.
    pub name: String,
    pub text: String,
}

/// The files that a policy names, read by whoever may read files.
pub trait ReferencedFiles {
    /// The bytes of a root or revocation list; `path` as written, relative to the directory of the policy.
    ///
    /// # Errors
    /// Why it could not be read, to stand behind the path: `No such file or directory`.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Whether the gate could use this password or key file and nobody else could read it. Its content stays where it is.
    ///
    /// # Errors
    /// Why not, to stand behind the path.
    fn check_secret(&self, path: &str) -> Result<(), String> {
        let _ = path;
        Ok(())
    }
}

impl SourceFile {
    /// # Errors
    /// A fault where `bytes` are not UTF-8, at the line of the first byte that is not.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<SourceFile, Faults> {
        let name = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(SourceFile { name, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                Err(Fault::in_source(name, &text, at..at, "not UTF-8").into())
            }
        }
    }
}

/// The policy that `sources` are together. Their order does not matter.
///
/// # Errors
/// Everything that is wrong, sorted by file and line.
pub fn parse(sources: &[SourceFile], files: &dyn ReferencedFiles) -> Result<Model, Faults> {
    let mut sources: Vec<&SourceFile> = sources.iter().collect();
    sources.sort_by(|a, b| (&a.name, &a.text).cmp(&(&b.name, &b.text)));
    let findings = Findings::new(&sources);
    let documents: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(file, source)| document(file, source, &findings))
        .collect();
    let definitions = Definitions::of(&documents, &findings);
    let model = definitions.model(&findings, files);
    if !definitions.incomplete {
        for fault in check(&model).iter().filter(|fault| !findings.is_echo(fault)) {
            definitions.tell(fault, &findings);
        }
    }
    if findings.is_empty() {
        Ok(model)
    } else {
        Err(findings.into_faults())
    }
}

/// The tree of one file, or `None` and every fault of its syntax.
fn document<'s>(file: usize, source: &'s SourceFile, findings: &Findings<'_>) -> Option<Spanned<DeTable<'s>>> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        let span = Span {
            file,
            bytes: error.span().unwrap_or(source.text.len()..source.text.len()),
        };
        findings.say(&span, syntax_fault(source, error, &span));
    }
    errors.is_empty().then_some(document)
}

fn syntax_fault(source: &SourceFile, error: &toml::de::Error, span: &Span) -> Why {
    let why = Why::new(error.message());
    match first_header(&source.text, span.bytes.start) {
        Some(line) if error.message() == "duplicate key" => why.help(format!("first defined on line {line}")),
        Some(_) | None => why,
    }
}

/// The line, from 1, of an earlier table header that reads as the line at byte `at` does.
fn first_header(text: &str, at: usize) -> Option<usize> {
    let later = text.get(..at)?.matches('\n').count();
    let header = text.lines().nth(later)?.trim();
    let earlier = text.lines().take(later).position(|line| line.trim() == header)?;
    header.starts_with('[').then_some(earlier + 1)
}
