//! Rules of providers: roots and revocation lists that are some, trust domains, no anchor with two owners.

use std::collections::HashMap;

use super::{ModelFault, Object, Scope, Why, key, pki, require, tokens, value};
use crate::model::{CertificateAuthority, CrlMode, Model, Provider};

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    let mut owners = HashMap::new();
    let mut issuers = tokens::Owners::new();
    for (name, provider) in &model.providers {
        let object = || Object::Provider(name.clone());
        let mut scope = Scope::new(found, &object);
        scope.whole(value::object_name(name));
        match provider {
            Provider::CertificateAuthority(authority) => {
                check_authority(authority, &mut scope);
                check_owner(name, authority, &mut owners, &mut scope);
            }
            Provider::Tokens(issuer) => tokens::check_issuer(name, issuer, &mut issuers, &mut scope),
            Provider::Webhook(webhook) => tokens::check_webhook(webhook, &mut scope),
        }
    }
}

fn check_authority(authority: &CertificateAuthority, scope: &mut Scope<'_>) {
    scope.key(
        "roots",
        require(!authority.roots.is_empty(), || {
            Why::new("no root: it could vouch for nobody")
        }),
    );
    for root in &authority.roots {
        scope.key("roots", pki::root(root));
    }
    for list in &authority.crls {
        scope.key("crls", pki::revocation_list(list));
    }
    for domain in &authority.trust_domains {
        scope.text("trust_domains", domain, key::trust_domain(domain));
    }
    if let Some(age) = authority.crl_max_age {
        scope.key("crl_max_age", value::CRL_MAX_AGE.check(age));
        let why = || Why::new("has no effect unless `crl = \"required\"`");
        let help = "otherwise a list counts for what it revokes, however old it is";
        scope.key(
            "crl_max_age",
            require(authority.crl == CrlMode::Required, || why().help(help)),
        );
    }
    let lists_missing = authority.crl == CrlMode::Required && authority.crls.is_empty();
    scope.key(
        "crl",
        require(!lists_missing, || {
            Why::new("lists are required, but there are no `crls`: nobody gets in")
        }),
    );
}

/// Two providers with one root would vouch for the same certificates under two sets of revocation lists.
fn check_owner<'m>(
    name: &'m str,
    authority: &'m CertificateAuthority,
    owners: &mut HashMap<&'m [u8], &'m str>,
    scope: &mut Scope<'_>,
) {
    for root in &authority.roots {
        if let Some(owner) = owners.insert(root, name) {
            let why = match owner == name {
                true => Why::new("the same root twice"),
                false => Why::new(format!("a root of provider `{owner}` as well"))
                    .help("give both names to one provider: revoking under one would leave the other open"),
            };
            scope.key("roots", Err(why));
        }
    }
}
