//! Which webhooks a policy has, and where each is.

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};
use postern_policy::id::ProviderId;
use postern_policy::model::Webhook;
use postern_policy::snapshot::Snapshot;

/// Where a webhook is asked, and whose certificate it has to show there. What another place answers is somebody else's word,
/// whatever the provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookOrigin([u8; 32]);

impl WebhookOrigin {
    pub fn of(webhook: &Webhook) -> Self {
        let mut context = Context::new(&SHA256);
        let roots = webhook.roots.iter().map(Vec::as_slice);
        for part in std::iter::once(webhook.url.as_bytes()).chain(roots) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut origin = [0; 32];
        origin.copy_from_slice(context.finish().as_ref());
        Self(origin)
    }
}

/// The webhooks of one snapshot, by name. The default has none.
#[derive(Debug, Default)]
pub struct Webhooks(HashMap<Box<str>, KnownWebhook>);

#[derive(Debug, Clone, Copy)]
pub struct KnownWebhook {
    pub provider: ProviderId,
    pub origin: WebhookOrigin,
}

impl Webhooks {
    pub fn of(snapshot: &Snapshot) -> Self {
        let all = snapshot.webhooks().into_iter();
        let known = all.map(|(provider, name, webhook)| {
            let origin = WebhookOrigin::of(&webhook);
            (name.into(), KnownWebhook { provider, origin })
        });
        Self(known.collect())
    }

    pub fn named(&self, name: &str) -> Option<KnownWebhook> {
        self.0.get(name).copied()
    }
}
