//! The SQLSTATEs that the gate itself answers with. PostgreSQL, appendix A.

/// A closed set; what a server sends is passed on as the five bytes it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SqlState {
    /// 00000: of a notice, where PostgreSQL has nothing else to say.
    SuccessfulCompletion,
    /// 08001: the gate could not reach the server.
    UnableToConnect,
    /// 08004: the server refused the gate, not the client.
    ServerRejectedConnection,
    /// 08006: the connection to the server is gone.
    ConnectionFailure,
    /// 08P01
    ProtocolViolation,
    /// 0A000
    FeatureNotSupported,
    /// 22021: text that is not valid in its encoding.
    CharacterNotInRepertoire,
    /// 22023
    InvalidParameterValue,
    /// 28000
    InvalidAuthorization,
    /// 28P01
    InvalidPassword,
    /// 3D000
    InvalidCatalogName,
    /// 42501
    InsufficientPrivilege,
    /// 42601
    SyntaxError,
    /// 42622
    NameTooLong,
    /// 42704
    UndefinedObject,
    /// 53200
    OutOfMemory,
    /// 53300
    TooManyConnections,
    /// 57014
    QueryCanceled,
    /// 57P01
    AdminShutdown,
    /// 57P02
    CrashShutdown,
    /// 57P03
    CannotConnectNow,
    /// 57P05
    IdleSessionTimeout,
    /// XX000
    InternalError,
}

impl SqlState {
    pub const ALL: [Self; 23] = [
        Self::SuccessfulCompletion,
        Self::UnableToConnect,
        Self::ServerRejectedConnection,
        Self::ConnectionFailure,
        Self::ProtocolViolation,
        Self::FeatureNotSupported,
        Self::CharacterNotInRepertoire,
        Self::InvalidParameterValue,
        Self::InvalidAuthorization,
        Self::InvalidPassword,
        Self::InvalidCatalogName,
        Self::InsufficientPrivilege,
        Self::SyntaxError,
        Self::NameTooLong,
        Self::UndefinedObject,
        Self::OutOfMemory,
        Self::TooManyConnections,
        Self::QueryCanceled,
        Self::AdminShutdown,
        Self::CrashShutdown,
        Self::CannotConnectNow,
        Self::IdleSessionTimeout,
        Self::InternalError,
    ];

    /// [`Self::as_str`] as the record keeps it.
    pub fn bytes(self) -> [u8; 5] {
        let mut bytes = [0; 5];
        bytes.copy_from_slice(self.as_str().as_bytes());
        bytes
    }

    /// The five characters that go over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuccessfulCompletion => "00000",
            Self::UnableToConnect => "08001",
            Self::ServerRejectedConnection => "08004",
            Self::ConnectionFailure => "08006",
            Self::ProtocolViolation => "08P01",
            Self::FeatureNotSupported => "0A000",
            Self::CharacterNotInRepertoire => "22021",
            Self::InvalidParameterValue => "22023",
            Self::InvalidAuthorization => "28000",
            Self::InvalidPassword => "28P01",
            Self::InvalidCatalogName => "3D000",
            Self::InsufficientPrivilege => "42501",
            Self::SyntaxError => "42601",
            Self::NameTooLong => "42622",
            Self::UndefinedObject => "42704",
            Self::OutOfMemory => "53200",
            Self::TooManyConnections => "53300",
            Self::QueryCanceled => "57014",
            Self::AdminShutdown => "57P01",
            Self::CrashShutdown => "57P02",
            Self::CannotConnectNow => "57P03",
            Self::IdleSessionTimeout => "57P05",
            Self::InternalError => "XX000",
        }
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_five_characters_and_its_own() {
        let mut codes: Vec<_> = SqlState::ALL.iter().map(|state| state.as_str()).collect();
        assert!(codes.iter().all(|code| code.len() == 5));
        assert!(codes.is_sorted(), "listed in order");
        codes.dedup();
        assert_eq!(codes.len(), SqlState::ALL.len());
    }
}
