//! Process configuration: `postern.toml`, read once at start. `docs/configuration.md` has every key.
//!
//! What may change while the gate runs (who may reach what, credentials) is policy and does not belong here. Every value is
//! checked when it is read, so a [`Config`] is valid as a whole; faults come all at once, each with its place.

mod model;

pub use model::*;
