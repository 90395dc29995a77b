//! First messages of any content, from a corpus: what is read must be what a second, plain reading of RFC 7628 says, and nothing
//! else may pass.

use postern_fuzzing::{Entry, Marks, drive};

use super::{Malformed, MalformedToken, OauthBearerFault, Request, is_dummy, read};

/// Every way to read a message.
const MARKS: [&str; 21] = [
    "token",
    "discovery",
    "dummy",
    "empty",
    "nul",
    "binding",
    "comma",
    "flag",
    "attribute",
    "separator",
    "unterminated",
    "no_value",
    "no_key",
    "key",
    "value",
    "several_auth",
    "no_terminator",
    "no_auth",
    "garbage",
    "identity",
    "no_token",
];

#[test]
fn driven_from_the_corpus() {
    drive("oauthbearer", &MARKS, generated, run);
}

fn run(message: &[u8], marks: &mut Marks) {
    if is_dummy(message) {
        marks.reach("dummy");
    }
    match (read(message), plainly(message)) {
        (Ok(Request::Token(token)), Some(Some(plain))) => {
            assert_eq!(token, plain);
            marks.reach("token");
        }
        (Ok(Request::Discovery), Some(None)) => marks.reach("discovery"),
        (Err(fault), None) => marks.reach(mark_of(fault)),
        (read, plain) => panic!("{read:?}, and read plainly {plain:?}: {}", message.escape_ascii()),
    }
}

/// The token, or that there is none; `None` for what is no message.
fn plainly(message: &[u8]) -> Option<Option<&[u8]>> {
    let pairs = [b"n,,\x01", b"y,,\x01"]
        .iter()
        .find_map(|header| message.strip_prefix(*header))?;
    let mut parts: Vec<&[u8]> = pairs.split(|&byte| byte == 1).collect();
    // Behind the last pair's separator and behind the last one there is nothing.
    (parts.pop()?.is_empty() && parts.pop()?.is_empty()).then_some(())?;
    let mut auths = Vec::new();
    for part in parts {
        let equals = part.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&part[..equals], &part[equals + 1..]);
        let is_text = |byte: &u8| byte.is_ascii_graphic() || b" \t\r\n".contains(byte);
        if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) || !value.iter().all(is_text) {
            return None;
        }
        if key == b"auth" {
            auths.push(value);
        }
    }
    match auths[..] {
        [b""] => Some(None),
        [auth] => {
            let text = std::str::from_utf8(auth).ok()?;
            let (scheme, token) = text.split_once(' ')?;
            let token = token.trim_start_matches(' ');
            let core = token.trim_end_matches('=');
            let good = scheme.eq_ignore_ascii_case("bearer")
                && !token.is_empty()
                && core.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
            good.then_some(Some(token.as_bytes()))
        }
        _ => None,
    }
}

fn mark_of(fault: OauthBearerFault) -> &'static str {
    let malformed = match fault {
        OauthBearerFault::AuthorizationIdentity => return "identity",
        OauthBearerFault::Token(MalformedToken::Scheme | MalformedToken::Empty | MalformedToken::Format) => {
            assert!(fault.is_challenged());
            return "no_token";
        }
        OauthBearerFault::Malformed(malformed) => malformed,
    };
    match malformed {
        Malformed::Empty => "empty",
        Malformed::EmbeddedNul => "nul",
        Malformed::BindingUnsupported => "binding",
        Malformed::CommaExpected(_) => "comma",
        Malformed::BindingFlag(_) => "flag",
        Malformed::UnexpectedAttribute(_) => "attribute",
        Malformed::SeparatorExpected(_) => "separator",
        Malformed::Unterminated => "unterminated",
        Malformed::KeyWithoutValue => "no_value",
        Malformed::KeyEmpty => "no_key",
        Malformed::KeyInvalid => "key",
        Malformed::ValueInvalid => "value",
        Malformed::SeveralAuth => "several_auth",
        Malformed::TerminatorMissing => "no_terminator",
        Malformed::AuthMissing => "no_auth",
        Malformed::Garbage => "garbage",
        Malformed::DummyExpected => unreachable!("the first message is no answer to a challenge"),
    }
}

/// A good message of each kind, and one for each way it may be none.
fn generated() -> Vec<Entry> {
    let entries: [(&str, &[u8]); 24] = [
        ("token", b"n,,\x01auth=Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln\x01\x01"),
        (
            "host-and-port",
            b"y,,\x01host=db\x01port=5432\x01auth=bearer   a-b._~+/==\x01\x01",
        ),
        ("discovery", b"n,,\x01auth=\x01\x01"),
        ("dummy", b"\x01"),
        ("empty", b""),
        ("nul", b"n,,\x01auth=Bearer a\0b\x01\x01"),
        ("binding", b"p=tls-exporter,,\x01auth=\x01\x01"),
        ("comma", b"n;,\x01auth=\x01\x01"),
        ("flag", b"x,,\x01auth=\x01\x01"),
        ("attribute", b"n,b=x,\x01auth=\x01\x01"),
        ("separator", b"n,,auth=\x01\x01"),
        ("unterminated", b"n,,\x01auth=Bearer a"),
        ("no-value", b"n,,\x01auth\x01\x01"),
        ("no-key", b"n,,\x01=x\x01\x01"),
        ("key", b"n,,\x01a-b=x\x01auth=\x01\x01"),
        ("value", b"n,,\x01auth=Bearer \x7f\x01\x01"),
        ("several-auth", b"n,,\x01auth=\x01auth=Bearer a\x01\x01"),
        ("no-terminator", b"n,,\x01auth=Bearer a\x01"),
        ("no-auth", b"n,,\x01host=db\x01\x01"),
        ("garbage", b"n,,\x01auth=Bearer a\x01\x01x"),
        ("identity", b"n,a=alice,\x01auth=\x01\x01"),
        ("scheme", b"n,,\x01auth=Basic YTpi\x01\x01"),
        ("no-token", b"n,,\x01auth=Bearer  \x01\x01"),
        ("format", b"n,,\x01auth=Bearer a=b\x01\x01"),
    ];
    entries
        .map(|(name, message)| (name.to_owned(), message.to_vec()))
        .into()
}
