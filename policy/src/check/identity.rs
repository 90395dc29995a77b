//! Rules of identities: names that do not clash, keys that mean one identity only, groups that exist.

use std::collections::{HashMap, HashSet};

use super::{
    Item, ModelFault, Names, Object, Scope, Why, key, provider_named, require, subject_overlap, uri_overlap, value,
};
use crate::model::{Identity, IdentityKey, Model, Provider};
use crate::template::{Part, parts};

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    let names = Names::of(model);
    for group in &model.groups {
        let object = || Object::Group(group.clone());
        Scope::new(found, &object).whole(value::object_name(group));
    }
    for (name, identity) in &model.identities {
        let object = || Object::Identity(name.clone());
        let mut scope = Scope::new(found, &object);
        check_names(model, name, identity, &mut scope);
        for group in &identity.groups {
            scope.text("groups", group, names.group(model, group));
        }
        check_proofs(model, name, identity, &mut scope);
    }
    check_group_mappings(model, &names, found);
    check_keys_are_unique(model, found);
    uri_overlap::check(model, found);
    subject_overlap::check(model, found);
}

fn check_group_mappings(model: &Model, names: &Names<'_>, found: &mut Vec<ModelFault>) {
    for mapping in &model.group_mappings {
        let object = || Object::Group(mapping.group.clone());
        let mut scope = Scope::new(found, &object);
        scope.whole(names.group(model, &mapping.group));
        let speaks = provider_named(model, &mapping.provider).and_then(|provider| {
            require(!matches!(provider, Provider::CertificateAuthority(_)), || {
                Why::new(format!("provider `{}` names no groups", mapping.provider))
                    .help("groups come from tokens and from webhooks")
            })
        });
        scope.key("from", speaks);
        scope.key("from", value::plain_text("a group", &mapping.external));
    }
}

fn check_names(model: &Model, name: &str, identity: &Identity, scope: &mut Scope<'_>) {
    scope.whole(value::object_name(name));
    scope.whole(name_template(name, identity));
    for alias in &identity.aliases {
        scope.text("aliases", alias, value::postgres_name(alias));
        let clash = alias != name && model.identities.contains_key(alias);
        scope.text(
            "aliases",
            alias,
            require(!clash, || {
                Why::new(format!("`{alias}` is the name of another identity"))
            }),
        );
        let own = alias == name;
        scope.text(
            "aliases",
            alias,
            require(!own, || Why::new(format!("`{alias}` is the identity's own name"))),
        );
    }
}

/// A name or alias with `{subject}` in it is made of the subject that a provider names.
fn name_template(name: &str, identity: &Identity) -> Result<(), Why> {
    let texts = || core::iter::once(name).chain(identity.aliases.iter().map(String::as_str));
    for place in texts().flat_map(parts) {
        let known = matches!(place, Part::Text(_) | Part::Subject);
        require(known, || {
            Why::new("a name has no place but `{subject}`").help("`[identity.\"user:{subject}\"]`")
        })?;
    }
    let open = |text: &str| parts(text).filter(|part| *part == Part::Subject).count();
    require(texts().all(|text| open(text) <= 1), || {
        Why::new("`{subject}` twice in one name")
    })?;
    let subjects_only = identity
        .keys
        .iter()
        .all(|bound| matches!(bound, IdentityKey::Subject { .. }));
    let templates = texts().any(|text| open(text) > 0);
    require(!templates || (subjects_only && identity.scram.is_none()), || {
        Why::new("`{subject}` in the name of an identity that has other proofs than tokens and webhooks")
            .help("only a provider of tokens or a webhook names a subject")
    })
}

fn check_proofs(model: &Model, name: &str, identity: &Identity, scope: &mut Scope<'_>) {
    let provable = !identity.keys.is_empty() || identity.scram.is_some();
    scope.whole(require(provable, || {
        Why::new("nothing proves this identity").help("give it `keys`, `scram` or both")
    }));
    for (index, bound) in identity.keys.iter().enumerate() {
        let other = || provider_of(bound).map(|provider| Object::Provider(provider.to_owned()));
        if let Err(why) = check_key(model, bound) {
            scope.say_with(Some("keys"), Some(Item::Index(index)), other(), Err(why));
        }
    }
    if let Some(verifier) = &identity.scram {
        scope.key("scram", value::verifier(verifier));
        scope.key("scram", scram_user(name));
    }
}

/// For SCRAM the start-up `user` is the identity's name, and PostgreSQL keeps 63 bytes of it.
fn scram_user(name: &str) -> Result<(), Why> {
    let (length, most) = (name.len(), value::POSTGRES_NAME);
    let why = || Why::new(format!("a name of {length} bytes cannot be the user of a SCRAM login"));
    require(length <= most, || why().help(format!("{most} at most")))
}

fn provider_of(bound: &IdentityKey) -> Option<&str> {
    match bound {
        IdentityKey::Fingerprint(_) | IdentityKey::PublicKey(_) => None,
        IdentityKey::Uri { provider, .. }
        | IdentityKey::Dns { provider, .. }
        | IdentityKey::CommonName { provider, .. }
        | IdentityKey::Subject { provider, .. } => Some(provider),
    }
}

fn check_key(model: &Model, bound: &IdentityKey) -> Result<(), Why> {
    match bound {
        IdentityKey::Fingerprint(_) | IdentityKey::PublicKey(_) => Ok(()),
        IdentityKey::Uri { provider, pattern } => {
            let known = provider_named(model, provider)?;
            key::fits(known, key::Form::Uri)?;
            key::uri_pattern(pattern, known.trust_domains())
        }
        IdentityKey::Dns { provider, name } => {
            key::fits(provider_named(model, provider)?, key::Form::OfCertificates)?;
            key::dns_name(name)
        }
        IdentityKey::CommonName { provider, name } => {
            key::fits(provider_named(model, provider)?, key::Form::OfCertificates)?;
            key::common_name(name)
        }
        IdentityKey::Subject { provider, pattern } => {
            key::fits(provider_named(model, provider)?, key::Form::Subject)?;
            key::subject(pattern)
        }
    }
}

/// One certificate that matches two identities is denied, so a key with two owners locks both out.
/// URIs are left to [`uri_overlap`], which knows their wildcards.
fn check_keys_are_unique(model: &Model, found: &mut Vec<ModelFault>) {
    let mut owners: HashMap<&IdentityKey, &str> = HashMap::new();
    for (name, identity) in &model.identities {
        let mut own = HashSet::new();
        for (index, bound) in identity.keys.iter().enumerate() {
            let object = || Object::Identity(name.clone());
            let mut scope = Scope::new(found, &object);
            if !own.insert(bound) {
                scope.index("keys", index, Err(Why::new("the same key twice")));
            } else if !matches!(bound, IdentityKey::Uri { .. })
                && let Some(owner) = owners.insert(bound, name)
            {
                scope.index(
                    "keys",
                    index,
                    Err(Why::new(format!("identity `{owner}` has the same key"))),
                );
            }
        }
    }
}
