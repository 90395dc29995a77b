//! One webhook: its questions wait for a turn, are asked once however many ask the same, and their answers are kept.
//!
//! No answer is a no. Nothing here retries: the client does, by trying to log in again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Told;
use super::client::{Call, Client};
use super::fault::{Fault, in_brief};
use super::figures::Figures;
use super::kept::Kept;
use super::plan::WebhookPlan;
use super::refresh::later;
use super::shared::Shared;
use crate::audit::Ticket;
use crate::control::clock::utc_now;
use crate::identity::webhook::{self, Answer, Asserted, Verdict};
use crate::identity::webhook::{Question, QuestionName};

/// Bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;
/// Answers kept for one webhook.
const MAX_KEPT: usize = 10_000;
/// Bytes of memory for them, about.
const MAX_KEPT_WEIGHT: usize = 16 * 1024 * 1024;
/// Questions that may wait for each one that may be under way.
const WAITING_PER_TURN: usize = 4;

/// Lives on the control thread's runtime.
pub struct Hook {
    pub plan: WebhookPlan,
    pub figures: Arc<Figures>,
    client: Client,
    shared: Rc<Shared>,
    /// Names questions; made for this webhook, never written anywhere.
    key: hmac::Key,
    kept: RefCell<Kept>,
    /// Who waits for which answer.
    waiting: RefCell<HashMap<QuestionName, Vec<Ticket>>>,
    turns: Semaphore,
    gone: Cell<bool>,
}

