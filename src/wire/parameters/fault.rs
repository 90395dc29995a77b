//! Why start-up parameters are refused, in PostgreSQL's words where it refuses too.

use crate::wire::initial::LAYOUT;
use crate::wire::sqlstate::SqlState;

/// One reason, with what the client is told: `Display` is the message. It quotes the client's own text, so it goes to
/// the client and, escaped, into the record; never raw into a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterFault {
    #[error("{LAYOUT}")]
    Layout,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("invalid byte sequence for encoding \"UTF8\" in startup packet")]
    NotUtf8,
    #[error("duplicate parameter \"{name}\" in startup packet")]
    Duplicate { name: &'static str },
    /// PostgreSQL would cut it at 63 bytes, and then it is another name.
    #[error("{what} name is too long: at most 63 bytes")]
    NameTooLong { what: &'static str },
    #[error("invalid value for parameter \"replication\": \"{value}\"")]
    Replication { value: String },
    /// A switch other than `-c` and `--`, or something that is no switch.
    #[error("invalid command-line argument for server process: {argument}")]
    Argument { argument: String },
    #[error("{switch}{name} requires a value")]
    NoValue { switch: &'static str, name: String },
    /// A setting that would change who the session is, or that only the gate may set.
    #[error("permission denied to set parameter \"{name}\"")]
    Guarded { name: String },
    /// A name that no setting can have.
    #[error("unrecognized configuration parameter \"{name}\"")]
    Unrecognized { name: String },
    #[error("too many settings in startup packet")]
    TooManySettings,
}

impl ParameterFault {
    pub fn sqlstate(&self) -> SqlState {
        match self {
            Self::Layout | Self::Duplicate { .. } | Self::TooManySettings => SqlState::ProtocolViolation,
            Self::NoUser => SqlState::InvalidAuthorization,
            Self::NotUtf8 => SqlState::CharacterNotInRepertoire,
            Self::NameTooLong { .. } => SqlState::NameTooLong,
            Self::Replication { .. } => SqlState::InvalidParameterValue,
            Self::Argument { .. } | Self::NoValue { .. } => SqlState::SyntaxError,
            Self::Guarded { .. } => SqlState::InsufficientPrivilege,
            Self::Unrecognized { .. } => SqlState::UndefinedObject,
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Replication { .. } => Some("Valid values are: \"false\", 0, \"true\", 1, \"database\"."),
            Self::Layout
            | Self::NoUser
            | Self::NotUtf8
            | Self::Duplicate { .. }
            | Self::NameTooLong { .. }
            | Self::Argument { .. }
            | Self::NoValue { .. }
            | Self::Guarded { .. }
            | Self::Unrecognized { .. }
            | Self::TooManySettings => None,
        }
    }

    /// Stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Layout => "startup_layout",
            Self::NoUser => "startup_no_user",
            Self::NotUtf8 => "startup_not_utf8",
            Self::Duplicate { .. } => "startup_duplicate",
            Self::NameTooLong { .. } => "startup_name_too_long",
            Self::Replication { .. } => "startup_replication",
            Self::Argument { .. } => "startup_argument",
            Self::NoValue { .. } => "startup_no_value",
            Self::Guarded { .. } => "startup_guarded",
            Self::Unrecognized { .. } => "startup_unrecognized",
            Self::TooManySettings => "startup_too_many_settings",
        }
    }
}
