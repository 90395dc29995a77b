//! What is defined where: every object of the policy by kind and name, over all files, each once.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeTable;

use super::findings::{Findings, Span};
use super::table::{Table, Value, kind};
use super::{ReferencedFiles, authentication, cluster, grant, identity, provider, revocation};
use crate::check::{Object, Why, suggest};
use crate::model::{CertificateAuthority, Model, Provider};

/// The kinds of objects that have names, as the text writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Provider,
    Identity,
    Group,
    Cluster,
    Grant,
    Deny,
    Revocation,
}

/// Where an object is defined.
#[derive(Clone)]
pub(super) struct Place<'t> {
    /// Its name in its header.
    pub header: Span,
    pub value: &'t Value<'t>,
}

#[derive(Default)]
pub(super) struct Definitions<'t> {
    pub named: BTreeMap<(Kind, &'t str), Place<'t>>,
    pub authentication: Vec<Place<'t>>,
    /// A file could not be read as TOML: names that it defines are missing here, and no rule on names means anything.
    pub incomplete: bool,
}

const KINDS: [(&str, Kind); 7] = [
    ("provider", Kind::Provider),
    ("identity", Kind::Identity),
    ("group", Kind::Group),
    ("cluster", Kind::Cluster),
    ("grant", Kind::Grant),
    ("deny", Kind::Deny),
    ("revocation", Kind::Revocation),
];
const AUTHENTICATION: &str = "authentication";

impl Kind {
    pub fn object(self, name: &str) -> Object {
        let name = name.to_owned();
        match self {
            Kind::Provider => Object::Provider(name),
            Kind::Identity => Object::Identity(name),
            Kind::Group => Object::Group(name),
            Kind::Cluster => Object::Cluster(name),
            Kind::Grant => Object::Grant(name),
            Kind::Deny => Object::Deny(name),
            Kind::Revocation => Object::Revocation(name),
        }
    }
}

impl<'t> Definitions<'t> {
    /// `documents` by file; one that could not be read defines nothing.
    pub fn of(documents: &'t [Option<Spanned<DeTable<'t>>>], findings: &Findings<'_>) -> Definitions<'t> {
        let incomplete = documents.iter().any(Option::is_none);
        let mut definitions = Definitions {
            incomplete,
            ..Definitions::default()
        };
        for (file, document) in documents.iter().enumerate() {
            for (key, value) in document.iter().flat_map(|document| document.get_ref()) {
                let at = Span {
                    file,
                    bytes: key.span(),
                };
                match KINDS.iter().find(|(word, _)| *word == key.get_ref()) {
                    Some((word, kind)) => definitions.add_kind(word, *kind, at, value, findings),
                    None if key.get_ref() == AUTHENTICATION => definitions.add_authentication(at, value, findings),
                    None => findings.say(&at, unknown(key.get_ref())),
                }
            }
        }
        definitions
    }

    fn add_kind(&mut self, word: &str, kind: Kind, at: Span, value: &'t Value<'t>, findings: &Findings<'_>) {
        let Some(table) = value.get_ref().as_table() else {
            return findings.say(&at, not_a_table_of_names(word, value));
        };
        for (name, value) in table {
            let header = Span {
                file: at.file,
                bytes: name.span(),
            };
            let name = name.get_ref().as_ref();
            match self.named.get(&(kind, name)) {
                None => {
                    self.named.insert((kind, name), Place { header, value });
                }
                Some(first) => {
                    let why = Why::new(format!("{} is defined twice", kind.object(name)));
                    findings.say(
                        &header,
                        why.help(format!("first defined at {}", findings.place(&first.header))),
                    );
                }
            }
        }
    }

