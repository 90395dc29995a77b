//! What a webhook says, read strictly: whatever is not exactly an answer is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postern_policy::attributes::Attributes;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::time::Utc;

/// Bytes of an identity, a group or the name of an attribute.
const MAX_NAME: usize = 255;
/// Values of attributes, and groups, that one answer may have.
const MAX_VALUES: usize = 1024;
/// Characters of a reason that are kept.
const MAX_REASON: usize = 200;

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Allowed(Arc<Asserted>),
    /// The webhook said no.
    Denied {
        reason: Box<str>,
    },
    /// There is no answer, so nobody is let in. `why` is for the operator, not for the client.
    Unavailable {
        why: Box<str>,
    },
}

/// What the webhook says of whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asserted {
    pub subject: Box<str>,
    pub groups: Box<[Box<str>]>,
    pub attributes: Attributes,
    /// Until when the answer serves for the same question again. The attempt that asked may use it at once, even where
    /// this moment is now.
    pub until: Utc,
}

impl Answer {
    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        let content = match self {
            Answer::Allowed(asserted) => asserted.weight(),
            Answer::Denied { reason } => reason.len(),
            Answer::Unavailable { why } => why.len(),
        };
        size_of::<Self>() + content
    }
}

impl Asserted {
    fn weight(&self) -> usize {
        let groups: usize = self
            .groups
            .iter()
            .map(|group| size_of::<Box<str>>() + group.len())
            .sum();
        size_of::<Self>() + self.subject.len() + groups + self.attributes.weight()
    }
}

/// An answer as it was read, before anybody looks at a clock.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow {
        subject: Box<str>,
        groups: Box<[Box<str>]>,
        attributes: Attributes,
        ttl: Option<Duration>,
    },
    Deny {
        reason: Box<str>,
        ttl: Option<Duration>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Where, and never what: a webhook may well repeat the password it was asked about.
    #[error("the answer is {what} (line {line}, column {column})")]
    Shape {
        what: &'static str,
        line: usize,
        column: usize,
    },
    #[error("the answer allows without an identity")]
    NoIdentity,
    #[error("the answer has \"{0}\", which does not go with its \"allow\"")]
    Misplaced(&'static str),
    #[error("the answer's {0} is empty, longer than {MAX_NAME} bytes, or has control characters")]
    Name(&'static str),
    #[error("the answer has more than {MAX_VALUES} {0}")]
    TooMany(&'static str),
}

/// Reads the body of an answer.
pub fn read(body: &[u8]) -> Result<Verdict, AnswerFault> {
    let raw: Raw = serde_json::from_slice(body).map_err(|error| shape(&error))?;
    if raw.allow { allow(raw) } else { deny(raw) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    allow: bool,
    identity: Option<String>,
    groups: Option<Vec<Box<str>>>,
    attributes: Option<Listed>,
    ttl: Option<u32>,
    reason: Option<String>,
}

fn allow(raw: Raw) -> Result<Verdict, AnswerFault> {
    if raw.reason.is_some() {
        return Err(AnswerFault::Misplaced("reason"));
    }
    let subject = raw.identity.ok_or(AnswerFault::NoIdentity)?;
    check_name(&subject, "identity")?;
    let groups = raw.groups.unwrap_or_default();
    if groups.len() > MAX_VALUES {
        return Err(AnswerFault::TooMany("groups"));
    }
    for group in &groups {
        check_name(group, "group")?;
    }
    Ok(Verdict::Allow {
        subject: subject.into(),
        groups: groups.into(),
        attributes: attributes(raw.attributes.unwrap_or_default())?,
        ttl: raw.ttl.map(seconds),
    })
}

/// A name stands beside each of its values: only behind the bounds.
fn attributes(Listed(listed): Listed) -> Result<Attributes, AnswerFault> {
    if listed.iter().map(|(_, values)| values.len()).sum::<usize>() > MAX_VALUES {
        return Err(AnswerFault::TooMany("attributes"));
    }
    for (name, _) in &listed {
        check_name(name, "attribute")?;
    }
    let pairs = listed
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    Ok(pairs.collect())
}

fn deny(raw: Raw) -> Result<Verdict, AnswerFault> {
    for (name, present) in [
        ("identity", raw.identity.is_some()),
        ("groups", raw.groups.is_some()),
        ("attributes", raw.attributes.is_some()),
    ] {
        if present {
            return Err(AnswerFault::Misplaced(name));
        }
    }
    let reason: String = raw
        .reason
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_REASON)
        .collect();
    Ok(Verdict::Deny {
        reason: reason.into(),
        ttl: raw.ttl.map(seconds),
    })
}

fn shape(error: &serde_json::Error) -> AnswerFault {
    let what = match error.classify() {
        Category::Data => "JSON of another shape",
        Category::Io | Category::Syntax | Category::Eof => "no JSON",
    };
    AnswerFault::Shape {
        what,
        line: error.line(),
        column: error.column(),
    }
}

fn check_name(text: &str, what: &'static str) -> Result<(), AnswerFault> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(AnswerFault::Name(what));
    }
    Ok(())
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl))
}

/// Attributes in the order in which they came. A name that comes twice is refused: readers would differ on what it means.
#[derive(Default)]
struct Listed(Vec<(Box<str>, Vec<Box<str>>)>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ListedVisitor)
    }
}

struct ListedVisitor;

