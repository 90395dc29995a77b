//! A token as the password, or by OAUTHBEARER (RFC 7628): from the request for it to a signature that is good.
//!
//! What the token says is judged at the decision, on the policy in force then: `assertion`.

use std::sync::Arc;

use postern_policy::model::Asked;

use crate::audit::{self, Name, Outcome, Reason};
use crate::identity::oauthbearer::{self, OAUTHBEARER, Request};
use crate::identity::token::{KnownIssuer, MAX_TOKEN, TokenRefusal, Unverified, Verified, cache};
use crate::in_force::InForce;
use crate::secret::Secret;
use crate::wire::authentication::{self, SaslInitialResponse};

use super::assertion::{Assertion, token_reason};
use super::denial::Denial;
use super::gate::Gate;
use super::proof::{Claim, Shown, shown_certificate};
use super::surroundings::{Surroundings, UsableKeys};

/// A token in a PasswordMessage has a zero byte behind it; a SASL message has the mechanism's name, two lengths and the
/// words of RFC 7628 around it. What is longer than the longest token is told as that.
pub(super) const MAX_MESSAGE: u32 = MAX_TOKEN as u32 + 1_024;

/// AuthenticationSASL with OAUTHBEARER is sent.
pub(super) struct OauthInitial {
    pub claim: Claim,
    /// The mechanism was named by a response without data.
    named: bool,
}

/// The challenge is sent; whatever the client says, it is over.
pub(super) struct OauthDummy {
    pub outcome: Outcome,
    pub denial: Denial,
}

/// A token whose key is not known: the issuer is asked once more.
pub(super) struct AwaitKeys {
    claim: Claim,
    token: Secret,
}

/// What a token has come to.
pub(super) enum TokenStep {
    Shown(Claim, Shown),
    /// Keys of this provider are to be fetched; then [`AwaitKeys::fetched`].
    NeedKeys(AwaitKeys, Name),
    Failed(Failed),
}

/// The token is none, or is not good. The answer is the claim's method's.
pub(super) struct Failed {
    pub outcome: Outcome,
    pub denial: Denial,
    /// The JSON of RFC 7628, 3.2.2, that comes before the error; none where the token was a password.
    pub challenge: Option<Vec<u8>>,
}

/// What OAUTHBEARER awaits next.
pub(super) enum OauthStep {
    Initial(OauthInitial),
    Token(TokenStep),
}

/// AuthenticationCleartextPassword. The claim has seen to it that this is TLS.
pub(super) fn ask_for_password(gate: &mut Gate) {
    authentication::encode_cleartext_password(&mut gate.to_client);
}

/// AuthenticationSASL with the one mechanism: libpq takes the first that it knows.
pub(super) fn ask_for_oauth(claim: Claim, gate: &mut Gate) -> OauthInitial {
    authentication::encode_sasl(&mut gate.to_client, &[OAUTHBEARER]);
    OauthInitial { claim, named: false }
}

/// The password is the token.
pub(super) fn password(
    claim: Claim,
    gate: &mut Gate,
    around: &mut dyn Surroundings,
    body: &[u8],
) -> Result<TokenStep, Denial> {
    let token = read_password(body)?;
    if token.is_empty() {
        return Ok(failed(claim, Reason::PasswordEmpty));
    }
    Ok(begin(claim, gate, around, token))
}

/// The password of a PasswordMessage.
pub(super) fn read_password(body: &[u8]) -> Result<&[u8], Denial> {
    authentication::decode_password(body)
        .map_err(|error| Denial::protocol(format!("invalid password packet size: {error}")))
}

impl OauthInitial {
    /// Takes the mechanism and the client's message, which may come in one of its own.
    pub fn answer(self, gate: &mut Gate, around: &mut dyn Surroundings, body: &[u8]) -> Result<OauthStep, Denial> {
        let Self { claim, named } = self;
        if named {
            return read(claim, gate, around, body).map(OauthStep::Token);
        }
        let response = SaslInitialResponse::decode(body)
            .map_err(|error| Denial::protocol(format!("invalid SASLInitialResponse message: {error}")))?;
        if response.mechanism != OAUTHBEARER.as_bytes() {
            let denial = Denial::protocol("client selected an invalid SASL authentication mechanism");
            return Err(Denial {
                reason: Reason::OauthbearerMalformed,
                ..denial
            });
        }
        match response.data {
            Some(data) => read(claim, gate, around, data).map(OauthStep::Token),
            None => {
                authentication::encode_sasl_continue(&mut gate.to_client, &[]);
                Ok(OauthStep::Initial(Self { claim, named: true }))
            }
        }
    }
}