    fn add_authentication(&mut self, at: Span, value: &'t Value<'t>, findings: &Findings<'_>) {
        let Some(rules) = value
            .get_ref()
            .as_array()
            .filter(|rules| rules.iter().all(|rule| rule.get_ref().is_table()))
        else {
            findings.spoil_whole(&Object::Policy);
            let why = Why::new(format!(
                "`authentication` is {}, not a list of rules",
                kind(value.get_ref())
            ));
            return findings.say(&at, why.help("each rule starts with `[[authentication]]`"));
        };
        if let Some(first) = self.authentication.first() {
            let why = Why::new("authentication rules in two files: which one is asked first?");
            findings.say(
                &at,
                why.help(format!(
                    "their order counts, so they live in one: {}",
                    findings.place(&first.header)
                )),
            );
            findings.spoil_whole(&Object::Policy);
        }
        for rule in rules {
            self.authentication.push(Place {
                header: Span {
                    file: at.file,
                    bytes: rule.span(),
                },
                value: rule,
            });
        }
    }

    /// Everything that is defined, as far as it can be understood.
    pub fn model(&self, findings: &Findings<'_>, files: &dyn ReferencedFiles) -> Model {
        let mut model = Model::default();
        for ((kind, name), place) in &self.named {
            let object = kind.object(name);
            let table = Table::of(findings, &object, place.header.clone(), place.value);
            add(*kind, name, table, files, &mut model);
        }
        for (index, place) in self.authentication.iter().enumerate() {
            let object = Object::Authentication(index);
            let rule = Table::of(findings, &object, place.header.clone(), place.value).map(authentication::read);
            model.authentication.extend(rule);
        }
        self.add_members(findings, &mut model);
        model
    }

    /// Once all identities are known.
    fn add_members(&self, findings: &Findings<'_>, model: &mut Model) {
        let groups = self
            .named
            .range((Kind::Group, "")..)
            .take_while(|((kind, _), _)| *kind == Kind::Group);
        for ((_, name), place) in groups.filter(|_| !self.incomplete) {
            let object = Object::Group((*name).to_owned());
            if let Some(mut table) = Table::of(findings, &object, place.header.clone(), place.value) {
                identity::add_members(name, &mut table, model);
                identity::add_mappings(name, &mut table, model);
                table.finish();
            }
        }
    }
}

/// Adds one object. One that is no table has its name still, so that what refers to it is not at fault as well.
fn add(kind: Kind, name: &str, table: Option<Table<'_>>, files: &dyn ReferencedFiles, model: &mut Model) {
    let key = name.to_owned();
    match kind {
        Kind::Provider => {
            let nobody = || Provider::CertificateAuthority(CertificateAuthority::default());
            let read = table.map(|table| provider::read(table, files));
            model.providers.insert(key, read.unwrap_or_else(nobody));
        }
        Kind::Identity => {
            model
                .identities
                .insert(key, table.map(identity::read).unwrap_or_default());
        }
        Kind::Group => {
            model.groups.insert(key);
        }
        Kind::Cluster => {
            model.clusters.insert(key, cluster::read(name, table, files));
        }
        Kind::Grant => model.grants.extend(table.map(|table| (key, grant::read(table)))),
        Kind::Deny => model.denies.extend(table.map(|table| (key, grant::read_deny(table)))),
        Kind::Revocation => model
            .revocations
            .extend(table.map(|table| (key, revocation::read(table)))),
    }
}

fn unknown(word: &str) -> Why {
    let known = KINDS.iter().map(|(word, _)| *word).chain([AUTHENTICATION]);
    let why = Why::new(format!("unknown key `{}`", word.escape_debug()));
    match suggest::closest(word, known.clone()) {
        Some(close) => why.help(format!("did you mean `{close}`?")),
        None => why.help(format!("a policy has {}", known.collect::<Vec<_>>().join(", "))),
    }
}

fn not_a_table_of_names(word: &str, value: &Value<'_>) -> Why {
    let why = Why::new(format!("`{word}` is {}, not a table", kind(value.get_ref())));
    why.help(format!("each has a name of its own: `[{word}.name]`"))
}
