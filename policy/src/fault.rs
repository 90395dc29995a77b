//! What is wrong with a policy text and where: the words `postern check` prints. Knows nothing about what a policy means.

use core::fmt;
use core::ops::Range;

use serde::Serialize;

use blacken::without_secrets;

mod blacken;

/// Widest excerpt of a source line, in characters; a longer line is cut around the place.
const EXCERPT_WIDTH: usize = 160;

/// How much of a line around the place is looked at at all, characters each way.
const CONTEXT: usize = 4_096;

/// One thing that is wrong, in words and with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// As the caller named it. A directory where the fault is of the directory as a whole.
    pub file: String,
    /// From 1; 0 where the fault is of the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 where the fault is of the file as a whole.
    pub column: usize,
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    pub excerpt: Option<Excerpt>,
}

/// The source line of a fault and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// Free of control characters and of what looks like a secret or a password verifier.
    pub text: String,
    /// Characters in `text` before the first caret.
    pub start: usize,
    /// Carets, at least one.
    pub width: usize,
}

/// Everything wrong with a policy, by file and line. Never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

impl Fault {
    /// A fault of a file or directory as a whole: no line, no excerpt.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault {
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            help: None,
            excerpt: None,
        }
    }

    /// A fault at the bytes `span` of `source`. A span out of range or inside a character is moved to the next good place.
    pub fn in_source(file: impl Into<String>, source: &str, span: Range<usize>, message: impl Into<String>) -> Fault {
        Lines::of(source).fault(&file.into(), source, span, message.into())
    }

    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Fault {
        self.help = help;
        self
    }
}

/// The lines of a source, found once for all of its faults.
pub(crate) struct Lines {
    /// Of each line.
    starts: Vec<usize>,
}

impl Lines {
    pub fn of(source: &str) -> Lines {
        let behind_newlines = memchr::memchr_iter(b'\n', source.as_bytes()).map(|newline| newline + 1);
        Lines {
            starts: core::iter::once(0).chain(behind_newlines).collect(),
        }
    }

    /// As [`Fault::in_source`], of the source that these are the lines of.
    pub fn fault(&self, file: &str, source: &str, span: Range<usize>, message: String) -> Fault {
        let start = character_boundary(source, span.start);
        let end = character_boundary(source, span.end).max(start);
        let line = self.starts.partition_point(|line| *line <= start);
        let line_start = self.starts[line - 1];
        let line_end = self.starts.get(line).map_or(source.len(), |next| next - 1);
        let before = source[line_start..start].chars().count();
        let width = source[start..end.min(line_end).max(start)].chars().count().max(1);
        let text = source[line_start..line_end].trim_end_matches('\r');
        Fault {
            file: file.to_owned(),
            line,
            column: before + 1,
            message,
            help: None,
            excerpt: Some(Excerpt::cut(text, before, width)),
        }
    }
}

impl Faults {
    /// Sorted by file, line and column, each once.
    pub fn new(mut faults: Vec<Fault>) -> Faults {
        faults.sort_by(|a, b| (&a.file, a.line, a.column, &a.message).cmp(&(&b.file, b.line, b.column, &b.message)));
        faults.dedup();
        Faults(faults)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> core::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = core::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults(vec![fault])
    }
}

/// As rustc shows an error: what, where, the line with carets, what to do.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let margin = if self.line == 0 { 1 } else { self.line.to_string().len() };
        write!(f, "error: {}", self.message)?;
        match self.line {
            0 => write!(f, "\n{:margin$}--> {}", "", self.file)?,
            line => write!(f, "\n{:margin$}--> {}:{line}:{}", "", self.file, self.column)?,
        }
        if let Some(Excerpt { text, start, width }) = &self.excerpt {
            write!(
                f,
                "\n{:margin$} |\n{} | {text}\n{:margin$} | {:start$}{:^<width$}",
                "", self.line, "", "", ""
            )?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{:margin$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

/// Each fault, a blank line between two.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Excerpt {
    /// The part of `line` round `width` characters from `start`, made safe to print.
    fn cut(line: &str, start: usize, width: usize) -> Excerpt {
        // Secrets are looked for well beyond what is shown, but not in megabytes of one line.
        let skipped = start.saturating_sub(CONTEXT);
        let context: String = line.chars().skip(skipped).take(2 * CONTEXT).collect();
        let start = start - skipped;
        let first = match context.chars().count() > EXCERPT_WIDTH {
            true => start.saturating_sub(EXCERPT_WIDTH / 4),
            false => 0,
        };
        let shown = without_secrets(&context);
        let text: String = shown.chars().skip(first).take(EXCERPT_WIDTH).map(printable).collect();
        let start = start - first;
        let room = text.chars().count().saturating_sub(start).max(1);
        Excerpt {
            text: text.trim_end().to_owned(),
            start,
            width: width.min(room),
        }
    }
}

/// The smallest character boundary not below `index`.
fn character_boundary(source: &str, index: usize) -> usize {
    (index..source.len())
        .find(|at| source.is_char_boundary(*at))
        .unwrap_or(source.len())
}

/// One column wide and harmless on a terminal: policies come from pull requests, escape sequences may too.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() || is_invisible(other) => '\u{fffd}',
        other => other,
    }
}

/// Characters that show nothing or reorder what is shown: two different names could look the same.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_a_compiler_error() {
        let source = "[grant.x]\nidentities = [\"svc:biling\"]\n";
        let fault = Fault::in_source("grants.toml", source, 24..36, "no identity is called `svc:biling`")
            .with_help(Some("did you mean `svc:billing`?".to_owned()));
        let expected = "\
error: no identity is called `svc:biling`
 --> grants.toml:2:15
  |
2 | identities = [\"svc:biling\"]
  |               ^^^^^^^^^^^^
  = help: did you mean `svc:billing`?";
        assert_eq!(fault.to_string(), expected);
    }

    #[test]
    fn a_fault_of_a_directory_has_no_line() {
        assert_eq!(
            Fault::of_file("policy.d", "no policy file").to_string(),
            "error: no policy file\n --> policy.d"
        );
    }

    #[test]
    fn columns_and_carets_count_characters() {
        let fault = Fault::in_source("f", "ключ = 'ü'\n", 11..15, "m");
        assert_eq!((fault.line, fault.column), (1, 8));
        assert_eq!(fault.excerpt.map(|e| (e.start, e.width)), Some((7, 3)));
    }

    #[test]
    fn any_span_has_a_place() {
        let source = "é\nb";
        for start in 0..6 {
            for end in 0..6 {
                let fault = Fault::in_source("f", source, Range { start, end }, "m");
                assert!(fault.line >= 1 && fault.column >= 1, "{fault}");
            }
        }
    }

    #[test]
    fn sorted_by_place_and_each_once() {
        let at = |file, span: Range<usize>| Fault::in_source(file, "a\nb\nc\n", span, "m");
        let faults = Faults::new(vec![at("b", 0..1), at("a", 4..5), at("a", 0..1), at("a", 4..5)]);
        let places: Vec<_> = faults.iter().map(|f| (f.file.as_str(), f.line)).collect();
        assert_eq!(places, [("a", 1), ("a", 3), ("b", 1)]);
    }

    #[test]
    fn long_lines_are_cut_around_the_place_and_escapes_do_not_reach_the_terminal() {
        let source = format!("{}\u{1b}[31mbad", "x".repeat(5_000));
        let fault = Fault::in_source("f", &source, 5_005..5_008, "m");
        let shown = fault.to_string();
        assert!(
            shown.contains("bad") && shown.len() < 600 && !shown.contains('\u{1b}'),
            "{shown}"
        );
    }
}
