//! The snapshot in force and what is derived from it once, swapped together.

use postern_policy::snapshot::Snapshot;

use crate::identity::certificate::{Trust, TrustError};
use crate::identity::token::{Issuers, KeySetError};
use crate::identity::webhook::Webhooks;

/// One policy in force: immutable, shared by every core, replaced as a whole.
pub struct InForce {
    pub snapshot: Snapshot,
    /// Of this very snapshot.
    pub trust: Trust,
    pub issuers: Issuers,
    pub webhooks: Webhooks,
}

/// Something that the policy trusts cannot be used: the snapshot must not come into force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("provider {provider}: the key set cannot be used: {fault}")]
    KeySet { provider: String, fault: KeySetError },
}

impl InForce {
    /// Parses what the snapshot trusts. An error means that the snapshot must not come into force.
    pub fn new(snapshot: Snapshot) -> Result<Self, NotInForce> {
        let trust = Trust::of(&snapshot)?;
        let issuers = Issuers::of(&snapshot).map_err(|(provider, fault)| NotInForce::KeySet { provider, fault })?;
        let webhooks = Webhooks::of(&snapshot);
        Ok(Self {
            snapshot,
            trust,
            issuers,
            webhooks,
        })
    }
}
