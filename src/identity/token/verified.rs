//! A token whose signature is good, and the judgement on what it says.

use std::fmt;

use aws_lc_rs::digest;
use postern_policy::attributes::Attributes;
use postern_policy::check::value::CLOCK_SKEW;
use postern_policy::id::ProviderId;
use postern_policy::identity::Revocable;
use postern_policy::model::{TokenAlgorithm, TokenForm, TokenIssuer};
use serde_json::{Map, Value};

use super::claims::{self, Binding, Registered};
use super::{TokenRefusal, spiffe};
use crate::time::Utc;

/// Seconds of `clock_skew` that a policy may grant.
const LARGEST_SKEW: u32 = CLOCK_SKEW.most();
/// Bytes of a subject at most.
const LONGEST_SUBJECT: usize = 255;
/// The same of a SPIFFE ID (SPIFFE-ID, section 2.3).
const LONGEST_SPIFFE_ID: usize = 2048;

pub(super) fn longest_subject(form: &TokenForm) -> usize {
    match form {
        TokenForm::Oidc { .. } => LONGEST_SUBJECT,
        TokenForm::JwtSvid { .. } => LONGEST_SPIFFE_ID,
    }
}

/// The issuer has signed this. Whether it lets anybody in is another question: [`Verified::judge`]. Only
/// [`super::Unverified::verify`] makes one.
pub struct Verified {
    origin: Origin,
    registered: Registered,
    claims: Attributes,
}

/// What the header said, and whose signature is good.
pub(super) struct Origin {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) key_id: Option<Box<str>>,
    pub(super) token_type: Option<Box<str>>,
}

impl Origin {
    /// Of tokens that nobody has signed.
    pub(super) fn of_fuzzing() -> Self {
        Self {
            algorithm: TokenAlgorithm::Es256,
            key_id: None,
            token_type: None,
        }
    }
}

/// Who a judged token stands for. Holds for the moment and the connection it was made for; only [`Verified::judge`] makes
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::manual_non_exhaustive, reason = "nobody in this crate makes one either")]
pub struct Assertion {
    pub subject: Box<str>,
    /// See [`Verified::ends`].
    pub ends: Utc,
    /// The token is bound to the certificate that this connection has shown.
    pub key_bound: bool,
    /// The earliest moment at which time alone makes the token invalid.
    pub recheck_at: Utc,
    /// The token counts once, and this is what to remember of it.
    pub once: Option<OneTime>,
    judged: (),
}

/// The mark of a token that counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneTime {
    /// SHA-256 of the issuer and `jti`.
    pub id: [u8; 32],
    /// When the token is invalid under any policy; the mark may be forgotten a while later.
    pub until: Utc,
}

