//! Finds where in the text a fault of the model is: object, key, element, as near as it can be told.

use super::definitions::{Definitions, Kind, Place};
use super::findings::{Findings, Span};
use super::table::Value;
use crate::check::{Item, ModelFault, Object};

impl Definitions<'_> {
    pub fn tell(&self, fault: &ModelFault, findings: &Findings<'_>) {
        let span = self.place_of(&fault.object).map(|place| nearest(&place, fault));
        // Only what the policy lacks as a whole has no place: the start of its first file is as good as any.
        findings.say(&span.unwrap_or(Span { file: 0, bytes: 0..0 }), fault.why.clone());
    }

    fn place_of(&self, object: &Object) -> Option<Place<'_>> {
        let named = |kind, name: &str| self.named.get(&(kind, name)).cloned();
        match object {
            Object::Policy => None,
            Object::Provider(name) => named(Kind::Provider, name),
            Object::Identity(name) => named(Kind::Identity, name),
            Object::Group(name) => named(Kind::Group, name),
            Object::Cluster(name) => named(Kind::Cluster, name),
            Object::Grant(name) => named(Kind::Grant, name),
            Object::Deny(name) => named(Kind::Deny, name),
            Object::Revocation(name) => named(Kind::Revocation, name),
            Object::Authentication(index) => self.authentication.get(*index).cloned(),
            Object::Role { cluster, role } => {
                let cluster = named(Kind::Cluster, cluster)?;
                let roles = cluster.value.get_ref().as_table()?.get("role")?.get_ref().as_table()?;
                let (name, value) = roles.get_key_value(role.as_str())?;
                Some(Place {
                    header: Span {
                        file: cluster.header.file,
                        bytes: name.span(),
                    },
                    value,
                })
            }
        }
    }
}

fn nearest(place: &Place<'_>, fault: &ModelFault) -> Span {
    let key = fault.key.and_then(|key| place.value.get_ref().as_table()?.get(key));
    let bytes = match (key, &fault.item) {
        (Some(value), Some(item)) => element(value, item).unwrap_or_else(|| value.span()),
        (Some(value), None) => value.span(),
        (None, _) => return place.header.clone(),
    };
    Span {
        file: place.header.file,
        bytes,
    }
}

fn element(value: &Value<'_>, item: &Item) -> Option<core::ops::Range<usize>> {
    match item {
        Item::Index(index) => value.get_ref().as_array()?.get(*index).map(|element| element.span()),
        Item::Text(text) => match value.get_ref() {
            toml::de::DeValue::Array(elements) => elements
                .iter()
                .find(|element| element.get_ref().as_str() == Some(text))
                .map(|element| element.span()),
            toml::de::DeValue::Table(entries) => entries
                .keys()
                .find(|key| key.get_ref().eq_ignore_ascii_case(text))
                .map(|key| key.span()),
            toml::de::DeValue::String(_)
            | toml::de::DeValue::Integer(_)
            | toml::de::DeValue::Float(_)
            | toml::de::DeValue::Boolean(_)
            | toml::de::DeValue::Datetime(_) => None,
        },
    }
}
