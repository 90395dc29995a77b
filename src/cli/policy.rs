//! The policy that a command asks: read, checked and ready as for serving, without its secrets.

use std::path::Path;

use postern_policy::snapshot::Snapshot;

use crate::control::load::{self, Secrets};
use crate::in_force::InForce;

/// # Errors
/// Everything that is wrong with it, for people.
pub fn in_force(directory: &Path) -> Result<InForce, String> {
    let model = load::model(directory, Secrets::Later).map_err(|fault| fault.faults(directory).to_string())?;
    let snapshot = Snapshot::of(&model, 0).map_err(|fault| fault.to_string())?;
    InForce::new(snapshot).map_err(|fault| fault.to_string())
}
