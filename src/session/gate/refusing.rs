//! A refusal: when it is told, how, and what the record says of it.

use super::{Gate, Stage};
use crate::audit::{Outcome, PeerText, Reason};
use crate::session::denial::Denial;
use crate::session::order::Order;
use crate::session::surroundings::Surroundings;
use crate::session::token::OauthDummy;
use crate::wire::authentication;
use crate::wire::sqlstate::SqlState;

/// What is told once it is time.
pub(super) enum Refusal {
    Error(Outcome, Denial),
    /// The JSON of a failed OAUTHBEARER first, and the error behind the client's answer to it.
    Challenge(Vec<u8>, OauthDummy),
}

impl Gate {
    /// Tells the refusal, or waits until it is time.
    pub(super) fn refuse(&mut self, around: &mut dyn Surroundings, refusal: Refusal) -> Stage {
        if refusal.denial().is_failed_proof() {
            self.count_failure(around);
        }
        if around.now() < self.answer_at {
            self.deadline = self.answer_at;
            return Stage::Refusing(Box::new(refusal));
        }
        self.tell(around, refusal)
    }

    /// Counted before it is told: whoever does not wait for the answer has guessed all the same.
    pub(super) fn count_failure(&mut self, around: &mut dyn Surroundings) {
        let source = self.entrance.source();
        let user = self.draft.fill().asked.user.as_ref();
        if let Some(Ok(user)) = user.map(PeerText::as_text) {
            let delay = around.failed(source, user);
            self.answer_at = self.answer_at.max(around.now().after_millis(delay));
        }
    }

    pub(super) fn refuse_now(&mut self, around: &dyn Surroundings, refusal: Refusal) {
        self.stage = self.tell(around, refusal);
    }

    pub(super) fn tell(&mut self, around: &dyn Surroundings, refusal: Refusal) -> Stage {
        match refusal {
            Refusal::Error(outcome, denial) => {
                self.deny_as(around, outcome, &denial);
                Stage::Finished
            }
            Refusal::Challenge(json, dummy) => {
                authentication::encode_sasl_continue(&mut self.to_client, &json);
                self.deadline = around.now().after_millis(self.entrance.authentication_timeout);
                Stage::ExpectOauthDummy(Box::new(dummy))
            }
        }
    }

    pub(super) fn deny(&mut self, around: &dyn Surroundings, denial: &Denial) {
        self.deny_as(around, Outcome::Denied, denial);
    }

    pub(in crate::session) fn deny_as(&mut self, around: &dyn Surroundings, outcome: Outcome, denial: &Denial) {
        denial.encode(&mut self.to_client);
        self.record(around, outcome, denial.reason, Some(denial.sqlstate));
        self.orders.push_back(Order::Close);
    }

    pub(super) fn abandon(&mut self, around: &dyn Surroundings, reason: Reason) {
        self.abandon_as(around, Outcome::Abandoned, reason);
    }

    pub(super) fn abandon_as(&mut self, around: &dyn Surroundings, outcome: Outcome, reason: Reason) {
        self.record(around, outcome, reason, None);
        self.orders.push_back(Order::Close);
        self.stage = Stage::Finished;
    }

    pub(super) fn finish_cancel(&mut self, around: &dyn Surroundings, reason: Reason) {
        self.abandon_as(around, Outcome::Cancel, reason);
    }

    fn record(&mut self, around: &dyn Surroundings, outcome: Outcome, reason: Reason, sqlstate: Option<SqlState>) {
        let attempt = self.draft.finish(around.utc(), around.now(), outcome, reason, sqlstate);
        self.orders.push_back(Order::RecordAttempt { attempt, tell: false });
    }
}

impl Refusal {
    pub(super) fn denial(&self) -> &Denial {
        match self {
            Self::Error(_, denial) => denial,
            Self::Challenge(_, dummy) => &dummy.denial,
        }
    }

    pub(super) fn outcome(&self) -> (Outcome, Reason) {
        match self {
            Self::Error(outcome, denial) => (*outcome, denial.reason),
            Self::Challenge(_, dummy) => (dummy.outcome, dummy.denial.reason),
        }
    }

    pub(super) fn into_denial(self) -> (Outcome, Denial) {
        match self {
            Self::Error(outcome, denial) => (outcome, denial),
            Self::Challenge(_, dummy) => (dummy.outcome, dummy.denial),
        }
    }
}
