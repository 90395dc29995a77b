//! OAUTHBEARER (RFC 7628) as PostgreSQL speaks it (`auth-oauth.c`): the client's messages and the server's refusal.
//!
//! The messages are those inside SASLInitialResponse, SASLContinue and SASLResponse; the framing around them is `wire`'s.
//! Where a client sends SASLInitialResponse without data, the caller answers with an empty SASLContinue and calls [`read`]
//! with what comes next. A token that does not get in is answered by [`challenge`]; what the client then says must be
//! [`is_dummy`], and the attempt is over.

use std::fmt;

/// The mechanism's name.
pub const OAUTHBEARER: &str = "OAUTHBEARER";

/// What stands between the parts of a message and at its end (RFC 7628, 3.1).
const SEPARATOR: u8 = 1;
/// The scheme of RFC 6750, and the space behind it.
const BEARER: &[u8] = b"bearer ";

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// It has no token yet: the challenge tells it where to get one.
    Discovery,
    /// A token, not looked into: one or more characters of RFC 6750's `b64token`.
    Token(&'a [u8]),
}

/// A token is a secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery => f.write_str("Discovery"),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// What is wrong with a client's message. Depends on its bytes alone, so it may be told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OauthBearerFault {
    #[error("malformed OAUTHBEARER message")]
    Malformed(#[from] Malformed),
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    #[error("malformed OAuth bearer token")]
    Token(MalformedToken),
}

/// The details of `malformed OAUTHBEARER message`, word for word as PostgreSQL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("The message is empty.")]
    Empty,
    #[error("Message length does not match input length.")]
    EmbeddedNul,
    #[error(
        "The server does not support channel binding for OAuth, but the client message includes channel binding data."
    )]
    BindingUnsupported,
    #[error("Comma expected, but found character \"{}\".", Shown(*.0))]
    CommaExpected(u8),
    #[error("Unexpected channel-binding flag \"{}\".", Shown(*.0))]
    BindingFlag(u8),
    #[error("Unexpected attribute \"{}\" in client-first-message.", Shown(*.0))]
    UnexpectedAttribute(u8),
    #[error("Key-value separator expected, but found character \"{}\".", Shown(*.0))]
    SeparatorExpected(u8),
    #[error("Message contains an unterminated key/value pair.")]
    Unterminated,
    #[error("Message contains a key without a value.")]
    KeyWithoutValue,
    #[error("Message contains an empty key name.")]
    KeyEmpty,
    #[error("Message contains an invalid key name.")]
    KeyInvalid,
    #[error("Message contains an invalid value.")]
    ValueInvalid,
    #[error("Message contains multiple auth values.")]
    SeveralAuth,
    #[error("Message did not contain a final terminator.")]
    TerminatorMissing,
    #[error("Message does not contain an auth value.")]
    AuthMissing,
    #[error("Message contains additional data after the final terminator.")]
    Garbage,
    #[error("Client did not send a kvsep response.")]
    DummyExpected,
}

/// Why what stands at `auth` is no token. PostgreSQL says so in its log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    #[error("Client response indicated a non-Bearer authentication scheme.")]
    Scheme,
    #[error("Bearer token is empty.")]
    Empty,
    #[error("Bearer token is not in the correct format.")]
    Format,
}

impl OauthBearerFault {
    /// As PostgreSQL: 08P01, and 0A000 for what it does not support.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Token(_) => "08P01",
            Self::AuthorizationIdentity => "0A000",
        }
    }

    /// PostgreSQL's DETAIL, where it has one; that of a token is for the record alone.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed(malformed) => Some(malformed.to_string()),
            Self::Token(malformed) => Some(malformed.to_string()),
            Self::AuthorizationIdentity => None,
        }
    }

    /// The message is well formed and only its token is not: PostgreSQL answers with the challenge, as it does to a token
    /// that it does not accept. To all others it answers with an error at once.
    pub fn is_challenged(&self) -> bool {
        match self {
            Self::Token(_) => true,
            Self::Malformed(_) | Self::AuthorizationIdentity => false,
        }
    }

    /// Stable name for the record.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "oauthbearer_malformed",
            Self::AuthorizationIdentity => "oauthbearer_authorization_identity",
            Self::Token(_) => "oauthbearer_token_malformed",
        }
    }
}

/// Reads the client's first message.
pub fn read(message: &[u8]) -> Result<Request<'_>, OauthBearerFault> {
    if message.is_empty() {
        return Err(Malformed::Empty.into());
    }
    if message.contains(&0) {
        return Err(Malformed::EmbeddedNul.into());
    }
    let pairs = skip_gs2_header(message)?;
    match read_auth(pairs)? {
        b"" => Ok(Request::Discovery),
        auth => token_of(auth).map(Request::Token).map_err(OauthBearerFault::Token),
    }
}

/// Whether this is what a client must answer to a challenge: one separator. The fault otherwise:
/// [`Malformed::DummyExpected`].
pub fn is_dummy(message: &[u8]) -> bool {
    message == [SEPARATOR]
}

