//! The snapshot in force and what is derived from it once, swapped together.

use postern_policy::snapshot::Snapshot;

use crate::identity::certificate::{Trust, TrustError};

/// One policy in force: immutable, shared by every core, replaced as a whole.
pub struct InForce {
    pub snapshot: Snapshot,
    /// Of this very snapshot.
    pub trust: Trust,
}

impl InForce {
    /// Parses what the snapshot trusts. An error means that the snapshot must not come into force.
    pub fn new(snapshot: Snapshot) -> Result<Self, TrustError> {
        let trust = Trust::of(&snapshot)?;
        Ok(Self { snapshot, trust })
    }
}