impl<'de> Visitor<'de> for ListedVisitor {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut listed = Vec::new();
        while let Some((name, Values(values))) = map.next_entry::<Box<str>, Values>()? {
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom("an attribute comes twice"));
            }
            listed.push((name, values));
        }
        Ok(Listed(listed))
    }
}

/// One value or a list of them.
struct Values(Vec<Box<str>>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, true, false, or a list of these")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Values, E> {
        Ok(Values(vec![text.into()]))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Values, E> {
        Ok(Values(vec![value.to_string().into()]))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Values, E> {
        Ok(Values(vec![value.to_string().into()]))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Values, E> {
        Ok(Values(vec![value.to_string().into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(One(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Values(values))
    }
}

/// An element of a list, which is no list itself.
struct One(Box<str>);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Element {
            Text(Box<str>),
            Truth(bool),
            Whole(i64),
        }
        Ok(Self(match Element::deserialize(deserializer)? {
            Element::Text(text) => text,
            Element::Truth(truth) => truth.to_string().into(),
            Element::Whole(number) => number.to_string().into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_repeats_nothing_of_the_answer() {
        for body in [
            r#"{"allow":"hunter2"}"#,
            r#"{"hunter2":1}"#,
            r#"{"allow":true,"identity":"a","ttl":"hunter2"}"#,
            "{\"allow\":true,\"identity\":\"hunter2\0\"}",
            "hunter2",
        ] {
            let fault = read(body.as_bytes()).unwrap_err();
            assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_full_answer_is_read() {
        let body = br#"{"allow":true,"identity":"alice","groups":["dev","ops"],
            "attributes":{"tenant":"acme","roles":["b","a"],"level":3,"admin":false},"ttl":60}"#;
        let Ok(Verdict::Allow {
            subject,
            groups,
            attributes,
            ttl,
        }) = read(body)
        else {
            panic!("{:?}", read(body))
        };
        assert_eq!(
            (&*subject, groups.len(), ttl),
            ("alice", 2, Some(Duration::from_secs(60)))
        );
        assert_eq!(attributes.values("roles").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(
            [
                attributes.only("tenant"),
                attributes.only("level"),
                attributes.only("admin")
            ],
            [Some("acme"), Some("3"), Some("false")]
        );
    }

    #[test]
    fn a_no_needs_nothing_more() {
        let deny = |reason: &str, ttl| Verdict::Deny {
            reason: reason.into(),
            ttl,
        };
        assert_eq!(read(br#"{"allow":false}"#), Ok(deny("", None)));
        assert_eq!(
            read(br#"{"allow":false,"reason":"on\n leave","ttl":5}"#),
            Ok(deny("on leave", Some(Duration::from_secs(5))))
        );
        let long = format!(r#"{{"allow":false,"reason":"{}"}}"#, "é".repeat(300));
        assert_eq!(read(long.as_bytes()), Ok(deny(&"é".repeat(200), None)));
    }

    #[test]
    fn whatever_is_not_an_answer_is_none() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "true",
            r#"{"allow":"true","identity":"a"}"#,
            r#"{"allow":1,"identity":"a"}"#,
            r#"{"allow":true}"#,
            r#"{"allow":true,"identity":null}"#,
            r#"{"allow":true,"identity":""}"#,
            r#"{"allow":true,"identity":"a\u0000b"}"#,
            r#"{"allow":true,"identity":"a","reason":"b"}"#,
            r#"{"allow":true,"identity":"a","extra":1}"#,
            r#"{"allow":true,"allow":true,"identity":"a"}"#,
            r#"{"allow":true,"identity":"a","groups":"dev"}"#,
            r#"{"allow":true,"identity":"a","groups":[""]}"#,
            r#"{"allow":true,"identity":"a","attributes":{"a":{"b":"c"}}}"#,
            r#"{"allow":true,"identity":"a","attributes":{"a":[["b"]]}}"#,
            r#"{"allow":true,"identity":"a","attributes":{"a":null}}"#,
            r#"{"allow":true,"identity":"a","attributes":{"a":1.5}}"#,
            r#"{"allow":true,"identity":"a","attributes":{"a":"1","a":"2"}}"#,
            r#"{"allow":true,"identity":"a","attributes":{"":"1"}}"#,
            r#"{"allow":true,"identity":"a","ttl":-1}"#,
            r#"{"allow":true,"identity":"a"} trailing"#,
            r#"{"allow":false,"identity":"a"}"#,
            r#"{"allow":false,"attributes":{}}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn bounds_hold_to_the_letter() {
        let named = |name: String| format!(r#"{{"allow":true,"identity":"{name}"}}"#);
        assert!(read(named("a".repeat(255)).as_bytes()).is_ok());
        assert_eq!(
            read(named("a".repeat(256)).as_bytes()),
            Err(AnswerFault::Name("identity"))
        );
        let valued = |count: usize| {
            let values = vec!["\"v\""; count].join(",");
            format!(r#"{{"allow":true,"identity":"a","attributes":{{"x":[{values}]}}}}"#)
        };
        let named = |name: String| format!(r#"{{"allow":true,"identity":"a","attributes":{{"{name}":[]}}}}"#);
        assert!(read(named("a".repeat(255)).as_bytes()).is_ok());
        assert_eq!(
            read(named("a".repeat(256)).as_bytes()),
            Err(AnswerFault::Name("attribute"))
        );
        assert!(read(valued(1024).as_bytes()).is_ok());
        assert_eq!(read(valued(1025).as_bytes()), Err(AnswerFault::TooMany("attributes")));
    }
}
