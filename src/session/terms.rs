//! The names and limits that a session lives under. Equal for every session of an identity under a grant, so one copy
//! serves them all.

use std::hash::{Hash, Hasher};

use postern_policy::model::{Limits, OnExpiry};

use crate::audit::Name;

/// Who may do what here, by name: as the permit had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub identity: Name,
    pub grant: Name,
    pub role: Name,
    pub cluster: Name,
    /// As the client asked.
    pub user: Name,
    pub database: Name,
    /// The database at the server.
    pub server_database: Name,
    pub limits: Limits,
    pub on_expiry: OnExpiry,
    /// Seconds before the proof's end.
    pub expiry_notice: Option<u32>,
}

impl Hash for Terms {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.identity, &self.grant, &self.user, &self.database).hash(state);
    }
}
