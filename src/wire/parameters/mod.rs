//! A StartupMessage's pairs decoded as PostgreSQL does, then guarded: what may not come from a client is refused here.
//!
//! PostgreSQL's own rules are in `ProcessStartupPacket`, `pg_split_opts` and `process_postgres_switches`. Ours are
//! stricter: names that PostgreSQL would cut at 63 bytes, doubled keys that it would let the last one win, switches other
//! than `-c` and `--`, and settings that change who the session is are refused. A setting that came in `options` stands
//! beside those of the message itself afterwards, so that nothing looks at one place only.

mod fault;
mod options;
mod setting;

pub use fault::ParameterFault;
pub use setting::{Setting, same_setting};

use super::initial::{PROTOCOL_OPTION, StartupMessage};

/// Longest user, database or setting name, bytes: `NAMEDATALEN - 1`.
pub const MAX_NAME: usize = 63;

/// Whether PostgreSQL would take `text` as the name of a database or role, and keep it whole.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.contains('\0')
}

/// Most settings a client may send. Drivers send five or so; the bound keeps the search for doubles cheap for strangers.
pub const MAX_SETTINGS: usize = 128;

/// What kind of connection the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Replication {
    #[default]
    No,
    /// `replication=database`: a walsender connected to a database (logical replication).
    Database,
    /// A walsender that belongs to no database; PostgreSQL ignores the database name then.
    Physical,
}

/// Start-up parameters that passed every rule which needs no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupParameters {
    user: String,
    database: String,
    replication: Replication,
    settings: Vec<Setting>,
}

impl StartupParameters {
    /// Decodes and guards the parameters of `message`. Protocol options (`_pq_.*`) are not parameters and are skipped.
    ///
    /// # Errors
    /// The first fault, with PostgreSQL's own SQLSTATE and words where it would have refused as well.
    pub fn decode(message: &StartupMessage<'_>) -> Result<Self, ParameterFault> {
        let mut draft = Draft::default();
        for pair in message.parameters() {
            let (name, value) = pair.map_err(|_| ParameterFault::Layout)?;
            if !name.starts_with(PROTOCOL_OPTION) {
                draft.take(utf8(name)?, utf8(value)?)?;
            }
        }
        draft.finish()
    }

    /// The start-up `user`: never empty, at most 63 bytes.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database asked for; the user's name when none was, as PostgreSQL has it.
    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn replication(&self) -> Replication {
        self.replication
    }

    /// Every other setting, whether it came as a pair of its own or inside `options`; each name once. Settings that the
    /// grant fixes are for the caller to refuse: look with [`StartupParameters::setting`].
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The setting that PostgreSQL would take for `name` (case and old names as it does).
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| same_setting(&setting.name, name))
    }

    pub fn application_name(&self) -> Option<&str> {
        self.setting("application_name").map(|setting| setting.value.as_str())
    }
}

/// The keys with a meaning of their own, each seen at most once.
#[derive(Default)]
struct Draft<'a> {
    user: Option<&'a str>,
    database: Option<&'a str>,
    replication: Option<Replication>,
    options: Option<&'a str>,
    /// As PostgreSQL applies them: those of `options` come before these.
    settings: Vec<(&'a str, &'a str)>,
}

impl<'a> Draft<'a> {
    fn take(&mut self, name: &'a str, value: &'a str) -> Result<(), ParameterFault> {
        match name {
            "user" => once(&mut self.user, value, "user"),
            "database" => once(&mut self.database, value, "database"),
            "replication" => once(&mut self.replication, replication(value)?, "replication"),
            "options" => once(&mut self.options, value, "options"),
            setting => {
                self.settings.push((setting, value));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<StartupParameters, ParameterFault> {
        let user = self
            .user
            .filter(|user| !user.is_empty())
            .ok_or(ParameterFault::NoUser)?;
        let database = self.database.filter(|database| !database.is_empty()).unwrap_or(user);
        let mut settings = Vec::new();
        for (name, value) in options::settings(self.options.unwrap_or_default())? {
            setting::insert(&mut settings, name, value)?;
        }
        for (name, value) in self.settings {
            setting::insert(&mut settings, name.to_owned(), value.to_owned())?;
        }
        Ok(StartupParameters {
            user: fitting(user, "user")?,
            database: fitting(database, "database")?,
            replication: self.replication.unwrap_or_default(),
            settings,
        })
    }
}

fn once<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), ParameterFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParameterFault::Duplicate { name }),
    }
}

fn fitting(name: &str, what: &'static str) -> Result<String, ParameterFault> {
    if name.len() > MAX_NAME {
        Err(ParameterFault::NameTooLong { what })
    } else {
        Ok(name.to_owned())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ParameterFault> {
    std::str::from_utf8(bytes).map_err(|_| ParameterFault::NotUtf8)
}

fn replication(value: &str) -> Result<Replication, ParameterFault> {
    if value == "database" {
        return Ok(Replication::Database);
    }
    match boolean(value) {
        Some(true) => Ok(Replication::Physical),
        Some(false) => Ok(Replication::No),
        None => Err(ParameterFault::Replication {
            value: value.to_owned(),
        }),
    }
}

/// PostgreSQL's `parse_bool`: any unique prefix of true, false, yes, no, on, off without regard to case, or 1 or 0.
fn boolean(value: &str) -> Option<bool> {
    let prefix_of = |word: &str, least: usize| {
        value.len() >= least
            && word
                .get(..value.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(value))
    };
    if value == "1" || prefix_of("true", 1) || prefix_of("yes", 1) || prefix_of("on", 2) {
        return Some(true);
    }
    if value == "0" || prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) {
        return Some(false);
    }
    None
}

#[cfg(test)]
mod tests;
