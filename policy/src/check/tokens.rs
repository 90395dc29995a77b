//! Rules of token issuers and webhooks: URLs that are HTTPS, audiences that are some, one owner for each `iss`.

use std::collections::HashMap;

use super::{Item, Scope, Why, key, pki, require, value};
use crate::model::{KeySource, TokenForm, TokenIssuer, Webhook};

/// By `iss` or trust domain: whose it is.
pub(super) type Owners<'m> = HashMap<&'m str, &'m str>;

pub(super) fn check_issuer<'m>(name: &'m str, issuer: &'m TokenIssuer, owners: &mut Owners<'m>, scope: &mut Scope<'_>) {
    match &issuer.form {
        TokenForm::Oidc { issuer } => {
            scope.key("issuer", value::https_url(issuer));
            scope.key("issuer", one_owner(owners, issuer, name));
        }
        TokenForm::JwtSvid { trust_domains } => {
            scope.key(
                "trust_domains",
                require(!trust_domains.is_empty(), || {
                    Why::new("no trust domain: it could vouch for nobody")
                }),
            );
            for domain in trust_domains {
                scope.text("trust_domains", domain, key::trust_domain(domain));
                scope.text("trust_domains", domain, one_owner(owners, domain, name));
            }
        }
    }
    scope.key(
        "audiences",
        require(!issuer.audiences.is_empty(), || {
            Why::new("no audience: a token for anybody else would do here").help("`audiences = [\"postern\"]`")
        }),
    );
    for audience in &issuer.audiences {
        scope.text("audiences", audience, value::plain_text("an audience", audience));
    }
    scope.key(
        "algorithms",
        require(!issuer.algorithms.is_empty(), || Why::new("no algorithm")),
    );
    check_keys(issuer, scope);
    check_claims(issuer, scope);
    check_bounds(issuer, scope);
}

pub(super) fn check_webhook(webhook: &Webhook, scope: &mut Scope<'_>) {
    scope.key("url", value::https_url(&webhook.url));
    check_roots(&webhook.roots, scope);
    if let Some(path) = &webhook.authorization_file {
        scope.key("authorization_file", value::file_path(path));
    }
    scope.key("deadline", value::WEBHOOK_DEADLINE.check(webhook.deadline));
    scope.key("concurrency", value::WEBHOOK_CONCURRENCY.check(webhook.concurrency));
    scope.key("cache_max_age", value::WEBHOOK_CACHE.check(webhook.cache_max_age));
}

fn one_owner<'m>(owners: &mut Owners<'m>, what: &'m str, name: &'m str) -> Result<(), Why> {
    let owner = *owners.entry(what).or_insert(name);
    require(owner == name, || {
        Why::new(format!("`{what}` is the issuer of provider `{owner}` already"))
            .help("a token says only its issuer: which of the two would it be?")
    })
}

fn check_keys(issuer: &TokenIssuer, scope: &mut Scope<'_>) {
    match (&issuer.keys, &issuer.form) {
        (KeySource::Discovery, TokenForm::Oidc { .. }) => {}
        (KeySource::Discovery, TokenForm::JwtSvid { .. }) => {
            let why = Why::new("a trust domain has no discovery document");
            scope.whole(Err(why.help("write `jwks_file` or `jwks_url`")));
        }
        (KeySource::Url(url), _) => scope.key("jwks_url", value::https_url(url)),
        (KeySource::Inline(jwks), _) => scope.key("jwks_file", key_set(jwks)),
    }
    check_roots(&issuer.roots, scope);
}

/// Its keys are read where tokens are judged; here only what would be no JWK Set at all.
fn key_set(jwks: &[u8]) -> Result<(), Why> {
    require(jwks.len() <= value::JWKS, || {
        Why::new(format!("a key set of {} bytes; {} at most", jwks.len(), value::JWKS))
    })?;
    let text = core::str::from_utf8(jwks).map(str::trim_ascii).unwrap_or_default();
    require(
        text.starts_with('{') && text.ends_with('}') && text.contains("\"keys\""),
        || Why::new("not a JWK Set").help("`{\"keys\": [...]}`, RFC 7517 section 5"),
    )
}

fn check_roots(roots: &[Vec<u8>], scope: &mut Scope<'_>) {
    for root in roots {
        scope.key("roots", pki::root(root));
    }
}

fn check_claims(issuer: &TokenIssuer, scope: &mut Scope<'_>) {
    for (name, test) in &issuer.required_claims {
        let item = Item::Text(name.clone());
        scope.say(Some("required_claims"), Some(item), value::claim_test(name, test));
    }
    scope.key("subject_claim", value::claim_name(&issuer.subject_claim));
    if let Some(claim) = &issuer.groups_claim {
        scope.key("groups_claim", value::claim_name(claim));
    }
    for kind in &issuer.types {
        scope.text("types", kind, value::plain_text("a type", kind));
    }
    scope.key("scope", value::oauth_scope(&issuer.scope));
}

fn check_bounds(issuer: &TokenIssuer, scope: &mut Scope<'_>) {
    scope.key("clock_skew", value::CLOCK_SKEW.check(issuer.clock_skew));
    if let Some(age) = issuer.max_age {
        scope.key("max_age", value::TOKEN_MAX_AGE.check(age));
    }
    scope.key("refresh", value::KEYS_REFRESH.check(issuer.refresh));
    scope.key("keys_max_age", value::KEYS_MAX_AGE.check(issuer.keys_max_age));
    scope.key(
        "keys_max_age",
        require(issuer.keys_max_age > issuer.refresh, || {
            Why::new("keys would be too old before they are fetched again").help("longer than `refresh`")
        }),
    );
}