impl Verified {
    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.only("iss")
    }

    /// `kid` of the key that has signed it.
    pub fn key_id(&self) -> Option<&str> {
        self.origin.key_id.as_deref()
    }

    /// `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.claims.only("jti")
    }

    /// `exp`.
    pub fn expires(&self) -> Utc {
        self.registered.expires
    }

    /// From when on it counts no longer, neither at login nor for the session that it let in: `exp`, and the difference of the
    /// clocks that is granted at each date.
    pub fn ends(&self, issuer: &TokenIssuer) -> Utc {
        later(self.expires(), issuer.clock_skew)
    }

    /// `iat`.
    pub fn issued_at(&self) -> Option<Utc> {
        self.registered.issued_at
    }

    pub fn binding(&self) -> &Binding {
        &self.registered.binding
    }

    pub fn claims(&self) -> &Attributes {
        &self.claims
    }

    /// The groups that the token lists where `issuer` has them.
    pub fn groups<'a>(&'a self, issuer: &'a TokenIssuer) -> impl Iterator<Item = &'a str> {
        let name = issuer.groups_claim.as_deref();
        name.into_iter().flat_map(|name| self.claims.values(name))
    }

    /// What a revocation of the policy may name.
    pub fn revocable<'a>(&'a self, provider: ProviderId, subject: &'a str) -> Revocable<'a> {
        Revocable {
            provider,
            subject,
            token_id: self.token_id(),
            key_id: self.key_id(),
            issued_at: self.issued_at(),
        }
    }

    /// Bytes of memory, about.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        size_of::<Self>() + self.claims.weight() + text(&self.origin.key_id) + text(&self.origin.token_type)
    }

    /// Every check that depends on time, on the policy or on this connection; repeated at every use. `certificate` is the
    /// SHA-256 of the certificate that the client has shown and holds the key of.
    pub fn judge(
        &self,
        issuer: &TokenIssuer,
        now: Utc,
        certificate: Option<&[u8; 32]>,
    ) -> Result<Assertion, TokenRefusal> {
        let authority = self.check_authority(issuer)?;
        self.check_algorithm(issuer)?;
        self.check_type(issuer)?;
        self.check_audience(issuer)?;
        let end = self.check_end(issuer, now)?;
        check_begin(self.not_before(), issuer, now)?;
        check_begin(self.issued_at(), issuer, now)?;
        let recheck_at = self.check_age(issuer, now)?.map_or(end, |too_old| end.min(too_old));
        self.check_required(issuer)?;
        let subject = self.check_subject(issuer)?;
        let key_bound = self.check_binding(certificate)?;
        let once = self.one_time(issuer, authority)?;
        Ok(Assertion {
            subject: subject.into(),
            ends: self.ends(issuer),
            key_bound,
            recheck_at,
            once,
            judged: (),
        })
    }

    pub(super) fn new(origin: Origin, payload: Map<String, Value>) -> Result<Self, TokenRefusal> {
        Ok(Self {
            origin,
            registered: Registered::of(&payload)?,
            claims: claims::flatten(payload)?,
        })
    }

    pub(super) fn not_before(&self) -> Option<Utc> {
        self.registered.not_before
    }

    pub(super) fn algorithm(&self) -> TokenAlgorithm {
        self.origin.algorithm
    }

    pub(super) fn token_type(&self) -> Option<&str> {
        self.origin.token_type.as_deref()
    }

    /// Whose word this is: the issuer's URL or the trust domain.
    pub(super) fn check_authority(&self, issuer: &TokenIssuer) -> Result<&str, TokenRefusal> {
        let authority = match &issuer.form {
            TokenForm::Oidc { issuer } => self.issuer().filter(|said| said == issuer),
            TokenForm::JwtSvid { trust_domains } => {
                let id = self.claims.only("sub").ok_or(TokenRefusal::SubjectInvalid)?;
                let domain = spiffe::trust_domain(id).ok_or(TokenRefusal::SubjectInvalid)?;
                trust_domains.contains(domain).then_some(domain)
            }
        };
        authority.ok_or(TokenRefusal::IssuerUnknown)
    }

    pub(super) fn check_algorithm(&self, issuer: &TokenIssuer) -> Result<(), TokenRefusal> {
        match issuer.algorithms.contains(&self.origin.algorithm) {
            true => Ok(()),
            false => Err(TokenRefusal::AlgorithmNotAllowed),
        }
    }

    pub(super) fn check_type(&self, issuer: &TokenIssuer) -> Result<(), TokenRefusal> {
        match is_one_of(self.token_type(), issuer) {
            true => Ok(()),
            false => Err(TokenRefusal::TypeNotAllowed),
        }
    }

    pub(super) fn check_audience(&self, issuer: &TokenIssuer) -> Result<(), TokenRefusal> {
        let mut audiences = self.claims.values("aud");
        match audiences.any(|audience| issuer.audiences.contains(audience)) {
            true => Ok(()),
            false => Err(TokenRefusal::WrongAudience),
        }
    }

    /// The moment at which the token stops to be valid.
    pub(super) fn check_end(&self, issuer: &TokenIssuer, now: Utc) -> Result<Utc, TokenRefusal> {
        let end = self.ends(issuer);
        if end <= now {
            return Err(TokenRefusal::Expired);
        }
        Ok(end)
    }

    /// The moment at which the token is too old, where the policy has such a moment.
    pub(super) fn check_age(&self, issuer: &TokenIssuer, now: Utc) -> Result<Option<Utc>, TokenRefusal> {
        let Some(max_age) = issuer.max_age else {
            return Ok(None);
        };
        let issued_at = self.issued_at().ok_or(TokenRefusal::ClaimMissing)?;
        let too_old = later(later(issued_at, max_age), issuer.clock_skew);
        match too_old <= now {
            true => Err(TokenRefusal::TooOld),
            false => Ok(Some(too_old)),
        }
    }

    fn check_required(&self, issuer: &TokenIssuer) -> Result<(), TokenRefusal> {
        let mut required = issuer.required_claims.iter();
        match required.all(|(name, test)| test.holds(name, &self.claims)) {
            true => Ok(()),
            false => Err(TokenRefusal::ClaimMissing),
        }
    }

    pub(super) fn check_subject(&self, issuer: &TokenIssuer) -> Result<&str, TokenRefusal> {
        let subject = self.claims.only(&issuer.subject_claim);
        let most = longest_subject(&issuer.form);
        let fits = |subject: &&str| (1..=most).contains(&subject.len()) && !subject.chars().any(char::is_control);
        subject.filter(fits).ok_or(TokenRefusal::SubjectInvalid)
    }

    /// Whether the token is bound to the certificate; certificates are public, so the comparison need not hide anything.
    pub(super) fn check_binding(&self, certificate: Option<&[u8; 32]>) -> Result<bool, TokenRefusal> {
        match (&self.registered.binding, certificate) {
            (Binding::None, _) => Ok(false),
            (Binding::Unsupported, _) => Err(TokenRefusal::BindingUnsupported),
            (Binding::Certificate(_), None) => Err(TokenRefusal::BindingMissing),
            (Binding::Certificate(bound), Some(shown)) if bound == shown => Ok(true),
            (Binding::Certificate(_), Some(_)) => Err(TokenRefusal::BindingMismatch),
        }
    }

    /// The mark outlives whatever a later policy may still grant to the token: a longer `max_age`, the largest `clock_skew`.
    pub(super) fn one_time(&self, issuer: &TokenIssuer, authority: &str) -> Result<Option<OneTime>, TokenRefusal> {
        if !issuer.one_time {
            return Ok(None);
        }
        let until = later(self.expires(), LARGEST_SKEW);
        let token_id = self.token_id().filter(|id| !id.is_empty());
        let id = one_time_id(authority, token_id.ok_or(TokenRefusal::TokenIdMissing)?);
        Ok(Some(OneTime { id, until }))
    }
}

