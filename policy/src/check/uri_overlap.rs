//! Finds URI patterns of different identities that one certificate could match: it would be denied as ambiguous, always.
//!
//! Patterns are grouped by provider, number of segments and places of their wildcards. Two patterns overlap exactly when
//! they are equal once the wildcards of both are masked in both; so two groups are compared by one hash table, and a
//! million plain URIs against a few shapes of wildcards stays linear.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Item, ModelFault, Object, Why};
use crate::model::{IdentityKey, Model};

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    let mut clashes = BTreeMap::new();
    for shapes in patterns_by_shape(model).values() {
        for (shape, patterns) in shapes {
            for (other_shape, others) in shapes.range(shape.clone()..) {
                let mask = union(shape, other_shape);
                let (few, many) = if patterns.len() < others.len() {
                    (patterns, others)
                } else {
                    (others, patterns)
                };
                compare(few, many, &mask, &mut clashes);
            }
        }
    }
    found.extend(clashes.into_iter().map(|(later, earlier)| clash(later, earlier)));
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern<'m> {
    identity: &'m str,
    index: usize,
    text: &'m str,
}

/// The positions of the wildcards among the segments.
type Shape = Vec<usize>;
type ByShape<'m> = BTreeMap<Shape, Vec<Pattern<'m>>>;

fn patterns_by_shape(model: &Model) -> BTreeMap<(&str, usize), ByShape<'_>> {
    let mut groups: BTreeMap<(&str, usize), ByShape<'_>> = BTreeMap::new();
    for (identity, definition) in &model.identities {
        for (index, bound) in definition.keys.iter().enumerate() {
            let IdentityKey::Uri { provider, pattern } = bound else {
                continue;
            };
            let shape = pattern
                .split('/')
                .enumerate()
                .filter(|(_, part)| *part == "*")
                .map(|(at, _)| at)
                .collect();
            let group = groups.entry((provider, pattern.split('/').count())).or_default();
            group.entry(shape).or_default().push(Pattern {
                identity,
                index,
                text: pattern,
            });
        }
    }
    groups
}

fn union(a: &Shape, b: &Shape) -> Shape {
    let mut both: Shape = a.iter().chain(b).copied().collect();
    both.sort_unstable();
    both.dedup();
    both
}

/// Remembers, for the later of two overlapping patterns, the earliest that it overlaps.
fn compare<'m>(
    few: &[Pattern<'m>],
    many: &[Pattern<'m>],
    mask: &Shape,
    clashes: &mut BTreeMap<Pattern<'m>, Pattern<'m>>,
) {
    let mut table: HashMap<u64, Vec<Pattern<'m>>> = HashMap::new();
    for pattern in few {
        table.entry(masked_hash(pattern.text, mask)).or_default().push(*pattern);
    }
    for pattern in many {
        for other in table.get(&masked_hash(pattern.text, mask)).into_iter().flatten() {
            if pattern.identity != other.identity && overlap(pattern.text, other.text) {
                let (earlier, later) = if pattern < other {
                    (*pattern, *other)
                } else {
                    (*other, *pattern)
                };
                let kept = clashes.entry(later).or_insert(earlier);
                *kept = earlier.min(*kept);
            }
        }
    }
}

fn masked_hash(pattern: &str, mask: &Shape) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut masked = mask.iter().peekable();
    for (at, segment) in pattern.split('/').enumerate() {
        match masked.next_if_eq(&&at) {
            Some(_) => "*".hash(&mut hasher),
            None => segment.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// Of patterns with equally many segments.
fn overlap(a: &str, b: &str) -> bool {
    a.split('/')
        .zip(b.split('/'))
        .all(|(a, b)| a == b || a == "*" || b == "*")
}

fn clash(later: Pattern<'_>, earlier: Pattern<'_>) -> ModelFault {
    let message = match later.text == earlier.text {
        true => format!("identity `{}` has the same key", earlier.identity),
        false => format!(
            "identity `{}` has `{}`, which may be in the same certificate",
            earlier.identity, earlier.text
        ),
    };
    ModelFault {
        object: Object::Identity(later.identity.to_owned()),
        key: Some("keys"),
        item: Some(Item::Index(later.index)),
        other: Some(Object::Identity(earlier.identity.to_owned())),
        why: Why::new(message).help("a certificate that matches two identities is denied"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    fn clashes(patterns: &[(&str, &str)]) -> Vec<String> {
        let mut model = Model::default();
        for (identity, pattern) in patterns {
            let identity: &mut Identity = model.identities.entry((*identity).to_owned()).or_default();
            identity.keys.push(IdentityKey::Uri {
                provider: "p".to_owned(),
                pattern: (*pattern).to_owned(),
            });
        }
        let mut found = Vec::new();
        check(&model, &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_patterns_that_share_a_certificate() {
        for (a, b) in [
            ("spiffe://corp/ns/*/sa/x", "spiffe://corp/ns/prod/sa/x"),
            ("spiffe://corp/ns/*/sa/x", "spiffe://corp/ns/prod/sa/*"),
            ("spiffe://corp/ns/*/sa/*", "spiffe://corp/ns/*/sa/x"),
            ("spiffe://corp/a", "spiffe://corp/a"),
        ] {
            assert_eq!(clashes(&[("one", a), ("two", b)]).len(), 1, "{a} {b}");
            assert_eq!(clashes(&[("one", b), ("two", a)]).len(), 1, "{b} {a}");
        }
    }

    #[test]
    fn leaves_patterns_alone_that_do_not() {
        for (a, b) in [
            ("spiffe://corp/ns/*/sa/x", "spiffe://corp/ns/prod/sa/y"),
            ("spiffe://corp/ns/*/sa/x", "spiffe://corp/ns/prod/sub/sa/x"),
            ("spiffe://corp/*/a", "spiffe://other/*/a"),
            ("spiffe://corp/a", "spiffe://corp/b"),
        ] {
            assert_eq!(clashes(&[("one", a), ("two", b)]), Vec::<String>::new(), "{a} {b}");
        }
        assert!(
            clashes(&[("one", "spiffe://corp/*"), ("one", "spiffe://corp/a")]).is_empty(),
            "one identity"
        );
    }

    #[test]
    fn names_the_earliest_of_several() {
        let found = clashes(&[("a", "spiffe://c/*"), ("b", "spiffe://c/x"), ("c", "spiffe://c/x")]);
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|fault| fault.contains("identity `a` has `spiffe://c/*`")),
            "{found:?}"
        );
    }
}
