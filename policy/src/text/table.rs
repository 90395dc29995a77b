//! Reads one TOML table key by key. Every fault gets its place; a key that nobody asked for is a fault itself.

use core::ops::Range;
use std::collections::HashSet;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::findings::{Findings, Span};
use super::syntax;
use crate::check::value::Bounds;
use crate::check::{Object, Why, suggest};
use crate::time::Utc;
use crate::words::Word;

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// Ask for keys in any order, then [`Table::finish`].
pub(super) struct Table<'t> {
    pub findings: &'t Findings<'t>,
    pub object: &'t Object,
    file: usize,
    header: Range<usize>,
    /// The key of the object that this table is a part of; `None` where it is the object itself.
    within: Option<&'static str>,
    entries: &'t DeTable<'t>,
    asked: Vec<&'static str>,
    needed: Vec<(&'static str, &'static str)>,
}

impl<'t> Table<'t> {
    /// `value` as a table of `object`; a fault at `header` where it is none.
    pub fn of(findings: &'t Findings<'t>, object: &'t Object, header: Span, value: &'t Value<'t>) -> Option<Table<'t>> {
        let Some(entries) = value.get_ref().as_table() else {
            findings.say(
                &header,
                Why::new(format!("{object} is {}, not a table", kind(value.get_ref()))),
            );
            findings.spoil_whole(object);
            return None;
        };
        let Span { file, bytes: header } = header;
        Some(Table {
            findings,
            object,
            file,
            header,
            within: None,
            entries,
            asked: Vec::new(),
            needed: Vec::new(),
        })
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Told by [`Table::finish`] where the key is missing and was not just mistyped.
    pub fn need(&mut self, key: &'static str, help: &'static str) {
        self.needed.push((key, help));
    }

    /// What stands at `key`, as it is.
    pub fn entry(&mut self, key: &'static str) -> Option<&'t Value<'t>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.get(key)
    }

    /// The string at `key`, as `read` understands it.
    pub fn text<T>(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<T, Why>) -> Option<T> {
        let value = self.entry(key)?;
        match value.get_ref().as_str() {
            Some(text) => self.accept(key, value.span(), read(text)),
            None => self.mistyped(key, value, "a string"),
        }
    }

    pub fn string(&mut self, key: &'static str) -> Option<String> {
        self.text(key, |text| Ok(text.to_owned()))
    }

    pub fn word<W: Word>(&mut self, key: &'static str) -> Option<W> {
        self.text(key, word)
    }

    pub fn duration(&mut self, key: &'static str, bounds: &Bounds) -> Option<u32> {
        self.text(key, |text| syntax::duration(text, bounds))
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.entry(key)?;
        value
            .get_ref()
            .as_bool()
            .or_else(|| self.mistyped(key, value, "`true` or `false`"))
    }

    pub fn number(&mut self, key: &'static str, bounds: &Bounds) -> Option<u32> {
        let value = self.entry(key)?;
        match value.get_ref().as_integer() {
            Some(integer) => self.accept(key, value.span(), number(integer, bounds)),
            None => self.mistyped(key, value, "a whole number"),
        }
    }

    pub fn moment(&mut self, key: &'static str) -> Option<Utc> {
        let value = self.entry(key)?;
        let Some(moment) = value.get_ref().as_datetime() else {
            return self.mistyped(key, value, "a moment like 2026-11-23T08:00:00Z, without quotes");
        };
        let complete = moment.date.is_some() && moment.time.is_some() && moment.offset.is_some();
        let read = match complete {
            true => moment
                .to_string()
                .parse()
                .map_err(|_| Why::new(format!("`{moment}` is no moment of any calendar"))),
            false => Err(Why::new(format!("`{moment}` does not say when it is everywhere"))
                .help("with date, time and offset: `2026-11-23T08:00:00Z`, `2026-11-23T09:00:00+01:00`")),
        };
        self.accept(key, value.span(), read)
    }

    /// A list of strings, none twice, not empty: an empty one would say the opposite of a missing one.
    pub fn list<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Result<T, Why>) -> Option<Vec<T>> {
        let elements = self.elements(key, "a list of strings")?;
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for element in elements {
            let Some(text) = element.get_ref().as_str() else {
                self.mistyped::<()>(key, element, "a list of strings");
                continue;
            };
            if !seen.insert(text) {
                self.fault(
                    key,
                    element.span(),
                    Why::new(format!("`{}` stands here twice", text.escape_debug())),
                );
            }
            list.extend(self.accept(key, element.span(), read(text)));
        }
        Some(list)
    }

    pub fn strings<C: FromIterator<String>>(&mut self, key: &'static str) -> Option<C> {
        Some(self.list(key, |text| Ok(text.to_owned()))?.into_iter().collect())
    }

    /// A list of tables, as `keys` and `hours` are.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'t>> {
        let elements = self.elements(key, "a list of tables `[{ ... }]`").unwrap_or_default();
        elements.iter().filter_map(|element| self.part(key, element)).collect()
    }

