//! A password that a webhook judges: the question, and what becomes of its answer.

use core::net::{IpAddr, Ipv4Addr};

use crate::audit::{self, Name, Reason};
use crate::identity::webhook::{Answer, KnownWebhook, Question, WebhookOrigin};
use crate::in_force::InForce;
use crate::secret::Secret;

use super::assertion::Assertion;
use super::denial::Denial;
use super::gate::Gate;
use super::proof::{Claim, Shown, shown_certificate};
use super::token::read_password;

/// The question is asked.
pub(super) struct AwaitAnswer {
    claim: Claim,
    provider: Name,
    origin: WebhookOrigin,
    /// The client has closed its connection.
    left: bool,
}

impl AwaitAnswer {
    /// Reads the password and puts the question together.
    pub fn ask(claim: Claim, gate: &Gate, in_force: &InForce, body: &[u8]) -> Result<(Self, Box<Question>), Denial> {
        let password = read_password(body)?;
        if password.is_empty() {
            return Err(claim.denial(Reason::PasswordEmpty));
        }
        let provider = claim
            .provider()
            .cloned()
            .ok_or_else(|| claim.denial(Reason::Internal))?;
        let Some(KnownWebhook { origin, .. }) = in_force.webhooks.named(&provider) else {
            return Err(claim.denial(Reason::ProviderUnavailable));
        };
        let parameters = &claim.parameters;
        let question = Question {
            attempt: gate.entrance.session.to_string().into(),
            user: parameters.user().into(),
            database: parameters.database().into(),
            application_name: parameters.application_name().unwrap_or_default().into(),
            source: gate.entrance.ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            listener: (&*gate.entrance.listener).into(),
            tls: gate.tls.is_some(),
            certificate_sha256: shown_certificate(gate),
            password: Some(Secret::new(password.to_vec())),
            replication: parameters.replication() != crate::wire::parameters::Replication::No,
        };
        let this = Self {
            claim,
            provider,
            origin,
            left: false,
        };
        Ok((this, Box::new(question)))
    }

    pub fn provider(&self) -> &Name {
        &self.provider
    }

    pub fn origin(&self) -> WebhookOrigin {
        self.origin
    }

    pub fn left_by_client(mut self: Box<Self>) -> Box<Self> {
        self.left = true;
        self
    }

    pub fn is_left(&self) -> bool {
        self.left
    }

    /// There was no answer in time.
    pub fn timed_out(&self) -> Denial {
        self.claim.denial(Reason::ProviderUnavailable)
    }

    /// Allowed, or the denial. Nobody is let in without an answer.
    pub fn answered(self, gate: &mut Gate, in_force: &InForce, answer: Answer) -> Result<(Claim, Shown), Denial> {
        let Self {
            claim,
            provider,
            origin,
            left: _,
        } = self;
        let known = in_force.webhooks.named(&provider);
        match answer {
            Answer::Allowed(_) if known.is_none_or(|known| known.origin != origin) => {
                self::record(gate, provider, "the policy has moved the webhook meanwhile".into());
                Err(claim.denial(Reason::ProviderUnavailable))
            }
            Answer::Allowed(answer) => Ok((claim, Shown::Provider(Assertion::Webhook { provider, answer }))),
            Answer::Denied { reason } => {
                self::record(gate, provider, reason);
                Err(claim.denial(Reason::WebhookDenied))
            }
            Answer::Unavailable { why } => {
                self::record(gate, provider, why);
                Err(claim.denial(Reason::ProviderUnavailable))
            }
        }
    }
}

fn record(gate: &mut Gate, provider: Name, why: Box<str>) {
    let record = gate.draft.fill();
    record.assertion = Some(Box::new(audit::Assertion::by(provider)));
    record.detail = Some(why);
}