/// Appends the answer to a token that does not get in, and to a client that has none (RFC 7628, 3.2.2).
pub fn challenge(out: &mut Vec<u8>, discovery_url: &str, scope: &str) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (url, scope) = (quoted(discovery_url), quoted(scope));
    let json = format!("{{\"status\":\"invalid_token\",\"openid-configuration\":{url},\"scope\":{scope}}}");
    out.extend_from_slice(json.as_bytes());
}

/// What follows the header and its separator.
fn skip_gs2_header(message: &[u8]) -> Result<&[u8], OauthBearerFault> {
    let (flag, rest) = next(message);
    match flag {
        b'n' | b'y' => {}
        b'p' => return Err(Malformed::BindingUnsupported.into()),
        other => return Err(Malformed::BindingFlag(other).into()),
    }
    let (comma, rest) = next(rest);
    if comma != b',' {
        return Err(Malformed::CommaExpected(comma).into());
    }
    let (identity, rest) = next(rest);
    match identity {
        b',' => {}
        b'a' => return Err(OauthBearerFault::AuthorizationIdentity),
        other => return Err(Malformed::UnexpectedAttribute(other).into()),
    }
    match next(rest) {
        (SEPARATOR, pairs) => Ok(pairs),
        (other, _) => Err(Malformed::SeparatorExpected(other).into()),
    }
}

/// The value of `auth` among the pairs, each behind a separator of its own, and one more at the end.
fn read_auth(mut pairs: &[u8]) -> Result<&[u8], Malformed> {
    let mut auth = None;
    while !pairs.is_empty() {
        let end = position(pairs, SEPARATOR).ok_or(Malformed::Unterminated)?;
        let (pair, rest) = pairs.split_at(end);
        pairs = next(rest).1;
        if pair.is_empty() {
            let auth = auth.ok_or(Malformed::AuthMissing)?;
            return pairs.is_empty().then_some(auth).ok_or(Malformed::Garbage);
        }
        let (key, value) = split_pair(pair)?;
        if key == b"auth" && auth.replace(value).is_some() {
            return Err(Malformed::SeveralAuth);
        }
    }
    Err(Malformed::TerminatorMissing)
}

fn split_pair(pair: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let equals = position(pair, b'=').ok_or(Malformed::KeyWithoutValue)?;
    let (key, value) = pair.split_at(equals);
    let value = next(value).1;
    let printable = |byte: &u8| matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n');
    if key.is_empty() {
        Err(Malformed::KeyEmpty)
    } else if !key.iter().all(u8::is_ascii_alphabetic) {
        Err(Malformed::KeyInvalid)
    } else if !value.iter().all(printable) {
        Err(Malformed::ValueInvalid)
    } else {
        Ok((key, value))
    }
}

/// RFC 6750, 2.1: `Bearer`, spaces, characters of base64 in either alphabet, any number of `=`.
fn token_of(auth: &[u8]) -> Result<&[u8], MalformedToken> {
    let (scheme, token) = auth.split_at_checked(BEARER.len()).ok_or(MalformedToken::Scheme)?;
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Err(MalformedToken::Scheme);
    }
    let spaces = token.iter().take_while(|&&byte| byte == b' ').count();
    let token = token.get(spaces..).unwrap_or_default();
    if token.is_empty() {
        return Err(MalformedToken::Empty);
    }
    let allowed = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let mut behind = token.iter().skip_while(allowed);
    match behind.all(|&byte| byte == b'=') {
        true => Ok(token),
        false => Err(MalformedToken::Format),
    }
}

/// The first byte and what follows; zero at the end, as PostgreSQL sees it.
fn next(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(&first, rest)| (first, rest))
}

fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    bytes.iter().position(|&found| found == byte)
}

/// One byte of a peer made fit to show (PostgreSQL's `sanitize_char`).
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            byte if byte.is_ascii_graphic() => write!(f, "'{}'", char::from(byte)),
            byte => write!(f, "0x{byte:02x}"),
        }
    }
}