    /// The entries of the table at `key`, where it is one.
    pub fn entries(&mut self, key: &'static str) -> impl Iterator<Item = (&'t str, Span, &'t Value<'t>)> + use<'t> {
        let table = self.entry(key).and_then(|value| match value.get_ref().as_table() {
            Some(table) => Some(table),
            None => self.mistyped(key, value, "a table"),
        });
        let file = self.file;
        let named = move |(name, value): (&'t Spanned<toml::de::DeString<'t>>, &'t Value<'t>)| {
            (
                name.get_ref().as_ref(),
                Span {
                    file,
                    bytes: name.span(),
                },
                value,
            )
        };
        table.into_iter().flatten().map(named)
    }

    /// What `result` holds, or nothing and a fault at `span`.
    pub fn accept<T>(&self, key: &'static str, span: Range<usize>, result: Result<T, Why>) -> Option<T> {
        result.map_err(|why| self.fault(key, span, why)).ok()
    }

    pub fn fault(&self, key: &'static str, bytes: Range<usize>, why: Why) {
        self.findings.say(&Span { file: self.file, bytes }, why);
        self.spoil(key);
    }

    /// A fault of the table as a whole.
    pub fn fault_here(&self, why: Why) {
        self.fault("", self.header.clone(), why);
    }

    /// What stands at `key` means nothing beside the rest: whoever wrote it thinks that it does.
    pub fn without_effect(&mut self, key: &'static str, because: &str) {
        if let Some(value) = self.entry(key) {
            let why = Why::new(format!("`{key}` has no effect here: {because}"));
            self.fault(key, value.span(), why.help("leave it out"));
        }
    }

    pub fn spoil(&self, key: &'static str) {
        self.findings.spoil(self.object, self.within.unwrap_or(key));
    }

    /// Tells the keys that nobody asked for and the needed ones that are missing.
    pub fn finish(self) {
        let mut meant = Vec::new();
        for (name, _) in self.entries {
            let written = name.get_ref().as_ref();
            if self.asked.contains(&written) {
                continue;
            }
            let missing = self
                .asked
                .iter()
                .copied()
                .filter(|key| !self.entries.contains_key(*key));
            let close = suggest::closest(written, missing.clone());
            meant.extend(missing.filter(|key| Some(*key) == close));
            self.findings.say(
                &Span {
                    file: self.file,
                    bytes: name.span(),
                },
                self.unknown(written, close),
            );
            self.spoil("unknown");
        }
        for key in &meant {
            self.spoil(key);
        }
        for (key, help) in &self.needed {
            if !self.entries.contains_key(*key) && !meant.contains(key) {
                self.findings.say(
                    &Span {
                        file: self.file,
                        bytes: self.header.clone(),
                    },
                    Why::new(format!("`{key}` is missing")).help(*help),
                );
                self.spoil(key);
            }
        }
    }

    fn unknown(&self, written: &str, close: Option<&str>) -> Why {
        let why = Why::new(format!("unknown key `{}`", written.escape_debug()));
        match close {
            Some(close) => why.help(format!("did you mean `{close}`?")),
            None if written.contains("passw") => why.help("secrets stand in files: `password_file`"),
            None => why.help(suggest::one_of(self.asked.iter().copied())),
        }
    }

    fn elements(&mut self, key: &'static str, wanted: &str) -> Option<&'t [Value<'t>]> {
        let value = self.entry(key)?;
        let Some(elements) = value.get_ref().as_array() else {
            return self.mistyped(key, value, wanted);
        };
        if elements.is_empty() {
            let why = Why::new(format!("`{key}` is empty")).help(format!("leave `{key}` out, or say which"));
            self.fault(key, value.span(), why);
        }
        Some(elements)
    }

    fn part(&self, key: &'static str, element: &'t Value<'t>) -> Option<Table<'t>> {
        let Some(entries) = element.get_ref().as_table() else {
            return self.mistyped(key, element, "a list of tables `[{ ... }]`");
        };
        Some(Table {
            findings: self.findings,
            object: self.object,
            file: self.file,
            header: element.span(),
            within: Some(self.within.unwrap_or(key)),
            entries,
            asked: Vec::new(),
            needed: Vec::new(),
        })
    }

    fn mistyped<T>(&self, key: &'static str, value: &Value<'_>, wanted: &str) -> Option<T> {
        let found = kind(value.get_ref());
        self.fault(key, value.span(), Why::new(format!("`{key}` is {wanted}, not {found}")));
        None
    }
}

pub(super) fn word<W: Word>(text: &str) -> Result<W, Why> {
    W::from_word(text).ok_or_else(|| {
        let known = W::ALL.iter().map(|word| word.as_str());
        let why = Why::new(format!(
            "`{}` is not {}",
            text.escape_debug(),
            suggest::one_of(known.clone())
        ));
        why.suggest(text, known)
    })
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn number(integer: &DeInteger<'_>, bounds: &Bounds) -> Result<u32, Why> {
    let number = u32::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| bounds.refuse(integer))?;
    bounds.check(number).map(|()| number)
}