/// Claims are about people: they are not printed by the way.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Verified");
        shown.field("algorithm", &self.origin.algorithm);
        shown.field("expires", &self.expires()).finish_non_exhaustive()
    }
}

/// A date from which on the token counts.
pub(super) fn check_begin(from: Option<Utc>, issuer: &TokenIssuer, now: Utc) -> Result<(), TokenRefusal> {
    match from.is_some_and(|from| from > later(now, issuer.clock_skew)) {
        true => Err(TokenRefusal::NotYetValid),
        false => Ok(()),
    }
}

fn is_one_of(token_type: Option<&str>, issuer: &TokenIssuer) -> bool {
    let same = |said: &str| {
        let mut types = issuer.types.iter();
        types.any(|allowed| short_type(allowed).eq_ignore_ascii_case(short_type(said)))
    };
    issuer.types.is_empty() || token_type.is_some_and(same)
}

/// A media type without `application/`, where nothing but that is left out (RFC 7515, 4.1.9).
fn short_type(media_type: &str) -> &str {
    match media_type.split_once('/') {
        Some((head, rest)) if head.eq_ignore_ascii_case("application") && !rest.contains('/') => rest,
        Some(_) | None => media_type,
    }
}

fn later(moment: Utc, seconds: u32) -> Utc {
    Utc(moment.0.saturating_add(i64::from(seconds) * 1_000_000))
}

/// The length keeps apart what two texts would otherwise share.
fn one_time_id(authority: &str, token_id: &str) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&(authority.len() as u64).to_be_bytes());
    hash.update(authority.as_bytes());
    hash.update(token_id.as_bytes());
    let mut id = [0; 32];
    id.copy_from_slice(hash.finish().as_ref());
    id
}
