//! What is wrong with a policy text and where: the words `postern check` prints. Knows nothing about what a policy means.

use core::fmt;
use core::ops::Range;

use serde::Serialize;

/// Widest excerpt of a source line, in characters; a longer line is cut around the place.
const EXCERPT_WIDTH: usize = 160;

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
        let start = character_boundary(source, span.start);
        let end = character_boundary(source, span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source[start..]
            .find('\n')
            .map_or(source.len(), |newline| start + newline);
        let line = source[..line_start].matches('\n').count() + 1;
        let before = source[line_start..start].chars().count();
        let width = source[start..end.min(line_end)].chars().count().max(1);
        let text = source[line_start..line_end].trim_end_matches('\r');
        Fault {
            file: file.into(),
            line,
            column: before + 1,
            message: message.into(),
            help: None,
            excerpt: Some(Excerpt::cut(text, before, width)),
        }
    }

    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Fault {
        self.help = help;
        self
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
        let line = without_secrets(line);
        let length = line.chars().count();
        let first = match length > EXCERPT_WIDTH {
            true => start.saturating_sub(EXCERPT_WIDTH / 4),
            false => 0,
        };
        let text: String = line.chars().skip(first).take(EXCERPT_WIDTH).map(printable).collect();
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

/// `line` with SCRAM verifiers and the values of keys like `password` blackened, character for character.
///
/// Faults go to logs and to the record; neither may hold something that a password can be guessed from.
fn without_secrets(line: &str) -> String {
    let mut dark = false;
    let mut word = String::new();
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        if word.ends_with("SCRAM-SHA-256$") || (character == '=' && names_a_secret(&word)) {
            dark = true;
        }
        let hide = dark && !matches!(character, '"' | '\'' | '=' | ' ');
        shown.push(if hide { '*' } else { character });
        // A space between the key and its `=` belongs to neither.
        match character {
            ' ' => {}
            '"' | '\'' | ',' | '{' | '[' | '=' => word.clear(),
            other => word.push(other),
        }
        rest = &rest[character.len_utf8()..];
    }
    shown
}

/// Whether a key of this name would hold a secret itself, not the path of a file that does.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["passw", "secret", "token", "private"]
        .iter()
        .any(|part| key.contains(part))
        && !key.ends_with("_file")
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
    fn secrets_and_verifiers_are_blackened() {
        for (line, shown) in [
            (
                r#"scram = "SCRAM-SHA-256$4096:c2FsdA==$a:b" # x"#,
                r#"scram = "SCRAM-SHA-256$*********==***"*"#,
            ),
            (r#"password = "hunter2""#, r#"password = "*******""#),
            (r#"password_file = "/run/x""#, r#"password_file = "/run/x""#),
            (r#"{ client_secret = "a b" }"#, r#"{ client_secret = "* *" *"#),
        ] {
            let text = without_secrets(line);
            assert_eq!(text.chars().count(), line.chars().count());
            assert!(!text.contains("hunter2") && !text.contains("c2Fs"), "{text}");
            assert!(text.starts_with(shown.split('*').next().unwrap_or_default()), "{text}");
        }
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
