//! Reading one TOML table key by key: every fault is noted with its place, and reading goes on.
//!
//! A value that is at fault is replaced by its default, so that the rest is checked as well; the caller discards everything
//! as soon as one fault was noted.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use postern_policy::words::Word;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::Source;
use super::units;

/// One table of the text, or the absence of it: then every key has its default.
pub struct Table<'t, 'i> {
    /// As in `[server]`.
    name: &'static str,
    /// Where a missing key is reported: at the table's head. `None`: the text has no such table.
    span: Option<Range<usize>>,
    entries: Option<&'t DeTable<'i>>,
    known: Vec<&'static str>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub fn root(entries: &'t DeTable<'i>) -> Self {
        Self {
            name: "",
            span: None,
            entries: Some(entries),
            known: Vec::new(),
        }
    }

    /// Whether the text has this table.
    pub fn is_there(&self) -> bool {
        self.entries.is_some()
    }

    /// Where the table begins.
    pub fn span(&self) -> Range<usize> {
        self.span.clone().unwrap_or(0..0)
    }

    /// The table `[name]`.
    pub fn table(&mut self, source: &mut Source<'_>, name: &'static str) -> Table<'t, 'i> {
        let missing = Table {
            name,
            span: None,
            entries: None,
            known: Vec::new(),
        };
        let Some((span, value)) = self.get(name) else {
            return missing;
        };
        match value.get_ref() {
            DeValue::Table(entries) => Table {
                span: Some(span),
                entries: Some(entries),
                ..missing
            },
            other => {
                source.fault(
                    value.span(),
                    format!("`{name}` must be a table, written `[{name}]`, not {}", kind(other)),
                );
                missing
            }
        }
    }

    /// The tables `[[name]]`, in order.
    pub fn tables(&mut self, source: &mut Source<'_>, name: &'static str) -> Vec<Table<'t, 'i>> {
        let Some((_, value)) = self.get(name) else {
            return Vec::new();
        };
        let elements: &'t [Spanned<DeValue<'i>>] = match value.get_ref() {
            DeValue::Array(elements) => elements,
            _ => std::slice::from_ref(value),
        };
        let mut tables = Vec::new();
        for element in elements {
            match element.get_ref() {
                DeValue::Table(entries) if matches!(value.get_ref(), DeValue::Array(_)) => {
                    tables.push(Table {
                        name,
                        span: Some(element.span()),
                        entries: Some(entries),
                        known: Vec::new(),
                    });
                }
                other => {
                    let kind = kind(other);
                    source.fault(
                        element.span(),
                        format!("`{name}` is a list of tables, written `[[{name}]]`, not {kind}"),
                    );
                }
            }
        }
        tables
    }

    /// Text that must be there. Empty text is a fault.
    pub fn text(&mut self, source: &mut Source<'_>, key: &'static str) -> (String, Range<usize>) {
        match self.optional_text(source, key) {
            Some(text) => text,
            None => {
                self.missing(source, key);
                (String::new(), self.span())
            }
        }
    }

    pub fn optional_text(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<(String, Range<usize>)> {
        let value = self.ask(source, key)?;
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => source.fault(value.span(), format!("`{key}` is empty")),
            DeValue::String(text) => return Some((text.to_string(), value.span())),
            other => source.fault(value.span(), format!("`{key}` must be text, not {}", kind(other))),
        }
        // A faulty value is no missing one: one fault is enough.
        Some((String::new(), value.span()))
    }

    /// A path that must be there; a relative one is relative to the directory of the configuration.
    pub fn path(&mut self, source: &mut Source<'_>, key: &'static str) -> PathBuf {
        let (text, _) = self.text(source, key);
        source.resolve(&text)
    }

    pub fn optional_path(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<(PathBuf, Range<usize>)> {
        let (text, span) = self.optional_text(source, key)?;
        Some((source.resolve(&text), span))
    }

    pub fn flag(&mut self, source: &mut Source<'_>, key: &'static str, default: bool) -> bool {
        match self.ask(source, key).map(|value| (value.get_ref(), value.span())) {
            None => default,
            Some((DeValue::Boolean(flag), _)) => *flag,
            Some((other, span)) => {
                source.fault(span, format!("`{key}` must be true or false, not {}", kind(other)));
                default
            }
        }
    }

    pub fn number(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        self.optional_number(source, key, range).unwrap_or(default)
    }

    pub fn optional_number(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = self.ask(source, key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            other => {
                source.fault(
                    value.span(),
                    format!("`{key}` must be a whole number, not {}", kind(other)),
                );
                return None;
            }
        };
        let fitting = number.filter(|number| range.contains(number));
        if fitting.is_none() {
            source.fault(
                value.span(),
                format!("`{key}` must be from {} to {}", range.start(), range.end()),
            );
        }
        fitting
    }

    /// A power of two within `range`.
    pub fn power_of_two(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let number = self.optional_number(source, key, range);
        if number.is_some_and(|number| !number.is_power_of_two()) {
            source.fault(self.span_of(key), format!("`{key}` must be a power of two"));
        }
        number.unwrap_or(default)
    }

    /// A time with its unit (`"500ms"`, `"30s"`, `"5m"`, `"2h"`).
    pub fn duration(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        self.measure(
            source,
            key,
            units::duration,
            units::DURATION_FORM,
            range,
            units::show_duration,
        )
        .unwrap_or(default)
    }

    /// Bytes with their unit (`"64KiB"`, `"256MiB"`).
    pub fn size(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        self.measure(source, key, units::size, units::SIZE_FORM, range, units::show_size)
            .unwrap_or(default)
    }

    /// One of a closed list of words.
    pub fn word<W: Word>(&mut self, source: &mut Source<'_>, key: &'static str, default: W) -> W {
        let Some((text, span)) = self.optional_text(source, key) else {
            return default;
        };
        W::from_word(&text).unwrap_or_else(|| {
            let words: Vec<String> = W::ALL.iter().map(|word| format!("\"{}\"", word.as_str())).collect();
            if !text.is_empty() {
                source.fault(span, format!("`{key}` must be one of {}", words.join(", ")));
            }
            default
        })
    }

    /// A list of texts, each with its place.
    pub fn texts(&mut self, source: &mut Source<'_>, key: &'static str) -> Vec<(String, Range<usize>)> {
        let Some(value) = self.ask(source, key) else {
            return Vec::new();
        };
        let DeValue::Array(elements) = value.get_ref() else {
            source.fault(
                value.span(),
                format!("`{key}` must be a list of texts, not {}", kind(value.get_ref())),
            );
            return Vec::new();
        };
        let mut texts = Vec::new();
        for element in elements.iter() {
            match element.get_ref() {
                DeValue::String(text) => texts.push((text.to_string(), element.span())),
                other => source.fault(
                    element.span(),
                    format!("`{key}` must hold texts only, not {}", kind(other)),
                ),
            }
        }
        texts
    }

    /// Whether the text has the key, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Where the value of `key` stands; the table's head if it is not there.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.find(key).map_or(self.span(), |(_, value)| value.span())
    }

    /// Notes that `key` must be there and is not.
    pub fn missing(&self, source: &mut Source<'_>, key: &str) {
        let message = format!("`{key}` is missing in `[{}]`", self.name);
        match &self.span {
            Some(span) => source.fault(span.clone(), message),
            None => source.fault_of_file(message),
        }
    }

    /// Notes every key that nobody asked for. Call it last.
    pub fn refuse_unknown(self, source: &mut Source<'_>) {
        for (key, _) in self.entries.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let place = if self.name.is_empty() {
                    "here".to_owned()
                } else {
                    format!("in `[{}]`", self.name)
                };
                let mut known = self.known.clone();
                known.sort_unstable();
                source.fault(
                    key.span(),
                    format!("unknown key `{name}` {place}; known are {}", known.join(", ")),
                );
            }
        }
    }

    fn measure<T: PartialOrd + Copy>(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        read: impl Fn(&str) -> Option<T>,
        form: &str,
        range: RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        let value = self.ask(source, key)?;
        let read = match value.get_ref() {
            DeValue::String(text) => read(text),
            _ => None,
        };
        if read.is_none() {
            source.fault(value.span(), format!("`{key}` must be {form}"));
        }
        let (least, most) = (*range.start(), *range.end());
        let fitting = read.filter(|value| range.contains(value));
        if read.is_some() && fitting.is_none() {
            source.fault(
                value.span(),
                format!("`{key}` must be from {} to {}", show(least), show(most)),
            );
        }
        fitting
    }

    fn ask(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        source.note_key(self.name, key);
        self.get(key).map(|(_, value)| value)
    }

    fn get(&mut self, key: &'static str) -> Option<(Range<usize>, &'t Spanned<DeValue<'i>>)> {
        self.known.push(key);
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<(Range<usize>, &'t Spanned<DeValue<'i>>)> {
        let (name, value) = self.entries?.get_key_value(key)?;
        Some((name.span(), value))
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
