//! What a proof says of its holder beside the name: claims of a token, attributes of a webhook's answer, names of a
//! certificate. And the tests that a policy puts to them.

use crate::model::{ClaimTest, Glob};

/// Names and values, each as text; a name may have several values. A nested object's member has the path to it with dots
/// (`realm_access.roles`), an element of a list the name of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// By name; values of one name in the order in which they came.
    entries: Vec<(Box<str>, Box<str>)>,
}

/// Of a proof that says nothing.
pub static NONE: Attributes = Attributes { entries: Vec::new() };

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut entries: Vec<(Box<str>, Box<str>)> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.shrink_to_fit();
        Self { entries }
    }
}

impl Attributes {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every name and value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let from = self.entries.partition_point(|entry| *entry.0 < *name);
        let rest = self.entries.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |entry| *entry.0 == *name)
            .map(|entry| &*entry.1)
    }

    /// The one value of a name. A name with several has none that could stand for it.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Bytes of memory that the names and values take, about.
    pub fn weight(&self) -> usize {
        let text: usize = self.entries.iter().map(|(name, value)| name.len() + value.len()).sum();
        text + self.entries.len() * size_of::<(Box<str>, Box<str>)>()
    }
}

impl ClaimTest {
    pub fn holds(&self, name: &str, attributes: &Attributes) -> bool {
        match self {
            ClaimTest::Is(pattern) => attributes.only(name).is_some_and(|value| pattern.matches(value)),
            ClaimTest::HasOneOf(patterns) => attributes
                .values(name)
                .any(|value| patterns.iter().any(|pattern| pattern.matches(value))),
        }
    }
}

impl Glob {
    pub fn matches(&self, text: &str) -> bool {
        glob_matches(&self.0, text)
    }
}

/// Whether `text` is as `pattern` says, in which each `*` stands for any characters or none. Time: the product of the two
/// lengths at most.
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        let Some(at) = text.find(piece) else { return false };
        text = text.get(at + piece.len()..).unwrap_or_default();
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_name_stay_in_their_order() {
        let attributes: Attributes = [("roles", "b"), ("sub", "x"), ("roles", "a")].into_iter().collect();
        assert_eq!(attributes.values("roles").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(attributes.only("sub"), Some("x"));
        assert_eq!(attributes.only("roles"), None);
        assert_eq!(attributes.values("none").next(), None);
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, matches) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("a**c", "abc", true),
            ("*a*", "xay", true),
            ("", "x", false),
        ] {
            assert_eq!(glob_matches(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn one_value_is_asked_for_otherwise_than_one_of_several() {
        let attributes: Attributes = [("tenant", "a"), ("roles", "dba"), ("roles", "dev")]
            .into_iter()
            .collect();
        let is = |name, pattern: &str| ClaimTest::Is(Glob(pattern.to_owned())).holds(name, &attributes);
        let one_of = |name, pattern: &str| ClaimTest::HasOneOf(vec![Glob(pattern.to_owned())]).holds(name, &attributes);
        assert!(is("tenant", "a") && !is("tenant", "b") && !is("roles", "*") && !is("none", "*"));
        assert!(one_of("roles", "d*v") && one_of("tenant", "a") && !one_of("roles", "x") && !one_of("none", "*"));
    }
}