impl OauthDummy {
    /// The client's answer to the challenge: one separator, and then it hears the error.
    pub fn answered(self, body: &[u8]) -> (Outcome, Denial) {
        match oauthbearer::is_dummy(body) {
            true => (self.outcome, self.denial),
            false => self.ended_by(malformed(&oauthbearer::Malformed::DummyExpected.into())),
        }
    }

    /// The client hears of what it did instead. Why it was turned away is not its to choose.
    pub fn ended_by(self, other: Denial) -> (Outcome, Denial) {
        let reason = self.denial.reason;
        (self.outcome, Denial { reason, ..other })
    }
}

impl AwaitKeys {
    /// There was no answer in time.
    pub fn timed_out(&self) -> Denial {
        self.claim.denial(Reason::ProviderUnavailable)
    }

    /// The issuer has been asked; whatever there is now has to do.
    pub fn fetched(self, gate: &mut Gate, around: &mut dyn Surroundings, asked: bool) -> TokenStep {
        let Self { claim, token } = self;
        let in_force = around.in_force();
        match verify(&claim, around, &in_force, token.expose()) {
            Ok(found) => show(claim, gate, around, found),
            Err(Unverifiable { refusal, ask, keys }) => {
                if let Some(NoKeys { provider, why }) = keys {
                    let record = gate.draft.fill();
                    record.assertion = Some(Box::new(audit::Assertion::by(provider)));
                    record.detail = Some(why);
                }
                let mut failed = failure(claim, token_reason(refusal));
                // Its key may be one that the issuer has begun to use just now.
                failed.denial.spared = ask.is_some() && !asked;
                TokenStep::Failed(failed)
            }
        }
    }
}

fn read(claim: Claim, gate: &mut Gate, around: &mut dyn Surroundings, message: &[u8]) -> Result<TokenStep, Denial> {
    match oauthbearer::read(message) {
        Ok(Request::Token(token)) => Ok(begin(claim, gate, around, token)),
        Ok(Request::Discovery) => {
            let denial = claim.denial(Reason::TokenDiscovery);
            Ok(TokenStep::Failed(Failed {
                outcome: Outcome::Discovery,
                challenge: challenge(&claim),
                denial,
            }))
        }
        Err(fault) if fault.is_challenged() => Ok(failed(claim, Reason::TokenMalformed)),
        Err(fault) => Err(malformed(&fault)),
    }
}

fn begin(claim: Claim, gate: &mut Gate, around: &mut dyn Surroundings, token: &[u8]) -> TokenStep {
    let in_force = around.in_force();
    match verify(&claim, around, &in_force, token) {
        Ok(found) => show(claim, gate, around, found),
        Err(Unverifiable {
            ask: Some(provider), ..
        }) => {
            let token = Secret::new(token.to_vec());
            TokenStep::NeedKeys(AwaitKeys { claim, token }, provider)
        }
        Err(Unverifiable { refusal, ask: None, .. }) => failed(claim, token_reason(refusal)),
    }
}

/// A signature that is good, and whose.
struct Signed {
    provider: Name,
    verified: Arc<Verified>,
}

struct Unverifiable {
    refusal: TokenRefusal,
    /// The provider whose keys, fetched again, might verify it.
    ask: Option<Name>,
    /// Its provider has no keys that may be used.
    keys: Option<NoKeys>,
}

struct NoKeys {
    provider: Name,
    why: Box<str>,
}

impl From<TokenRefusal> for Unverifiable {
    fn from(refusal: TokenRefusal) -> Self {
        Self {
            refusal,
            ask: None,
            keys: None,
        }
    }
}

