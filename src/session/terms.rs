//! The names and limits that a session lives under. Equal for every session of an identity under a grant, so one copy
//! serves them all.

use std::hash::{Hash, Hasher};

use postern_policy::model::{Access, Limits, OnExpiry};
use postern_policy::view::GrantView;

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
    pub access: Access,
    /// What the grant fixes at the start of a session, name and template.
    pub settings: Box<[(Name, Name)]>,
    pub limits: Limits,
    pub on_expiry: OnExpiry,
    /// Seconds before the proof's end.
    pub expiry_notice: Option<u32>,
}

impl Terms {
    /// Whether the grant gives what these terms give: what a session was told at its start is not told again.
    pub fn same_effect(&self, grant: &GrantView<'_>) -> bool {
        let settings = self.settings.iter().map(|(name, value)| (&**name, &**value));
        *grant.role() == *self.role && grant.access() == self.access && grant.settings().eq(settings)
    }
}

/// As [`Terms::settings`].
pub fn settings(grant: &GrantView<'_>) -> Box<[(Name, Name)]> {
    grant
        .settings()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

impl Hash for Terms {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.identity, &self.grant, &self.user, &self.database).hash(state);
    }
}
