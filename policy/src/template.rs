//! Texts with places in them that an attempt fills: `app_{claim.tenant}`.
//!
//! Known are `{identity}`, `{subject}`, `{application_name}` and `{claim.NAME}`; every other brace stands for itself.

use std::fmt;

/// A text with places.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template(pub String);

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    Text(&'t str),
    /// The identity's name.
    Identity,
    /// The subject as its provider names it.
    Subject,
    /// What the client sent as `application_name`.
    ApplicationName,
    /// The one value of this claim.
    Claim(&'t str),
    /// Braces round a word that is none of these: a slip of the pen, for `check` to tell.
    Unknown(&'t str),
}

/// The pieces of a template, in order.
pub fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, length) = next(rest);
        rest = rest.get(length..).unwrap_or_default();
        Some(part)
    })
}

/// What an attempt fills the places with. `None` leaves the whole text without a meaning.
pub trait Values {
    fn value(&self, part: Part<'_>) -> Option<&str>;
}

/// The text with every place filled, or the place for which there is nothing.
pub fn render<'t>(text: &'t str, values: &dyn Values) -> Result<String, Part<'t>> {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        out.push_str(match part {
            Part::Text(text) => text,
            place => values.value(place).ok_or(place)?,
        });
    }
    Ok(out)
}

/// Whether `whole` is `text` with its places filled. Copies nothing.
pub fn is_filled(text: &str, values: &dyn Values, whole: &str) -> bool {
    let mut rest = whole;
    for part in parts(text) {
        let piece = match part {
            Part::Text(text) => Some(text),
            place => values.value(place),
        };
        match piece.and_then(|piece| rest.strip_prefix(piece)) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Where names that need no filling stand.
pub struct NoValues;

impl Values for NoValues {
    fn value(&self, _place: Part<'_>) -> Option<&str> {
        None
    }
}

/// The first piece of a text that is not empty, and its length in bytes.
fn next(text: &str) -> (Part<'_>, usize) {
    if let Some(inside) = text.strip_prefix('{')
        && let Some((word, _)) = inside.split_once('}')
        && is_word(word)
    {
        return (place(word), word.len() + 2);
    }
    let from = usize::from(text.starts_with('{'));
    let behind = text.get(from..).unwrap_or_default();
    let length = behind.find('{').map_or(text.len(), |at| at + from);
    (Part::Text(text.get(..length).unwrap_or_default()), length)
}

/// Names of claims may be URLs.
fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '/'))
}

fn place(word: &str) -> Part<'_> {
    match word {
        "identity" => Part::Identity,
        "subject" => Part::Subject,
        "application_name" => Part::ApplicationName,
        _ => match word.strip_prefix("claim.") {
            Some(claim) if !claim.is_empty() => Part::Claim(claim),
            Some(_) | None => Part::Unknown(word),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Alice;

    impl Values for Alice {
        fn value(&self, place: Part<'_>) -> Option<&str> {
            match place {
                Part::Subject => Some("alice"),
                Part::Claim("tenant") => Some("acme"),
                _ => None,
            }
        }
    }

    #[test]
    fn places_are_filled_and_other_braces_stay() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("app_{claim.tenant}", "app_acme"),
            ("{subject}@{claim.tenant}", "alice@acme"),
            ("{a,b} {} {", "{a,b} {} {"),
            ("{{subject}}", "{alice}"),
        ] {
            assert_eq!(render(text, &Alice).as_deref(), Ok(filled), "{text}");
            assert!(is_filled(text, &Alice, filled), "{text}");
            assert!(!is_filled(text, &Alice, &format!("{filled}x")), "{text}");
        }
    }

    #[test]
    fn a_place_without_a_value_leaves_no_text() {
        assert_eq!(render("x{claim.none}", &Alice), Err(Part::Claim("none")));
        assert_eq!(render("{identiy}", &Alice), Err(Part::Unknown("identiy")));
        assert!(!is_filled("{claim.none}", &Alice, ""));
    }
}
