//! A password that a webhook judges: the question, and what becomes of its answer.

use core::net::{IpAddr, Ipv4Addr};

use crate::audit::{self, Name, Reason};
use crate::identity::webhook::{Answer, Question};
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
}

impl AwaitAnswer {
    /// Reads the password and puts the question together.
    pub fn ask(claim: Claim, gate: &Gate, body: &[u8]) -> Result<(Self, Box<Question>), Denial> {
        let password = read_password(body)?;
        if password.is_empty() {
            return Err(claim.denial(Reason::PasswordEmpty));
        }
        let provider = claim
            .provider()
            .cloned()
            .ok_or_else(|| claim.denial(Reason::Internal))?;
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
        Ok((Self { claim, provider }, Box::new(question)))
    }

    pub fn provider(&self) -> &Name {
        &self.provider
    }

    /// There was no answer in time.
    pub fn timed_out(&self) -> Denial {
        self.claim.denial(Reason::ProviderUnavailable)
    }

    /// Allowed, or the denial. Nobody is let in without an answer.
    pub fn answered(self, gate: &mut Gate, answer: Answer) -> Result<(Claim, Shown), Denial> {
        let Self { claim, provider } = self;
        match answer {
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
