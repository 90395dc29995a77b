//! `[provider.NAME]` of kind `tokens`, `jwt-svid` or `webhook`.

use std::collections::BTreeSet;

use super::referenced::{document, roots, secret};
use super::table::{Table, word};
use super::{ReferencedFiles, claims};
use crate::check::{Why, value};
use crate::model::{KeySource, TokenAlgorithm, TokenForm, TokenIssuer, Webhook};

/// What issuers sign with where nobody chose otherwise.
const ALGORITHMS: [TokenAlgorithm; 2] = [TokenAlgorithm::Rs256, TokenAlgorithm::Es256];
/// Seconds.
const CLOCK_SKEW: u32 = 30;
const REFRESH: u32 = 5 * 60;
const KEYS_MAX_AGE: u32 = 24 * 60 * 60;
/// Milliseconds.
const DEADLINE: u32 = 2_000;
const CONCURRENCY: u32 = 64;
/// Seconds.
const CACHE_MAX_AGE: u32 = 60;

pub(super) fn read_oidc(mut table: Table<'_>, files: &dyn ReferencedFiles) -> TokenIssuer {
    table.need(
        "issuer",
        "`issuer = \"https://login.example.org/realms/corp\"`, as `iss` says it",
    );
    let form = TokenForm::Oidc {
        issuer: table.string("issuer").unwrap_or_default(),
    };
    read(table, form, files)
}

pub(super) fn read_jwt_svid(mut table: Table<'_>, files: &dyn ReferencedFiles) -> TokenIssuer {
    table.need("trust_domains", "`trust_domains = [\"prod.example.org\"]`");
    let form = TokenForm::JwtSvid {
        trust_domains: table.strings("trust_domains").unwrap_or_default(),
    };
    table.without_effect("subject_claim", "the subject of a JWT-SVID is its SPIFFE ID, in `sub`");
    table.without_effect("scope", "nobody is sent to a trust domain for a token");
    read(table, form, files)
}

fn read(mut table: Table<'_>, form: TokenForm, files: &dyn ReferencedFiles) -> TokenIssuer {
    table.need(
        "audiences",
        "`audiences = [\"postern\"]`: one of them must be in a token's `aud`",
    );
    let algorithms: Option<BTreeSet<_>> = table
        .list("algorithms", word::<TokenAlgorithm>)
        .map(BTreeSet::from_iter);
    let issuer = TokenIssuer {
        audiences: table.strings("audiences").unwrap_or_default(),
        keys: read_keys(&mut table, files),
        algorithms: algorithms.unwrap_or_else(|| BTreeSet::from(ALGORITHMS)),
        types: table.strings("types").unwrap_or_default(),
        clock_skew: table.duration("clock_skew", &value::CLOCK_SKEW).unwrap_or(CLOCK_SKEW),
        max_age: table.duration("max_age", &value::TOKEN_MAX_AGE),
        required_claims: claims::read(&mut table, "required_claims"),
        subject_claim: table.string("subject_claim").unwrap_or_else(|| "sub".to_owned()),
        groups_claim: table.string("groups_claim"),
        one_time: table.flag("one_time").unwrap_or_default(),
        scope: table.string("scope").unwrap_or_default(),
        roots: roots(&mut table, "roots", files),
        refresh: table.duration("refresh", &value::KEYS_REFRESH).unwrap_or(REFRESH),
        keys_max_age: table
            .duration("keys_max_age", &value::KEYS_MAX_AGE)
            .unwrap_or(KEYS_MAX_AGE),
        form,
    };
    table.finish();
    issuer
}

pub(super) fn read_webhook(mut table: Table<'_>, files: &dyn ReferencedFiles) -> Webhook {
    table.need("url", "`url = \"https://access.example.org/postern\"`");
    let webhook = Webhook {
        url: table.string("url").unwrap_or_default(),
        roots: roots(&mut table, "roots", files),
        authorization_file: secret(&mut table, "authorization_file", files),
        deadline: table.duration("deadline", &value::WEBHOOK_DEADLINE).unwrap_or(DEADLINE),
        concurrency: table
            .number("concurrency", &value::WEBHOOK_CONCURRENCY)
            .unwrap_or(CONCURRENCY),
        cache_max_age: table
            .duration("cache_max_age", &value::WEBHOOK_CACHE)
            .unwrap_or(CACHE_MAX_AGE),
    };
    table.finish();
    webhook
}

/// A file's key set becomes part of the policy. A file that cannot be read is told at its place, once.
fn read_keys(table: &mut Table<'_>, files: &dyn ReferencedFiles) -> KeySource {
    let url = table.string("jwks_url");
    let file = document(table, "jwks_file", files);
    if table.has("jwks_url") && table.has("jwks_file") {
        let why = Why::new("`jwks_url` and `jwks_file`: from where do the keys come?");
        table.fault_here(why.help("leave one out"));
    }
    if table.has("jwks_file") && file.is_none() {
        table.spoil("jwks_file");
    }
    if table.has("jwks_file") {
        for key in ["roots", "refresh", "keys_max_age"] {
            table.without_effect(
                key,
                "the keys of `jwks_file` are a part of the policy, and nothing is fetched",
            );
        }
    }
    match (file, url) {
        (Some(jwks), _) => KeySource::Inline(jwks),
        (None, Some(url)) => KeySource::Url(url),
        (None, None) => KeySource::Discovery,
    }
}
