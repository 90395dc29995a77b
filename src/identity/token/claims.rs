//! What a token's payload says, made fit to be asked about again and again.

use postern_policy::attributes::Attributes;
use serde_json::{Map, Value};

use super::{MAX_TOKEN, TokenRefusal, decode};
use crate::time::Utc;

/// Containers within each other at most, the payload itself not counted.
const MOST_DEEP: usize = 8;
/// Values at most.
pub(super) const MOST_VALUES: usize = 1024;
/// Bytes of all names and values at most: the name of a list is repeated for each of its elements.
const MOST_TEXT: usize = 4 * MAX_TOKEN;
/// The last second that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;
/// From here on a floating-point number may stand for several integers.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// Whose connection alone a token may come over (RFC 7800).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    None,
    /// SHA-256 of the client's certificate (`cnf.x5t#S256`, RFC 8705).
    Certificate([u8; 32]),
    /// Another or a further member of `cnf`, or one that is not what it should be.
    Unsupported,
}

/// The registered claims that are not plain text.
pub(super) struct Registered {
    pub(super) expires: Utc,
    pub(super) not_before: Option<Utc>,
    pub(super) issued_at: Option<Utc>,
    pub(super) binding: Binding,
}

impl Registered {
    pub(super) fn of(payload: &Map<String, Value>) -> Result<Self, TokenRefusal> {
        check_types(payload)?;
        Ok(Self {
            expires: date(payload, "exp")?.ok_or(TokenRefusal::ClaimMissing)?,
            not_before: date(payload, "nbf")?,
            issued_at: date(payload, "iat")?,
            binding: binding(payload.get("cnf")),
        })
    }
}

/// Names and values as [`Attributes`] describes them. Numbers and booleans are text; null is left out, and so is a number
/// that another one could be mistaken for.
///
/// # Errors
/// Besides too much of it: an object with `a.b` beside an `a` that has members of its own, one of which may be `b`. Whoever
/// signed it knows which one he meant, and nobody else does.
pub(super) fn flatten(payload: Map<String, Value>) -> Result<Attributes, TokenRefusal> {
    let mut flat = Flat::default();
    check_names(&payload)?;
    for (name, value) in payload {
        flat.add(&name, value, MOST_DEEP)?;
    }
    Ok(flat.pairs.into_iter().collect())
}

/// So that a value under such a name is always the one text that the standard speaks of (RFC 7519, 4.1).
fn check_types(payload: &Map<String, Value>) -> Result<(), TokenRefusal> {
    let text = |name: &str| payload.get(name).is_none_or(Value::is_string);
    let audience = match payload.get("aud") {
        None | Some(Value::String(_)) => true,
        Some(Value::Array(list)) => list.iter().all(Value::is_string),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => false,
    };
    match audience && text("iss") && text("sub") && text("jti") {
        true => Ok(()),
        false => Err(TokenRefusal::Malformed),
    }
}

/// NumericDate: seconds since the epoch, with or without a fraction.
fn date(payload: &Map<String, Value>, name: &str) -> Result<Option<Utc>, TokenRefusal> {
    let Some(value) = payload.get(name) else {
        return Ok(None);
    };
    let microseconds = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) if (0..=LAST_SECOND).contains(&seconds) => seconds * 1_000_000,
        (None, Some(seconds)) if (0.0..=LAST_SECOND as f64).contains(&seconds) => (seconds * 1e6) as i64,
        (Some(_) | None, _) => return Err(TokenRefusal::Malformed),
    };
    Ok(Some(Utc(microseconds)))
}

fn binding(confirmation: Option<&Value>) -> Binding {
    let Some(confirmation) = confirmation else {
        return Binding::None;
    };
    let members = confirmation.as_object().filter(|members| members.len() == 1);
    let thumbprint = members.and_then(|members| members.get("x5t#S256")?.as_str());
    let decoded = thumbprint.and_then(|text| decode(text.as_bytes())?.try_into().ok());
    decoded.map_or(Binding::Unsupported, Binding::Certificate)
}

#[derive(Default)]
struct Flat {
    pairs: Vec<(String, String)>,
    text: usize,
}

impl Flat {
    /// `deep`: containers within each other that may still come.
    fn add(&mut self, path: &str, value: Value, deep: usize) -> Result<(), TokenRefusal> {
        match value {
            Value::Null => Ok(()),
            Value::Bool(value) => self.push(path, value.to_string()),
            Value::Number(number) if !number.is_f64() || number.as_f64().is_some_and(|value| value.abs() < INEXACT) => {
                self.push(path, number.to_string())
            }
            Value::Number(_) => Ok(()),
            Value::String(text) => self.push(path, text),
            Value::Array(list) => {
                let deep = deeper(deep)?;
                list.into_iter().try_for_each(|element| self.add(path, element, deep))
            }
            Value::Object(object) => {
                let deep = deeper(deep)?;
                check_names(&object)?;
                let mut members = object.into_iter();
                members.try_for_each(|(name, member)| self.add(&format!("{path}.{name}"), member, deep))
            }
        }
    }

    fn push(&mut self, path: &str, value: String) -> Result<(), TokenRefusal> {
        self.text += path.len() + value.len();
        if self.pairs.len() == MOST_VALUES || self.text > MOST_TEXT {
            return Err(TokenRefusal::TooManyClaims);
        }
        self.pairs.push((path.to_owned(), value));
        Ok(())
    }
}

fn check_names(object: &Map<String, Value>) -> Result<(), TokenRefusal> {
    let has_members = |name: &str| {
        object
            .get(name)
            .is_some_and(|value| value.is_object() || value.is_array())
    };
    let is_ambiguous = |name: &String| name.match_indices('.').any(|(at, _)| has_members(&name[..at]));
    match object.keys().any(is_ambiguous) {
        true => Err(TokenRefusal::Malformed),
        false => Ok(()),
    }
}

fn deeper(deep: usize) -> Result<usize, TokenRefusal> {
    deep.checked_sub(1).ok_or(TokenRefusal::TooManyClaims)
}
