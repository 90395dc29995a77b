//! What the policy says of a provider, made ready on the caller's thread: URLs parsed, trust anchors read.
//!
//! Reading the system's trust anchors takes a while, and the runtime must not wait for files.

use std::sync::Arc;
use std::time::Duration;

use postern_policy::model::{KeySource, TokenForm, TokenIssuer, Webhook};
use subtle::ConstantTimeEq;

use super::discovery;
use super::target::Target;
use super::trust::{Tls, TrustFault, client_config};
use crate::identity::token::{KeyOrigin, KeySet};
use crate::identity::webhook::WebhookOrigin;
use crate::secret::Secret;

/// A provider of the policy in force.
#[derive(Debug, Clone)]
pub struct ProviderSpec {
    pub name: Box<str>,
    pub kind: ProviderKind,
}

#[derive(Debug, Clone)]
pub enum ProviderKind {
    Issuer(TokenIssuer),
    Webhook {
        webhook: Webhook,
        /// What stands in [`Webhook::authorization_file`]. A webhook that names a file is not asked without it.
        authorization: Option<Secret>,
    },
}

/// A provider made ready. `Err`: why it cannot be asked.
pub struct Plan {
    pub name: Box<str>,
    pub work: Work,
}

pub enum Work {
    Inline {
        bytes: Vec<u8>,
        keys: Result<Arc<KeySet>, Box<str>>,
    },
    Keys(Result<KeysPlan, Box<str>>),
    Webhook(Result<WebhookPlan, Box<str>>),
}

/// How to fetch an issuer's keys. What else the policy says of its tokens is none of this room's business, and a change
/// there fetches nothing again.
pub struct KeysPlan {
    pub source: Source,
    pub refresh: Duration,
    pub keys_max_age: Duration,
    pub tls: Tls,
    pub origin: KeyOrigin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Keys(Target),
    Discovery { issuer: String, configuration: Target },
}

pub struct WebhookPlan {
    pub target: Target,
    pub authorization: Option<Secret>,
    pub deadline: Duration,
    pub concurrency: usize,
    pub cache_max_age: Duration,
    pub tls: Tls,
    pub origin: WebhookOrigin,
}

/// Makes all of them ready.
pub fn plans(specs: Vec<ProviderSpec>) -> Vec<Plan> {
    let mut trust = Trust::default();
    specs
        .into_iter()
        .map(|spec| Plan {
            name: spec.name,
            work: match spec.kind {
                ProviderKind::Issuer(issuer) => issuer_work(issuer, &mut trust),
                ProviderKind::Webhook { webhook, authorization } => {
                    Work::Webhook(webhook_plan(webhook, authorization, &mut trust))
                }
            },
        })
        .collect()
}

impl KeysPlan {
    pub fn same_as(&self, other: &Self) -> bool {
        self.same_keys(other)
            && self.tls.same_as(&other.tls)
            && self.refresh == other.refresh
            && self.keys_max_age == other.keys_max_age
    }

    /// Keys fetched by the one serve for the other.
    pub fn same_keys(&self, other: &Self) -> bool {
        self.origin == other.origin
    }
}

impl WebhookPlan {
    /// Answers given to the one serve for the other.
    pub fn same_as(&self, other: &Self) -> bool {
        let same_authorization = match (&self.authorization, &other.authorization) {
            (Some(one), Some(other)) => bool::from(one.expose().ct_eq(other.expose())),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_authorization
            && self.target == other.target
            && self.deadline == other.deadline
            && self.concurrency == other.concurrency
            && self.cache_max_age == other.cache_max_age
            && self.tls.same_as(&other.tls)
    }
}

impl Source {
    /// Hosts that are known before anything was asked.
    pub fn host(&self) -> &str {
        match self {
            Source::Keys(target) => target.host(),
            Source::Discovery { configuration, .. } => configuration.host(),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Keys(target) => target.fmt(f),
            Source::Discovery { configuration, .. } => configuration.fmt(f),
        }
    }
}

/// The system's trust anchors are read once for all who want them.
#[derive(Default)]
struct Trust {
    system: Option<Result<Tls, TrustFault>>,
}

impl Trust {
    fn of(&mut self, roots: &[Vec<u8>]) -> Result<Tls, Box<str>> {
        let config = if roots.is_empty() {
            self.system.get_or_insert_with(|| client_config(&[])).clone()
        } else {
            client_config(roots)
        };
        config.map_err(in_words)
    }
}

fn issuer_work(issuer: TokenIssuer, trust: &mut Trust) -> Work {
    match &issuer.keys {
        KeySource::Inline(bytes) => Work::Inline {
            keys: KeySet::parse(bytes).map(Arc::new).map_err(in_words),
            bytes: bytes.clone(),
        },
        KeySource::Url(url) => Work::Keys(
            Target::parse(url)
                .map_err(in_words)
                .and_then(|target| keys_plan(Source::Keys(target), &issuer, trust)),
        ),
        KeySource::Discovery => {
            Work::Keys(discovered_source(&issuer.form).and_then(|source| keys_plan(source, &issuer, trust)))
        }
    }
}

fn discovered_source(form: &TokenForm) -> Result<Source, Box<str>> {
    match form {
        TokenForm::Oidc { issuer } => Ok(Source::Discovery {
            configuration: discovery::configuration_of(issuer).map_err(in_words)?,
            issuer: issuer.clone(),
        }),
        TokenForm::JwtSvid { .. } => Err("only an OpenID Connect issuer can be asked where its keys are".into()),
    }
}

fn keys_plan(source: Source, issuer: &TokenIssuer, trust: &mut Trust) -> Result<KeysPlan, Box<str>> {
    Ok(KeysPlan {
        source,
        refresh: Duration::from_secs(u64::from(issuer.refresh)),
        keys_max_age: Duration::from_secs(u64::from(issuer.keys_max_age)),
        tls: trust.of(&issuer.roots)?,
        origin: KeyOrigin::of(issuer),
    })
}

fn webhook_plan(webhook: Webhook, authorization: Option<Secret>, trust: &mut Trust) -> Result<WebhookPlan, Box<str>> {
    if webhook.authorization_file.is_some() && authorization.is_none() {
        return Err("its authorization file cannot be used".into());
    }
    Ok(WebhookPlan {
        target: Target::parse(&webhook.url).map_err(in_words)?,
        authorization,
        deadline: Duration::from_millis(u64::from(webhook.deadline)),
        concurrency: (webhook.concurrency as usize).max(1),
        cache_max_age: Duration::from_secs(u64::from(webhook.cache_max_age)),
        tls: trust.of(&webhook.roots)?,
        origin: WebhookOrigin::of(&webhook),
    })
}

fn in_words(fault: impl std::fmt::Display) -> Box<str> {
    fault.to_string().into()
}
