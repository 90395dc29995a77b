//! The client's proof: each message of each method, up to the decision.

use postern_policy::model::Asked;

use super::refusing::Refusal;
use super::{Gate, Stage};
use crate::audit::{Outcome, Reason};
use crate::identity::scram;
use crate::identity::webhook::Answer;
use crate::session::denial::Denial;
use crate::session::order::Order;
use crate::session::proof::{Claim, Shown};
use crate::session::scram::{SaslFinal, SaslInitial, SaslStep};
use crate::session::surroundings::Surroundings;
use crate::session::token::{self, Failed, OauthDummy, OauthInitial, OauthStep, TokenStep};
use crate::session::webhook::AwaitAnswer;
use crate::time::Mono;
use crate::wire::WireError;
use crate::wire::assemble::Assembler;
use crate::wire::tag::frontend;

/// SASL messages are capped by the mechanism itself; the mechanism's name and two lengths come on top.
const MAX_SASL_MESSAGE: u32 = scram::MAX_MESSAGE as u32 + 64;

impl Gate {
    pub(super) fn sasl_initial(
        &mut self,
        around: &mut dyn Surroundings,
        stage: Box<SaslInitial>,
        assembler: &mut Assembler,
        input: &mut &[u8],
    ) -> Result<Stage, Denial> {
        let Some(body) = take_password_message(assembler, input, MAX_SASL_MESSAGE)? else {
            return Ok(Stage::ExpectSaslInitial(stage));
        };
        self.hear_proof(around, &stage.claim)?;
        Ok(match stage.answer(self, around, body)? {
            SaslStep::Initial(stage) => Stage::ExpectSaslInitial(Box::new(stage)),
            SaslStep::Final(stage) => Stage::ExpectSaslFinal(Box::new(stage)),
        })
    }

    pub(super) fn sasl_final(
        &mut self,
        around: &mut dyn Surroundings,
        stage: Box<SaslFinal>,
        assembler: &mut Assembler,
        input: &mut &[u8],
    ) -> Result<Stage, Denial> {
        let Some(body) = take_password_message(assembler, input, MAX_SASL_MESSAGE)? else {
            return Ok(Stage::ExpectSaslFinal(stage));
        };
        self.hear_proof(around, &stage.claim)?;
        let (claim, proven) = stage.judge(self, body)?;
        self.draft.proof_given(around.now());
        self.enter(around, claim, Shown::Scram(proven))
    }

    pub(super) fn password(
        &mut self,
        around: &mut dyn Surroundings,
        claim: Box<Claim>,
        assembler: &mut Assembler,
        input: &mut &[u8],
    ) -> Result<Stage, Denial> {
        let Some(body) = take_password_message(assembler, input, token::MAX_MESSAGE)? else {
            return Ok(Stage::ExpectPassword(claim));
        };
        self.hear_proof(around, &claim)?;
        if claim.asks() == Asked::PasswordForWebhook {
            let (stage, question) = AwaitAnswer::ask(*claim, self, &around.in_force(), body)?;
            self.orders.push_back(Order::AskWebhook {
                provider: stage.provider().clone(),
                origin: stage.origin(),
                question,
            });
            return Ok(Stage::AwaitAnswer(Box::new(stage)));
        }
        let step = token::password(*claim, self, around, body)?;
        self.token_step(around, step)
    }

    pub(super) fn oauth_initial(
        &mut self,
        around: &mut dyn Surroundings,
        stage: Box<OauthInitial>,
        assembler: &mut Assembler,
        input: &mut &[u8],
    ) -> Result<Stage, Denial> {
        let Some(body) = take_password_message(assembler, input, token::MAX_MESSAGE)? else {
            return Ok(Stage::ExpectOauthInitial(stage));
        };
        self.hear_proof(around, &stage.claim)?;
        match stage.answer(self, around, body)? {
            OauthStep::Initial(stage) => Ok(Stage::ExpectOauthInitial(Box::new(stage))),
            OauthStep::Token(step) => self.token_step(around, step),
        }
    }

