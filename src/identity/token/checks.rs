//! The judgement check by check, for people: what was wanted, what the token says. The answers are those of the functions
//! that [`Verified::judge`] asks, in its order; only the words are this file's.

use postern_policy::model::{ClaimTest, TokenForm, TokenIssuer};
use postern_policy::words::Word;

use super::verified::{check_begin, longest_subject};
use super::{Binding, TokenRefusal, Verified};
use crate::time::Utc;

/// Characters of a text from a token that are repeated.
const LONGEST: usize = 200;

/// One check, whether or not an earlier one has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub about: String,
    pub wanted: String,
    pub got: String,
    /// What the gate would say if it came to this check; `None` where it goes on.
    pub refusal: Option<TokenRefusal>,
}

/// All of them. The first refusal is what [`Verified::judge`] says; where there is none, it lets in.
pub fn checks(token: &Verified, issuer: &TokenIssuer, now: Utc, certificate: Option<&[u8; 32]>) -> Vec<Check> {
    let mut all = vec![
        authority(token, issuer),
        algorithm(token, issuer),
        token_type(token, issuer),
        audience(token, issuer),
        end(token, issuer, now),
        begin("nbf", token.not_before(), issuer, now),
        begin("iat", token.issued_at(), issuer, now),
    ];
    all.extend(issuer.max_age.map(|most| age(token, issuer, most, now)));
    let required = issuer.required_claims.iter();
    all.extend(required.map(|(name, test)| required_claim(token, name, test)));
    all.push(subject(token, issuer));
    all.push(binding(token, certificate));
    all.extend(issuer.one_time.then(|| one_time(token, issuer)));
    all
}

/// A text of strangers between quotes: neither long nor able to do anything to a terminal.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("`{}`...", text.get(..at).unwrap_or_default().escape_debug()),
        None => format!("`{}`", text.escape_debug()),
    }
}

fn authority(token: &Verified, issuer: &TokenIssuer) -> Check {
    let refusal = token.check_authority(issuer).err();
    match &issuer.form {
        TokenForm::Oidc { issuer } => Check::new("iss", shown(issuer), or_nothing(token.issuer()), refusal),
        TokenForm::JwtSvid { trust_domains } => Check::new(
            "trust domain of sub",
            any_of(trust_domains.iter().map(|domain| shown(domain))),
            or_nothing(token.claims().only("sub")),
            refusal,
        ),
    }
}

fn algorithm(token: &Verified, issuer: &TokenIssuer) -> Check {
    let wanted = any_of(issuer.algorithms.iter().map(|algorithm| algorithm.as_str().to_owned()));
    let got = token.algorithm().as_str().to_owned();
    Check::new("alg", wanted, got, token.check_algorithm(issuer).err())
}

fn token_type(token: &Verified, issuer: &TokenIssuer) -> Check {
    let wanted = match issuer.types.is_empty() {
        true => "any or none".to_owned(),
        false => any_of(issuer.types.iter().map(|allowed| shown(allowed))),
    };
    Check::new(
        "typ",
        wanted,
        or_nothing(token.token_type()),
        token.check_type(issuer).err(),
    )
}

fn audience(token: &Verified, issuer: &TokenIssuer) -> Check {
    let wanted = any_of(issuer.audiences.iter().map(|audience| shown(audience)));
    Check::new("aud", wanted, values(token, "aud"), token.check_audience(issuer).err())
}

fn end(token: &Verified, issuer: &TokenIssuer, now: Utc) -> Check {
    let answer = token.check_end(issuer, now);
    let expires = token.expires();
    let got = match answer {
        Ok(end) => format!("{expires}, holds for {} more", seconds(now, end)),
        Err(_) => format!("{expires}, {} ago", seconds(expires, now)),
    };
    Check::new("exp", format!("later than {now}{}", skew(issuer)), got, answer.err())
}