/// Looks into the cache before it looks into the token.
fn verify(
    claim: &Claim,
    around: &mut dyn Surroundings,
    in_force: &InForce,
    token: &[u8],
) -> Result<Signed, Unverifiable> {
    if token.len() > MAX_TOKEN {
        return Err(TokenRefusal::Oversize.into());
    }
    let (hash, policy) = (cache::hash(token), in_force.snapshot.generation());
    if let Some((verified, generation)) = around.tokens().get(&hash, policy) {
        let subject = verified.claims().only("sub");
        let known = in_force.issuers.of_authority(verified.issuer(), subject);
        let known = known
            .filter(|known| claim.takes(&known.name))
            .ok_or(TokenRefusal::IssuerUnknown)?;
        // Keys that are too old are no keys, whatever was verified with them before.
        if keys_of(around, known)?.generation == generation {
            return Ok(Signed {
                provider: known.name.clone(),
                verified,
            });
        }
    }
    let unverified = Unverified::parse(token)?;
    let known = in_force.issuers.claimed_by(&unverified);
    let known = known
        .filter(|known| claim.takes(&known.name))
        .ok_or(TokenRefusal::IssuerUnknown)?;
    let keys = keys_of(around, known)?;
    // A token that does not name its key may be of one that is not there yet as well.
    let nameless = unverified.key_id().is_none();
    let verified = unverified.verify(&keys.set, &known.rules).map_err(|refusal| {
        let maybe_newer =
            refusal == TokenRefusal::UnknownKey || (nameless && refusal == TokenRefusal::SignatureInvalid);
        Unverifiable {
            ask: (maybe_newer && known.inline.is_none()).then(|| known.name.clone()),
            ..Unverifiable::from(refusal)
        }
    })?;
    let verified = Arc::new(verified);
    around.tokens().put(hash, keys.generation, policy, verified.clone());
    Ok(Signed {
        provider: known.name.clone(),
        verified,
    })
}

/// Those of the policy have no number of their own: a policy with others has another one.
fn keys_of(around: &dyn Surroundings, known: &KnownIssuer) -> Result<UsableKeys, Unverifiable> {
    match &known.inline {
        Some(set) => Ok(UsableKeys {
            set: set.clone(),
            generation: 0,
        }),
        None => around.keys_of(known).map_err(|why| unavailable(&known.name, why)),
    }
}

fn unavailable(provider: &Name, why: Box<str>) -> Unverifiable {
    Unverifiable {
        refusal: TokenRefusal::ProviderUnavailable,
        ask: Some(provider.clone()),
        keys: Some(NoKeys {
            provider: provider.clone(),
            why,
        }),
    }
}

fn show(claim: Claim, gate: &Gate, around: &dyn Surroundings, found: Signed) -> TokenStep {
    let assertion = Assertion::Token {
        provider: found.provider,
        verified: found.verified,
        certificate: shown_certificate(gate),
        shown: around.utc(),
    };
    TokenStep::Shown(claim, Shown::Provider(assertion))
}

fn failed(claim: Claim, reason: Reason) -> TokenStep {
    TokenStep::Failed(failure(claim, reason))
}

fn failure(claim: Claim, reason: Reason) -> Failed {
    Failed {
        outcome: Outcome::Denied,
        challenge: challenge(&claim),
        denial: claim.denial(reason),
    }
}

/// `None` where the token was a password.
pub(super) fn challenge(claim: &Claim) -> Option<Vec<u8>> {
    if claim.asks() != Asked::OauthBearer {
        return None;
    }
    let (url, scope) = claim.discovery.as_ref()?;
    let mut json = Vec::new();
    oauthbearer::challenge(&mut json, url, scope);
    Some(json)
}

fn malformed(fault: &oauthbearer::OauthBearerFault) -> Denial {
    let sqlstate = match fault.sqlstate() {
        "0A000" => crate::wire::sqlstate::SqlState::FeatureNotSupported,
        _ => crate::wire::sqlstate::SqlState::ProtocolViolation,
    };
    Denial {
        detail: fault.detail().map(Into::into),
        ..Denial::new(Reason::OauthbearerMalformed, sqlstate, fault.to_string())
    }
}
