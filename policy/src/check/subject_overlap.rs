//! Finds patterns of subjects, and names of identities that are made of subjects, that could mean two identities at once:
//! it would be denied as ambiguous, always.
//!
//! Each has at most one place that is open, so two overlap exactly when one's beginning begins the other's and one's end
//! ends the other's.

use std::collections::BTreeMap;

use super::{Item, ModelFault, Object, Why};
use crate::model::{IdentityKey, Model};

/// The place in an identity's name that the subject fills.
pub const SUBJECT: &str = "{subject}";

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    check_patterns(model, found);
    check_names(model, found);
}

fn check_patterns(model: &Model, found: &mut Vec<ModelFault>) {
    let mut by_provider: BTreeMap<&str, Vec<(&str, usize, &str)>> = BTreeMap::new();
    for (name, identity) in &model.identities {
        for (index, bound) in identity.keys.iter().enumerate() {
            if let IdentityKey::Subject { provider, pattern } = bound
                && pattern.contains('*')
            {
                by_provider.entry(provider).or_default().push((name, index, pattern));
            }
        }
    }
    for patterns in by_provider.values() {
        for (place, (name, index, pattern)) in patterns.iter().enumerate() {
            let earlier = patterns.iter().take(place);
            let other = earlier
                .filter(|(other, ..)| other != name)
                .find(|(.., other)| overlap(split(pattern, "*"), split(other, "*")));
            if let Some((other, _, its)) = other {
                let why = format!("`{pattern}` and `{its}` of identity `{other}` can be the same subject");
                found.push(ModelFault {
                    object: Object::Identity((*name).to_owned()),
                    key: Some("keys"),
                    item: Some(Item::Index(*index)),
                    other: Some(Object::Identity((*other).to_owned())),
                    why: Why::new(why).help("a subject that matches two identities is nobody"),
                });
            }
        }
    }
}

fn check_names(model: &Model, found: &mut Vec<ModelFault>) {
    let templates: Vec<&String> = model.identities.keys().filter(|name| name.contains(SUBJECT)).collect();
    for (place, name) in templates.iter().enumerate() {
        let earlier = templates.iter().take(place);
        let mut others = earlier.filter(|other| overlap(split(name, SUBJECT), split(other, SUBJECT)));
        if let Some(other) = others.next() {
            found.push(ModelFault {
                object: Object::Identity((*name).clone()),
                key: None,
                item: None,
                other: Some(Object::Identity((*other).clone())),
                why: Why::new(format!("identity `{other}` can come to the same name"))
                    .help("put the provider into the name: `corp:{subject}`"),
            });
        }
    }
}

fn split<'t>(text: &'t str, open: &str) -> (&'t str, &'t str) {
    text.split_once(open).unwrap_or((text, ""))
}

fn overlap(one: (&str, &str), other: (&str, &str)) -> bool {
    (one.0.starts_with(other.0) || other.0.starts_with(one.0)) && (one.1.ends_with(other.1) || other.1.ends_with(one.1))
}
