//! A JSON writer for lines: appends to a buffer that is reused, and escapes what a terminal or a log pipeline could trip over.

use std::fmt::{Display, Write as _};

/// Writes the members of one object. Commas are its business; an object opened is closed by the function that opened it.
pub struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl Object<'_> {
    /// `{ ... }` at the end of `out`.
    pub fn write(out: &mut String, members: impl FnOnce(&mut Object<'_>)) {
        out.push('{');
        members(&mut Object { out, empty: true });
        out.push('}');
    }

    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_string(self.out, value);
    }

    pub fn optional_text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A value whose `Display` needs no escaping: a number of ours, an address.
    pub fn plain_text(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.out.push('"');
        push_display(self.out, value);
        self.out.push('"');
    }

    pub fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push_display(self.out, value);
    }

    pub fn optional_number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.push_str(if value { "true" } else { "false" });
    }

    pub fn hex(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        push_hex(self.out, bytes);
    }

    pub fn object(&mut self, key: &str, members: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        Object::write(self.out, members);
    }

    /// A list whose elements `element` writes itself, each whole.
    pub fn list<T>(&mut self, key: &str, elements: impl IntoIterator<Item = T>, element: impl Fn(&mut String, T)) {
        self.key(key);
        self.out.push('[');
        for (place, one) in elements.into_iter().enumerate() {
            if place > 0 {
                self.out.push(',');
            }
            element(self.out, one);
        }
        self.out.push(']');
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        push_string(self.out, key);
        self.out.push(':');
    }
}

/// `value` quoted and escaped.
pub fn push_string(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if needs_escape(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    push_display(out, format_args!("\\u{unit:04x}"));
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The bytes in lower-case hexadecimal, quoted.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        out.extend([byte >> 4, byte & 0xf].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('?')));
    }
    out.push('"');
}

/// Controls (C0, DEL, C1), line breaks of Unicode, and what reorders text on a screen or shows nothing there.
fn needs_escape(character: char) -> bool {
    matches!(
        character,
        '\u{00}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn push_display(out: &mut String, value: impl Display) {
    // Writing to a String cannot fail.
    write!(out, "{value}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_comes_back_and_none_is_raw_that_should_not_be() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let mut out = String::new();
        push_string(&mut out, &all);
        assert_eq!(serde_json::from_str::<String>(&out).expect("valid JSON"), all);
        assert!(!out.chars().any(char::is_control));
        for forbidden in [
            '\u{2028}', '\u{2029}', '\u{202e}', '\u{85}', '\u{9f}', '\u{7f}', '\u{feff}',
        ] {
            assert!(!out.contains(forbidden), "{forbidden:?} is raw");
        }
    }

    #[test]
    fn objects_nest_and_separate() {
        let mut out = String::new();
        Object::write(&mut out, |object| {
            object.text("a", "x\"y");
            object.optional_text("absent", None);
            object.object("b", |inner| inner.number("n", 7));
            object.list("c", [1_u8, 2], |out, one| push_hex(out, &[one]));
            object.flag("d", true);
        });
        assert_eq!(out, r#"{"a":"x\"y","b":{"n":7},"c":["01","02"],"d":true}"#);
    }
}
