//! Rules of identities: names that do not clash, keys that mean one identity only, groups that exist.

use std::collections::{HashMap, HashSet};

use super::{Item, ModelFault, Names, Object, Scope, Why, key, provider_named, require, uri_overlap, value};
use crate::model::{CertificateKey, Identity, Model, Provider};

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
    check_keys_are_unique(model, found);
    uri_overlap::check(model, found);
}

fn check_names(model: &Model, name: &str, identity: &Identity, scope: &mut Scope<'_>) {
    scope.whole(value::object_name(name));
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

fn provider_of(bound: &CertificateKey) -> Option<&str> {
    match bound {
        CertificateKey::Fingerprint(_) | CertificateKey::PublicKey(_) => None,
        CertificateKey::Uri { provider, .. }
        | CertificateKey::Dns { provider, .. }
        | CertificateKey::CommonName { provider, .. } => Some(provider),
    }
}

fn check_key(model: &Model, bound: &CertificateKey) -> Result<(), Why> {
    match bound {
        CertificateKey::Fingerprint(_) | CertificateKey::PublicKey(_) => Ok(()),
        CertificateKey::Uri { provider, pattern } => {
            let Provider::CertificateAuthority(authority) = provider_named(model, provider)?;
            key::uri_pattern(pattern, &authority.trust_domains)
        }
        CertificateKey::Dns { provider, name } => {
            provider_named(model, provider)?;
            key::dns_name(name)
        }
        CertificateKey::CommonName { provider, name } => {
            provider_named(model, provider)?;
            key::common_name(name)
        }
    }
}

/// One certificate that matches two identities is denied, so a key with two owners locks both out.
/// URIs are left to [`uri_overlap`], which knows their wildcards.
fn check_keys_are_unique(model: &Model, found: &mut Vec<ModelFault>) {
    let mut owners: HashMap<&CertificateKey, &str> = HashMap::new();
    for (name, identity) in &model.identities {
        let mut own = HashSet::new();
        for (index, bound) in identity.keys.iter().enumerate() {
            let object = || Object::Identity(name.clone());
            let mut scope = Scope::new(found, &object);
            if !own.insert(bound) {
                scope.index("keys", index, Err(Why::new("the same key twice")));
            } else if !matches!(bound, CertificateKey::Uri { .. })
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
