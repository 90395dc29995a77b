//! Every text of a policy once, one behind the other.

use std::collections::HashMap;

use super::layout::{ArchivedText, Text};

/// Collects texts; the order in which they are first seen is their order in the archive, so callers walk sorted maps.
#[derive(Default)]
pub struct Strings<'a> {
    all: String,
    known: HashMap<&'a str, Text>,
}

impl<'a> Strings<'a> {
    /// The archive's relative pointers end at 2 GiB; `compile` refuses such a policy before this number could wrap.
    pub fn add(&mut self, text: &'a str) -> Text {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let place = Text {
            start: self.all.len() as u32,
            length: text.len() as u32,
        };
        self.all.push_str(text);
        self.known.insert(text, place);
        place
    }

    pub fn finish(self) -> String {
        self.all
    }
}

impl ArchivedText {
    pub fn native(&self) -> Text {
        Text {
            start: self.start.to_native(),
            length: self.length.to_native(),
        }
    }
}

/// The words of `text`. Empty for a place outside `strings`, which a loaded snapshot does not have.
pub fn text_of<'a>(strings: &'a str, text: &ArchivedText) -> &'a str {
    try_text_of(strings, text).unwrap_or_default()
}

/// `None` for a place outside `strings` or inside of a character.
pub fn try_text_of<'a>(strings: &'a str, text: &ArchivedText) -> Option<&'a str> {
    let start = text.start.to_native() as usize;
    strings.get(start..start.checked_add(text.length.to_native() as usize)?)
}
