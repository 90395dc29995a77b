//! A token that a command is given: whose it is, what it says, and what the gate's own judgement makes of it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use postern_policy::explain::{Asserted, Assertion};
use postern_policy::id::ProviderId;
use postern_policy::model::{KeySource, TokenForm};
use zeroize::Zeroizing;

use super::Exit;
use crate::audit::Reason;
use crate::control::fetch;
use crate::identity::token::{Examined, KeySet, KnownIssuer, MAX_TOKEN, Signature, TokenRefusal, Unverified};
use crate::in_force::InForce;
use crate::session::{self, Meaning, reason_name};
use crate::time::Utc;

/// Line ends that a file may have behind its token, and one byte that makes it too long.
const BEHIND: usize = 3;

/// From the file, or from standard input where there is none or it is called `-`. Without line ends behind it.
pub fn read(path: Option<&Path>, input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, String> {
    // Enough for all that is read: a buffer that grows leaves copies behind.
    let mut token = Zeroizing::new(Vec::with_capacity(MAX_TOKEN + BEHIND));
    let most = (MAX_TOKEN + BEHIND) as u64;
    let read = match path.filter(|path| *path != Path::new("-")) {
        Some(path) => File::open(path).and_then(|file| file.take(most).read_to_end(&mut token)),
        None => input.take(most).read_to_end(&mut token),
    };
    read.map_err(|error| format!("the token cannot be read: {error}"))?;
    let end = token.trim_ascii_end().len();
    token.truncate(end);
    Ok(token)
}

/// Read, as far as it can be.
pub enum ShownToken<'p> {
    /// There are no claims to look at.
    Unreadable(TokenRefusal),
    /// No provider of the policy has issued it.
    Strange(Box<Examined>),
    /// With the keys it was looked at with.
    Known(&'p KnownIssuer, Box<Examined>, Option<Arc<KeySet>>),
}

/// Where keys come from that do not stand in the policy.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// Nowhere: what can be said without them is said.
    OfPolicyOnly,
    /// For whatever provider, and before those of the policy.
    File(&'a Path),
    /// From the provider that the token names, where and as the policy says.
    Fetched,
}

impl<'a> Keys<'a> {
    pub fn of(jwks: Option<&'a Path>, fetch: bool) -> Self {
        match (jwks, fetch) {
            (Some(path), _) => Self::File(path),
            (None, true) => Self::Fetched,
            (None, false) => Self::OfPolicyOnly,
        }
    }

    fn given(self) -> Result<Option<Arc<KeySet>>, Failure> {
        match self {
            Self::File(path) => Ok(Some(read_keys(path)?)),
            Self::OfPolicyOnly | Self::Fetched => Ok(None),
        }
    }

    fn for_issuer(self, known: &KnownIssuer) -> Result<Option<Arc<KeySet>>, Failure> {
        match (&known.inline, self) {
            (Some(keys), _) => Ok(Some(keys.clone())),
            (None, Self::Fetched) => fetch::issuer_keys(&known.name, &known.rules)
                .map(Some)
                .map_err(|why| Failure {
                    exit: Exit::Unavailable,
                    words: format!("provider {}: its keys cannot be fetched: {why}", known.name),
                }),
            (None, Self::OfPolicyOnly | Self::File(_)) => Ok(None),
        }
    }
}

/// Why nothing is said of a token, and how the command ends.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub words: String,
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self {
            exit: Exit::BadInput,
            words,
        }
    }
}