fn begin(name: &str, from: Option<Utc>, issuer: &TokenIssuer, now: Utc) -> Check {
    let got = from.map_or_else(nothing, |from| from.to_string());
    let wanted = format!("none, or not after {now}{}", skew(issuer));
    Check::new(name, wanted, got, check_begin(from, issuer, now).err())
}

fn age(token: &Verified, issuer: &TokenIssuer, most: u32, now: Utc) -> Check {
    let answer = token.check_age(issuer, now);
    let issued = token.issued_at();
    let got = match (answer, issued) {
        (_, None) => "no iat".to_owned(),
        (Ok(Some(end)), Some(issued)) => {
            let (age, left) = (seconds(issued, now), seconds(now, end));
            format!("{age}, holds for {left} more")
        }
        (Ok(None) | Err(_), Some(issued)) => seconds(issued, now),
    };
    let wanted = format!("at most {most}s since iat{}", skew(issuer));
    Check::new("max_age", wanted, got, answer.err())
}

fn required_claim(token: &Verified, name: &str, test: &ClaimTest) -> Check {
    let wanted = match test {
        ClaimTest::Is(pattern) => shown(&pattern.0),
        ClaimTest::HasOneOf(patterns) => {
            let patterns = any_of(patterns.iter().map(|pattern| shown(&pattern.0)));
            format!("{patterns} among its values")
        }
    };
    let refusal = (!test.holds(name, token.claims())).then_some(TokenRefusal::ClaimMissing);
    Check::new(&format!("claim {name}"), wanted, values(token, name), refusal)
}

fn subject(token: &Verified, issuer: &TokenIssuer) -> Check {
    let name = &issuer.subject_claim;
    let wanted = format!("one name of 1 to {} bytes", longest_subject(&issuer.form));
    let refusal = token.check_subject(issuer).err();
    Check::new(&format!("subject {name}"), wanted, values(token, name), refusal)
}

fn binding(token: &Verified, certificate: Option<&[u8; 32]>) -> Check {
    let got = match (token.binding(), certificate) {
        (Binding::None, _) => "not bound".to_owned(),
        (Binding::Unsupported, _) => "bound in a way that cannot be enforced".to_owned(),
        (Binding::Certificate(_), None) => "bound to a certificate, and none is shown".to_owned(),
        (Binding::Certificate(bound), Some(shown)) if bound == shown => "bound to the certificate shown".to_owned(),
        (Binding::Certificate(_), Some(_)) => "bound to another certificate".to_owned(),
    };
    let wanted = "none, or to the client's certificate".to_owned();
    Check::new("cnf", wanted, got, token.check_binding(certificate).err())
}

fn one_time(token: &Verified, issuer: &TokenIssuer) -> Check {
    let authority = token.check_authority(issuer).unwrap_or_default();
    let refusal = token.one_time(issuer, authority).err();
    let wanted = "a name for a token that counts once".to_owned();
    Check::new("jti", wanted, or_nothing(token.token_id()), refusal)
}

impl Check {
    fn new(about: &str, wanted: String, got: String, refusal: Option<TokenRefusal>) -> Self {
        Self {
            about: about.to_owned(),
            wanted,
            got,
            refusal,
        }
    }
}

fn values(token: &Verified, name: &str) -> String {
    let values: Vec<String> = token.claims().values(name).map(shown).collect();
    match values.is_empty() {
        true => nothing(),
        false => values.join(", "),
    }
}

fn or_nothing(text: Option<&str>) -> String {
    text.map_or_else(nothing, shown)
}

fn nothing() -> String {
    "nothing".to_owned()
}

fn any_of(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" or ")
}

fn skew(issuer: &TokenIssuer) -> String {
    match issuer.clock_skew {
        0 => String::new(),
        skew => format!(", give or take {skew}s"),
    }
}

fn seconds(from: Utc, to: Utc) -> String {
    format!("{}s", to.seconds().saturating_sub(from.seconds()))
}
