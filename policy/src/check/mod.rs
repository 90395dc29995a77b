//! The rules that a policy must keep, on the [`Model`] alone: what the text is checked with after it is read, and what a
//! compiled snapshot is checked with when it is loaded. Knows nothing about files and lines; `text` finds those.
//!
//! [`check`] tells all faults at once. The leaf rules in [`value`], [`key`] and [`pki`] are one per kind of value, so that
//! `text` can apply them where it knows the exact place.

use core::fmt;
use std::collections::HashSet;

use crate::model::{Identity, Model, Provider};

mod authentication;
mod cluster;
mod grant;
mod identity;
pub mod key;
pub mod pki;
mod provider;
mod revocation;
mod subject_overlap;
pub(crate) mod suggest;
pub(crate) mod tie;
mod tokens;
mod uri_overlap;
pub mod value;

/// Everything wrong with `model`; empty when it may come into force.
///
/// Linear in identities and grants, apart from grants that name the same database, which are compared with each other.
pub fn check(model: &Model) -> Vec<ModelFault> {
    let mut found = Vec::new();
    provider::check(model, &mut found);
    identity::check(model, &mut found);
    revocation::check(model, &mut found);
    cluster::check(model, &mut found);
    grant::check(model, &mut found);
    tie::check(model, &mut found);
    authentication::check(model, &mut found);
    found
}

/// One broken rule: which object, which of its keys, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFault {
    pub object: Object,
    /// As the text names it (`identities`); `None` where the object as a whole is wrong.
    pub key: Option<&'static str>,
    /// The element of the key's list, where one of them is meant.
    pub item: Option<Item>,
    /// Another object that the fault depends on (the other grant of a tie).
    pub other: Option<Object>,
    pub why: Why,
}

/// What is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    pub message: String,
    pub help: Option<String>,
}

/// One thing that a policy defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    Policy,
    Provider(String),
    Identity(String),
    Group(String),
    Cluster(String),
    Role {
        cluster: String,
        role: String,
    },
    Grant(String),
    Deny(String),
    Revocation(String),
    /// By position: their names may be what is wrong.
    Authentication(usize),
}

/// Which element of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// By what stands there.
    Text(String),
    Index(usize),
}

impl Why {
    pub fn new(message: impl Into<String>) -> Why {
        Why {
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Why {
        Why {
            help: Some(help.into()),
            ..self
        }
    }

    /// With "did you mean" where one of `candidates` is close to `written`.
    #[must_use]
    pub fn suggest<'a>(self, written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Why {
        match suggest::closest(written, candidates) {
            Some(close) => self.help(format!("did you mean `{close}`?")),
            None => self,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Policy => write!(f, "the policy"),
            Object::Provider(name) => write!(f, "provider `{name}`"),
            Object::Identity(name) => write!(f, "identity `{name}`"),
            Object::Group(name) => write!(f, "group `{name}`"),
            Object::Cluster(name) => write!(f, "cluster `{name}`"),
            Object::Role { cluster, role } => write!(f, "role `{role}` of cluster `{cluster}`"),
            Object::Grant(name) => write!(f, "grant `{name}`"),
            Object::Deny(name) => write!(f, "deny `{name}`"),
            Object::Revocation(name) => write!(f, "revocation `{name}`"),
            Object::Authentication(index) => write!(f, "authentication rule {}", index + 1),
        }
    }
}

/// In one line, for a snapshot that has no text: `grant "x": identities: no identity is called "y"`.
impl fmt::Display for ModelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if let Some(key) = self.key {
            write!(f, "{key}: ")?;
        }
        write!(f, "{}", self.why.message)
    }
}

/// Where the rules of one object put what they find.
struct Scope<'a> {
    found: &'a mut Vec<ModelFault>,
    /// Made only for a fault: a sound policy of a million identities clones no name.
    object: &'a dyn Fn() -> Object,
}

impl<'a> Scope<'a> {
    fn new(found: &'a mut Vec<ModelFault>, object: &'a dyn Fn() -> Object) -> Scope<'a> {
        Scope { found, object }
    }

    fn whole(&mut self, rule: Result<(), Why>) {
        self.say(None, None, rule);
    }

    fn key(&mut self, key: &'static str, rule: Result<(), Why>) {
        self.say(Some(key), None, rule);
    }

    fn text(&mut self, key: &'static str, item: &str, rule: Result<(), Why>) {
        if rule.is_err() {
            self.say(Some(key), Some(Item::Text(item.to_owned())), rule);
        }
    }

    fn index(&mut self, key: &'static str, index: usize, rule: Result<(), Why>) {
        self.say(Some(key), Some(Item::Index(index)), rule);
    }

    fn say(&mut self, key: Option<&'static str>, item: Option<Item>, rule: Result<(), Why>) {
        self.say_with(key, item, None, rule);
    }

    /// A rule that looks at another object as well.
    fn say_with(
        &mut self,
        key: Option<&'static str>,
        item: Option<Item>,
        other: Option<Object>,
        rule: Result<(), Why>,
    ) {
        if let Err(why) = rule {
            self.found.push(ModelFault {
                object: (self.object)(),
                key,
                item,
                other,
                why,
            });
        }
    }
}

/// `Ok` where `sound`, else what `why` says.
fn require(sound: bool, why: impl FnOnce() -> Why) -> Result<(), Why> {
    if sound { Ok(()) } else { Err(why()) }
}

/// The names that a policy defines, for looking them up by the million.
struct Names<'m> {
    groups: HashSet<&'m str>,
}

impl<'m> Names<'m> {
    fn of(model: &'m Model) -> Names<'m> {
        Names {
            groups: model.groups.iter().map(String::as_str).collect(),
        }
    }

    fn group(&self, model: &Model, name: &str) -> Result<(), Why> {
        require(self.groups.contains(name), || {
            dangling("group", name, model.groups.iter().map(String::as_str))
        })
    }
}

fn dangling<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Why {
    Why::new(format!("no {kind} is called `{name}`")).suggest(name, known)
}

fn provider_named<'m>(model: &'m Model, name: &str) -> Result<&'m Provider, Why> {
    model
        .providers
        .get(name)
        .ok_or_else(|| dangling("provider", name, model.providers.keys().map(String::as_str)))
}

fn identity_named<'m>(model: &'m Model, name: &str) -> Result<&'m Identity, Why> {
    model
        .identities
        .get(name)
        .ok_or_else(|| dangling("identity", name, model.identities.keys().map(String::as_str)))
}
