//! ErrorResponse and NoticeResponse: encoded for clients, and a server's own read field by field.
//!
//! Fields go out in PostgreSQL's order (`S V C M D H`); `F`, `L` and `R` (source file, line, routine) are not ours to send.

use super::cursor::Cursor;
use super::sqlstate::SqlState;
use super::tag::backend;
use super::{WireError, write};

/// How bad it is. `S` and `V` are the same text: the gate does not translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Notice,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Fatal | Self::Error => backend::ERROR_RESPONSE,
            Self::Warning | Self::Notice => backend::NOTICE_RESPONSE,
        }
    }
}

/// One report to a client. Allocates nothing beyond the output.
///
/// ```
/// use postern::wire::{error::Report, sqlstate::SqlState};
/// let mut out = Vec::new();
/// Report::fatal(SqlState::TooManyConnections, "sorry, too many clients already").encode(&mut out);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    pub severity: Severity,
    pub sqlstate: SqlState,
    pub message: &'a str,
    pub detail: Option<&'a str>,
    pub hint: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// The last thing a client hears before its connection closes.
    pub fn fatal(sqlstate: SqlState, message: &'a str) -> Self {
        Self {
            severity: Severity::Fatal,
            sqlstate,
            message,
            detail: None,
            hint: None,
        }
    }

    /// By the way; the session goes on.
    pub fn notice(sqlstate: SqlState, message: &'a str) -> Self {
        Self {
            severity: Severity::Notice,
            ..Self::warning(sqlstate, message)
        }
    }

    pub fn warning(sqlstate: SqlState, message: &'a str) -> Self {
        Self {
            severity: Severity::Warning,
            sqlstate,
            message,
            detail: None,
            hint: None,
        }
    }

    pub fn detail(self, detail: &'a str) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }

    pub fn hint(self, hint: &'a str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    /// Appends an ErrorResponse or NoticeResponse, as the severity says.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fields = [
            (b'S', Some(self.severity.as_str())),
            (b'V', Some(self.severity.as_str())),
            (b'C', Some(self.sqlstate.as_str())),
            (b'M', Some(self.message)),
            (b'D', self.detail),
            (b'H', self.hint),
        ];
        encode_fields(
            out,
            self.severity.tag(),
            fields
                .iter()
                .filter_map(|(code, text)| Some((*code, text.as_ref()?.as_bytes()))),
        );
    }
}

/// The fields of an ErrorResponse or NoticeResponse that a server sent. Bytes: a server that cannot start a session
/// reports in whatever encoding it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    body: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Checks the layout of a message's body (without type and length).
    ///
    /// # Errors
    /// A field without terminator, no terminator of the list, or bytes behind it.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let fields = Self { body };
        let mut cursor = Cursor::new(body);
        while next_field(&mut cursor)?.is_some() {}
        cursor.finish()?;
        Ok(fields)
    }

    /// Code and text of every field, in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.body);
        std::iter::from_fn(move || next_field(&mut cursor).ok().flatten())
    }

    /// The text of the first field with this code.
    pub fn get(&self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == code).map(|(_, text)| text)
    }

    /// The severity that is never translated (`V`, since 9.6), else the other (`S`).
    pub fn severity(&self) -> Option<&'a [u8]> {
        self.get(b'V').or_else(|| self.get(b'S'))
    }

    pub fn message(&self) -> Option<&'a [u8]> {
        self.get(b'M')
    }

    /// The five characters, when there are five and each is a digit or an upper-case letter.
    pub fn sqlstate(&self) -> Option<[u8; 5]> {
        let code: [u8; 5] = self.get(b'C')?.try_into().ok()?;
        code.iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
            .then_some(code)
    }

    /// Class 28: the server did not accept who called. Towards a client that is the gate's failure, not its own.
    pub fn is_authorization_failure(&self) -> bool {
        self.sqlstate().is_some_and(|code| code.starts_with(b"28"))
    }
}

/// Appends a report with any fields, as a scripted server in tests does.
pub fn encode_fields<'a>(out: &mut Vec<u8>, tag: u8, fields: impl IntoIterator<Item = (u8, &'a [u8])>) {
    write::message(out, tag, |out| {
        for (code, text) in fields {
            out.push(code);
            write::string(out, text);
        }
        out.push(0);
    });
}

fn next_field<'a>(cursor: &mut Cursor<'a>) -> Result<Option<(u8, &'a [u8])>, WireError> {
    match cursor.u8()? {
        0 => Ok(None),
        code => Ok(Some((code, cursor.string()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_go_out_in_postgresqls_order() {
        let mut out = Vec::new();
        Report::fatal(SqlState::InvalidAuthorization, "no")
            .hint("h")
            .detail("d")
            .encode(&mut out);
        assert_eq!(out, b"E\0\0\0\x24SFATAL\0VFATAL\0C28000\0Mno\0Dd\0Hh\0\0".as_slice());
        out.clear();
        Report::warning(SqlState::FeatureNotSupported, "w").encode(&mut out);
        assert_eq!(out[0], b'N');
    }

    #[test]
    fn a_servers_error_is_read_back() {
        let mut out = Vec::new();
        Report::fatal(SqlState::InvalidPassword, "password authentication failed").encode(&mut out);
        let fields = Fields::decode(&out[5..]).expect("well formed");
        assert_eq!(fields.severity(), Some(&b"FATAL"[..]));
        assert_eq!(fields.sqlstate(), Some(*b"28P01"));
        assert_eq!(fields.message(), Some(&b"password authentication failed"[..]));
        assert_eq!(fields.get(b'D'), None);
        assert!(fields.is_authorization_failure());
        let fields = Fields::decode(b"SFATAL\0C53300\0\0").expect("well formed");
        assert_eq!(
            (fields.severity(), fields.is_authorization_failure()),
            (Some(&b"FATAL"[..]), false)
        );
    }

    #[test]
    fn sqlstates_of_another_shape_are_none() {
        for code in ["", "2800", "280000", "28p01", "28\x1b01"] {
            let body = [b"C", code.as_bytes(), b"\0\0"].concat();
            assert_eq!(Fields::decode(&body).expect("well formed").sqlstate(), None, "{code:?}");
        }
    }

    #[test]
    fn broken_layouts_are_refused() {
        let broken: [(&[u8], WireError); 5] = [
            (b"", WireError::Truncated),
            (b"SFATAL\0", WireError::Truncated),
            (b"SFATAL", WireError::MissingTerminator),
            (b"SFATAL\0\0x", WireError::TrailingBytes),
            (b"\0\0", WireError::TrailingBytes),
        ];
        for (body, error) in broken {
            assert_eq!(Fields::decode(body), Err(error), "{body:?}");
        }
    }
}