#[derive(Debug, thiserror::Error)]
enum HookFault {
    #[error("no turn within {0} ms: all {1} places are taken")]
    NoTurn(u128, usize),
    #[error("the policy does not ask there any more")]
    Gone,
    #[error(transparent)]
    Request(#[from] Fault),
    #[error(transparent)]
    Answer(#[from] webhook::AnswerFault),
    #[error("the authorization cannot stand in a header")]
    Authorization,
}

impl Hook {
    /// `key`: bytes that nobody else has.
    pub fn new(plan: WebhookPlan, figures: Arc<Figures>, shared: Rc<Shared>, key: &[u8]) -> Self {
        Self {
            client: Client::new(plan.tls.config.clone(), shared.addresses.clone()),
            turns: Semaphore::new(plan.concurrency.min(Semaphore::MAX_PERMITS)),
            plan,
            figures,
            shared,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            kept: RefCell::new(Kept::new(MAX_KEPT, MAX_KEPT_WEIGHT)),
            waiting: RefCell::default(),
            gone: Cell::new(false),
        }
    }

    /// The policy does not ask here any more. Questions that are asked already still get their answers.
    pub fn end(&self) {
        self.gone.set(true);
    }

    /// Answers at once, joins those who wait for the same answer, or asks.
    pub fn ask(self: &Rc<Self>, question: &Question, ticket: Ticket) {
        self.figures.asked.one();
        let name = question.name(&self.key);
        if let Some(answer) = self.find_kept(&name) {
            self.tell(ticket, answer);
            return;
        }
        if let Some(others) = self.waiting.borrow_mut().get_mut(&name) {
            others.push(ticket);
            return;
        }
        if self.waiting.borrow().len() >= self.plan.concurrency.saturating_mul(1 + WAITING_PER_TURN) {
            let why = "too many questions wait";
            self.figures.note(why);
            self.tell(ticket, Answer::Unavailable { why: why.into() });
            return;
        }
        // A password that cannot be sent is one that the webhook cannot have let in.
        let body = match question.body() {
            Ok(body) => body,
            Err(fault) => {
                let reason = fault.to_string().into();
                self.tell(ticket, Answer::Denied { reason });
                return;
            }
        };
        self.waiting.borrow_mut().insert(name, vec![ticket]);
        self.figures.in_flight.one();
        monoio::spawn(self.clone().find_out(name, body));
    }

    async fn find_out(self: Rc<Self>, name: QuestionName, body: Zeroizing<Vec<u8>>) {
        let answer = match self.verdict(body).await {
            Ok(verdict) => self.answer_of(name, verdict),
            Err(fault) => self.failed(&in_brief(&fault)),
        };
        self.figures.in_flight.one_less();
        let waiting = self.waiting.borrow_mut().remove(&name).unwrap_or_default();
        for ticket in waiting {
            self.tell(ticket, answer.clone());
        }
    }

    async fn verdict(&self, body: Zeroizing<Vec<u8>>) -> Result<Verdict, HookFault> {
        let until = Instant::now() + self.plan.deadline;
        let turn = monoio::time::timeout(self.plan.deadline, self.turns.acquire()).await;
        let left = until.saturating_duration_since(Instant::now());
        // A turn that comes as the time runs out is none: nobody answers within less than a millisecond.
        let (Ok(Ok(_turn)), 1..) = (turn, left.as_millis()) else {
            return Err(HookFault::NoTurn(self.plan.deadline.as_millis(), self.plan.concurrency));
        };
        if self.gone.get() {
            return Err(HookFault::Gone);
        }
        let call = Call {
            target: &self.plan.target,
            headers: self.headers()?,
            // Zeroed when hyper lets go of it.
            body: Some(Bytes::from_owner(body)),
            cap: MAX_ANSWER,
        };
        self.figures.fetches.one();
        let reply = self.client.send(&call, left).await?;
        if reply.status != StatusCode::OK {
            return Err(Fault::Status(reply.status.as_u16()).into());
        }
        let verdict = webhook::read(&reply.body)?;
        if self.figures.succeeded() {
            tracing::info!(provider = &*self.figures.name, "the webhook answers again");
        }
        Ok(verdict)
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, HookFault> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        if let Some(authorization) = &self.plan.authorization {
            let bytes = Bytes::from_owner(Zeroizing::new(authorization.expose().to_vec()));
            let mut value = HeaderValue::from_maybe_shared(bytes).map_err(|_| HookFault::Authorization)?;
            value.set_sensitive(true);
            headers.push((AUTHORIZATION, value));
        }
        Ok(headers)
    }

    /// Gives the verdict its times, and keeps it where the webhook says for how long: a yes that states no time is for the
    /// attempts that asked, and whoever was just given access should not wait for the end of a no.
    fn answer_of(&self, name: QuestionName, verdict: Verdict) -> Answer {
        let most = self.plan.cache_max_age;
        match verdict {
            Verdict::Allow {
                subject,
                groups,
                attributes,
                ttl,
            } => {
                let time = ttl.unwrap_or_default().min(most);
                let answer = Answer::Allowed(Arc::new(Asserted {
                    subject,
                    groups,
                    attributes,
                    until: later(utc_now(), time),
                }));
                self.keep(name, &answer, time);
                answer
            }
            Verdict::Deny { reason, ttl } => {
                let answer = Answer::Denied { reason };
                self.keep(name, &answer, ttl.unwrap_or_default().min(most));
                answer
            }
        }
    }

    fn keep(&self, name: QuestionName, answer: &Answer, time: Duration) {
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut kept = self.kept.borrow_mut();
        kept.keep(name, answer.clone(), now + time, now);
        self.figures.cached.set(kept.len() as u64);
    }

    fn find_kept(&self, name: &QuestionName) -> Option<Answer> {
        let mut kept = self.kept.borrow_mut();
        let found = kept.find(name, Instant::now());
        self.figures.cached.set(kept.len() as u64);
        found
    }

    /// Once in the log however many attempts suffer from it; the figures count each.
    fn failed(&self, why: &str) -> Answer {
        if self.figures.failed(why) {
            tracing::warn!(
                provider = &*self.figures.name,
                why,
                "the webhook gives no answer; its attempts are denied"
            );
        }
        Answer::Unavailable { why: why.into() }
    }

    fn tell(&self, ticket: Ticket, answer: Answer) {
        match answer {
            Answer::Allowed(_) => {}
            Answer::Denied { .. } => self.figures.denied.one(),
            Answer::Unavailable { .. } => self.figures.unavailable.one(),
        }
        (self.shared.tell)(ticket, Told::Webhook(answer));
    }
}