#[cfg(test)]
mod driven;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_libpq_sends_is_read() {
        let token: &[u8] = b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln";
        for (message, expected) in [
            (
                &b"n,,\x01auth=Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln\x01\x01"[..],
                Request::Token(token),
            ),
            (
                b"y,,\x01auth=bEARER   eyJhbGciOiJFUzI1NiJ9.e30.c2ln\x01\x01",
                Request::Token(token),
            ),
            (
                b"n,,\x01host=db\x01auth=Bearer x-._~+/9==\x01port=1\x01\x01",
                Request::Token(b"x-._~+/9=="),
            ),
            (b"n,,\x01auth=Bearer =\x01\x01", Request::Token(b"=")),
            (b"n,,\x01auth=\x01\x01", Request::Discovery),
        ] {
            assert_eq!(read(message), Ok(expected), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn what_postgresql_refuses_is_refused_in_its_words() {
        for (message, detail) in [
            (&b""[..], "The message is empty."),
            (b"n,,\x01auth=\x01\x01\0", "Message length does not match input length."),
            (
                b"p=tls-server-end-point,,\x01auth=\x01\x01",
                "The server does not support channel binding for OAuth, but the client message includes channel \
                 binding data.",
            ),
            (b"x,,\x01auth=\x01\x01", "Unexpected channel-binding flag \"'x'\"."),
            (b"\x01", "Unexpected channel-binding flag \"0x01\"."),
            (b"n", "Comma expected, but found character \"0x00\"."),
            (
                b"n,n=a,\x01auth=\x01\x01",
                "Unexpected attribute \"'n'\" in client-first-message.",
            ),
            (
                b"n,,auth=\x01\x01",
                "Key-value separator expected, but found character \"'a'\".",
            ),
            (b"n,,", "Key-value separator expected, but found character \"0x00\"."),
            (b"n,,\x01", "Message did not contain a final terminator."),
            (b"n,,\x01auth=", "Message contains an unterminated key/value pair."),
            (b"n,,\x01auth=\x01", "Message did not contain a final terminator."),
            (b"n,,\x01\x01", "Message does not contain an auth value."),
            (b"n,,\x01host=a\x01\x01", "Message does not contain an auth value."),
            (b"n,,\x01AUTH=\x01\x01", "Message does not contain an auth value."),
            (b"n,,\x01auth\x01\x01", "Message contains a key without a value."),
            (b"n,,\x01=x\x01\x01", "Message contains an empty key name."),
            (b"n,,\x01a1=x\x01\x01", "Message contains an invalid key name."),
            (
                b"n,,\x01host=\xc3\xa9\x01auth=\x01\x01",
                "Message contains an invalid value.",
            ),
            (
                b"n,,\x01auth=\x01auth=\x01\x01",
                "Message contains multiple auth values.",
            ),
            (
                b"n,,\x01auth=\x01\x01x",
                "Message contains additional data after the final terminator.",
            ),
            (
                b"n,,\x01auth=\x01\x01\x01",
                "Message contains additional data after the final terminator.",
            ),
        ] {
            let fault = read(message).unwrap_err();
            assert_eq!(fault.to_string(), "malformed OAUTHBEARER message");
            assert_eq!((fault.sqlstate(), fault.is_challenged()), ("08P01", false));
            assert_eq!(fault.detail().as_deref(), Some(detail), "{}", message.escape_ascii());
        }
        let fault = read(b"n,a=alice,\x01auth=\x01\x01").unwrap_err();
        assert_eq!(
            (fault, fault.sqlstate()),
            (OauthBearerFault::AuthorizationIdentity, "0A000")
        );
        assert_eq!(fault.detail(), None);
    }

    #[test]
    fn what_is_no_token_is_answered_as_a_token_that_does_not_get_in() {
        for (auth, why) in [
            ("Basic YTpi", MalformedToken::Scheme),
            ("Bearer", MalformedToken::Scheme),
            ("Bearer\ttoken", MalformedToken::Scheme),
            (" Bearer token", MalformedToken::Scheme),
            ("Bearer ", MalformedToken::Empty),
            ("Bearer    ", MalformedToken::Empty),
            ("Bearer a b", MalformedToken::Format),
            ("Bearer a=b", MalformedToken::Format),
            ("Bearer a ", MalformedToken::Format),
            ("Bearer \"a\"", MalformedToken::Format),
        ] {
            let message = format!("n,,\x01auth={auth}\x01\x01");
            let fault = read(message.as_bytes()).unwrap_err();
            assert_eq!(fault, OauthBearerFault::Token(why), "{auth}");
            assert!(fault.is_challenged());
        }
    }

    #[test]
    fn a_dummy_is_one_separator() {
        assert!(is_dummy(b"\x01"));
        assert!(!is_dummy(b"") && !is_dummy(b"\x01\x01") && !is_dummy(b"n,,\x01auth=\x01\x01"));
    }

    #[test]
    fn a_challenge_is_json_whatever_stands_in_it() {
        let mut out = b"before".to_vec();
        challenge(
            &mut out,
            "https://idp/.well-known/openid-configuration",
            "openid \"a\"\\\u{1}\n",
        );
        let json = out.strip_prefix(b"before").unwrap();
        assert_eq!(
            String::from_utf8_lossy(json),
            "{\"status\":\"invalid_token\",\"openid-configuration\":\"https://idp/.well-known/openid-configuration\",\
             \"scope\":\"openid \\\"a\\\"\\\\\\u0001\\n\"}"
        );
        assert!(serde_json::from_slice::<serde_json::Value>(json).is_ok());
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(
            format!("{:?}", read(b"n,,\x01auth=Bearer secret\x01\x01")),
            "Ok(Token(..))"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(data in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(read(&data).is_err());
        }

        #[test]
        fn a_token_is_returned_as_it_came(
            message in "[ny],,\x01([a-z]{1,5}=[ -~]{0,5}\x01){0,2}auth=[bB]earer {1,3}[!-~]{0,9}\x01([a-z]{1,3}=x\x01){0,2}\x01?",
        ) {
            if let Ok(Request::Token(token)) = read(message.as_bytes()) {
                let standing = format!("earer {}\x01", String::from_utf8_lossy(token));
                prop_assert!(!token.is_empty() && message.replace("r  ", "r ").replace("r  ", "r ").contains(&standing));
            }
        }
    }
}