/// Looks at it with the keys of `keys`, or else with those of the policy.
///
/// # Errors
/// The file cannot be used, or the provider gives no keys.
pub fn examine<'p>(token: &[u8], in_force: &'p InForce, keys: Keys<'_>) -> Result<ShownToken<'p>, Failure> {
    let given = keys.given()?;
    let unverified = match Unverified::parse(token) {
        Ok(unverified) => unverified,
        Err(refusal) => return Ok(ShownToken::Unreadable(refusal)),
    };
    let known = in_force.issuers.claimed_by(&unverified);
    let keys = match (given, known) {
        (None, Some(known)) => keys.for_issuer(known)?,
        (given, _) => given,
    };
    let with = known.and_then(|known| Some((keys.as_deref()?, &known.rules)));
    let examined = Examined::of(unverified, with);
    Ok(match (examined, known) {
        (Err(refusal), _) => ShownToken::Unreadable(refusal),
        (Ok(examined), None) => ShownToken::Strange(Box::new(examined)),
        (Ok(examined), Some(known)) => ShownToken::Known(known, Box::new(examined), keys),
    })
}

fn read_keys(path: &Path) -> Result<Arc<KeySet>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let keys = KeySet::parse(&bytes).map_err(|fault| format!("{}: {fault}", path.display()))?;
    Ok(keys.into())
}

/// What the gate would make of it, on the connection that shows it.
pub enum Judged {
    Good {
        provider: ProviderId,
        assertion: session::Assertion,
        meaning: Meaning,
    },
    /// The record's name of the reason.
    Refused(&'static str),
    /// Nobody has the keys; what to do about it.
    Unchecked(String),
}

impl ShownToken<'_> {
    /// By the function that judges at every login. `certificate`: the SHA-256 of the one that the client shows.
    pub fn judge(self, in_force: &InForce, now: Utc, certificate: Option<[u8; 32]>) -> Judged {
        let (known, examined) = match self {
            Self::Unreadable(refusal) => return Judged::Refused(reason_name(refusal)),
            Self::Strange(_) => return Judged::Refused(reason_name(TokenRefusal::IssuerUnknown)),
            Self::Known(known, examined, _) => (known, examined),
        };
        let verified = match examined.verified() {
            Ok(verified) => verified,
            Err(Signature::Refused(refusal)) => return Judged::Refused(reason_name(refusal)),
            Err(Signature::Good | Signature::Unchecked) => return Judged::Unchecked(remedy(known)),
        };
        let assertion = session::Assertion::Token {
            provider: known.name.clone(),
            verified: Arc::new(verified),
            certificate,
            shown: now,
        };
        judged(assertion, in_force)
    }
}

/// By the function that judges at every login.
pub fn judged(assertion: session::Assertion, in_force: &InForce) -> Judged {
    let provider = in_force.snapshot.provider_named(assertion.provider());
    match (assertion.judge(in_force), provider) {
        (Ok(meaning), Some(provider)) => Judged::Good {
            provider,
            assertion,
            meaning,
        },
        (Ok(_), None) => Judged::Refused(Reason::ProviderUnavailable.as_str()),
        (Err(reason), _) => Judged::Refused(reason.as_str()),
    }
}

impl Judged {
    /// As an explanation takes it.
    pub fn asserted(&self) -> Asserted<'_> {
        match self {
            Self::Refused(reason) => Asserted::Refused(reason),
            Self::Unchecked(_) => Asserted::Refused(reason_name(TokenRefusal::ProviderUnavailable)),
            Self::Good {
                provider,
                assertion,
                meaning,
            } => Asserted::Sound(Assertion {
                provider: *provider,
                subject: &meaning.subject,
                groups: &meaning.groups,
                claims: assertion.claims(),
                token_age: meaning.token_age,
                key_bound: meaning.key_bound,
            }),
        }
    }
}

/// How to have the signature checked.
pub fn remedy(known: &KnownIssuer) -> String {
    let place = match (&known.rules.keys, &known.rules.form) {
        (KeySource::Url(url), _) => format!("at {url}"),
        (KeySource::Discovery, TokenForm::Oidc { issuer }) => {
            let issuer = issuer.trim_end_matches('/');
            format!("at the jwks_uri of {issuer}/.well-known/openid-configuration")
        }
        (KeySource::Discovery | KeySource::Inline(_), _) => "not in the policy".to_owned(),
    };
    format!(
        "the keys of provider {} are {place}; have them fetched with --fetch, or give them with --jwks FILE",
        known.name
    )
}