    pub(super) fn oauth_dummy(
        &mut self,
        around: &mut dyn Surroundings,
        stage: Box<OauthDummy>,
        assembler: &mut Assembler,
        input: &mut &[u8],
    ) -> Result<Stage, Denial> {
        let (outcome, denial) = match take_password_message(assembler, input, MAX_SASL_MESSAGE) {
            Ok(None) => return Ok(Stage::ExpectOauthDummy(stage)),
            Ok(Some(body)) => stage.answered(body),
            Err(denial) => stage.ended_by(denial),
        };
        self.deny_as(around, outcome, &denial);
        Ok(Stage::Finished)
    }

    pub(super) fn token_step(&mut self, around: &mut dyn Surroundings, step: TokenStep) -> Result<Stage, Denial> {
        match step {
            TokenStep::Shown(claim, shown) => {
                self.draft.proof_given(around.now());
                let challenge = token::challenge(&claim);
                // What is wrong with what the token says is answered as any token that is not good.
                match (self.enter(around, claim, shown), challenge) {
                    (Err(denial), Some(challenge)) if denial.is_about_the_token() => {
                        let outcome = Outcome::Denied;
                        Ok(self.refuse(around, Refusal::Challenge(challenge, OauthDummy { outcome, denial })))
                    }
                    (next, _) => next,
                }
            }
            TokenStep::NeedKeys(stage, provider) => {
                self.orders.push_back(Order::FetchKeys { provider });
                Ok(Stage::AwaitKeys(Box::new(stage)))
            }
            TokenStep::Failed(failed) => Ok(self.failed(around, failed)),
        }
    }

    /// The client has left before its webhook answered: a no is a failed proof all the same, and nobody is let in.
    pub(super) fn answered_too_late(&mut self, around: &mut dyn Surroundings, stage: AwaitAnswer, answer: Answer) {
        match stage.answered(self, &around.in_force(), answer) {
            Err(denial) if denial.is_failed_proof() => {
                self.count_failure(around);
                self.abandon_as(around, Outcome::Denied, denial.reason);
            }
            Err(_) | Ok(_) => self.abandon(around, Reason::ClientClosed),
        }
    }

    fn failed(&mut self, around: &mut dyn Surroundings, failed: Failed) -> Stage {
        let Failed {
            outcome,
            denial,
            challenge,
        } = failed;
        let refusal = match challenge {
            Some(json) => Refusal::Challenge(json, OauthDummy { outcome, denial }),
            None => Refusal::Error(outcome, denial),
        };
        // A client that only asks where to get a token has shown nothing that time could tell of.
        match outcome {
            Outcome::Discovery => self.tell(around, refusal),
            _ => self.refuse(around, refusal),
        }
    }

    /// The proof is good: decide, count, record, and start on the server's side.
    pub(super) fn enter(&mut self, around: &mut dyn Surroundings, claim: Claim, shown: Shown) -> Result<Stage, Denial> {
        let entry = claim.decide(self, around, shown)?;
        self.deadline = entry.deadline();
        Ok(Stage::Entering(Box::new(entry)))
    }

    /// From what the client has said just now, and will say, to a refusal so many milliseconds pass at least.
    pub(in crate::session) fn set_answer_floor(&mut self, now: Mono, millis: u32) {
        self.answer_floor = millis;
        self.answer_at = now.after_millis(u64::from(millis));
    }

    /// A message of the client's proof is complete. The floor counts from here: whoever could wait it out before the last
    /// message would see how long the gate thinks about that. And those who asked to be let in before too many proofs from
    /// there had failed are not heard behind it.
    fn hear_proof(&mut self, around: &dyn Surroundings, claim: &Claim) -> Result<(), Denial> {
        let at = around.now().after_millis(u64::from(self.answer_floor));
        self.answer_at = self.answer_at.max(at);
        claim.check_source(self, around)
    }
}

fn take_password_message<'a, 'b: 'a>(
    assembler: &'a mut Assembler,
    input: &mut &'b [u8],
    longest: u32,
) -> Result<Option<&'a [u8]>, Denial> {
    let most = |tag| (tag == frontend::PASSWORD).then_some(longest);
    let all: &'b [u8] = input;
    match assembler.take_message(all, most) {
        Ok(taken) => {
            *input = all.get(taken.consumed..).unwrap_or_default();
            Ok(taken.message.map(|message| message.body))
        }
        Err(WireError::UnexpectedMessage { tag }) => Err(Denial::protocol(format!(
            "expected SASL response, got message type {tag}"
        ))),
        Err(error) => Err(Denial::protocol(format!("invalid message format: {error}"))),
    }
}
