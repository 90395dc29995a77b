//! From the first byte to the permit: the client's half of the machine. [`entry`](super::entry) has the server's half.
//!
//! Here is what comes in from outside, for every stage, and the way to the StartupMessage; the proof is heard in [`proving`],
//! what is not let in is told by [`refusing`].

mod proving;
mod refusing;

use std::collections::VecDeque;
use std::fmt::Display;

use postern_policy::model::Asked;
use zeroize::Zeroizing;

use crate::audit::{Outcome, Reason, SessionId};
use crate::identity::certificate::fingerprint;
use crate::identity::scram;
use crate::identity::webhook::Answer;
use crate::time::Mono;
use crate::wire::assemble::Assembler;
use crate::wire::parameters::StartupParameters;
use crate::wire::{WireError, backend};

use super::attempt::{ClientTls, Draft, Entrance};
use super::denial::{Denial, Said};
use super::entry::Entry;
use super::negotiation::{Negotiation, Next};
use super::order::Order;
use super::proof::{Claim, Shown};
use super::scram::{self as scram_stage, SaslFinal, SaslInitial};
use super::surroundings::Surroundings;
use super::token::{self, AwaitKeys, OauthDummy, OauthInitial};
use super::webhook::AwaitAnswer;
use refusing::Refusal;

/// A connection that is trying to get in.
pub struct Gate {
    pub(super) entrance: Entrance,
    pub(super) draft: Draft,
    pub(super) tls: Option<Box<ClientTls>>,
    stage: Stage,
    input: Assembler,
    pub(super) to_client: Zeroizing<Vec<u8>>,
    pub(super) to_server: Zeroizing<Vec<u8>>,
    pub(super) orders: VecDeque<Order>,
    deadline: Mono,
    /// Before this moment no refusal is told, so that its time tells nothing of its reason.
    answer_at: Mono,
    /// Milliseconds from what the client says to what it hears of that, at least; the rule's.
    answer_floor: u32,
}

/// What is awaited. A step takes the stage out and puts the next one in; what fails leaves [`Stage::Finished`].
enum Stage {
    /// An encryption request, a cancel or the StartupMessage.
    ExpectInitial(Negotiation),
    /// The core is in a TLS handshake with the client.
    ExpectClientTls(Negotiation, Mono),
    ExpectSaslInitial(Box<SaslInitial>),
    ExpectSaslFinal(Box<SaslFinal>),
    /// AuthenticationCleartextPassword is sent: a token, or a password for a webhook.
    ExpectPassword(Box<Claim>),
    ExpectOauthInitial(Box<OauthInitial>),
    ExpectOauthDummy(Box<OauthDummy>),
    /// A token issuer is asked for its keys.
    AwaitKeys(Box<AwaitKeys>),
    /// A webhook is asked.
    AwaitAnswer(Box<AwaitAnswer>),
    /// Refused, and not told yet.
    Refusing(Box<Refusal>),
    /// Permitted; the server's half is under way.
    Entering(Box<Entry>),
    /// A CancelRequest is on its way.
    Cancelling,
    Finished,
}

impl Gate {
    pub fn new(entrance: Entrance) -> Self {
        let deadline = entrance.accepted.after_millis(entrance.startup_timeout);
        Self {
            draft: Draft::new(&entrance),
            entrance,
            tls: None,
            stage: Stage::ExpectInitial(Negotiation::default()),
            input: Assembler::new(),
            to_client: Zeroizing::default(),
            to_server: Zeroizing::default(),
            orders: VecDeque::new(),
            deadline,
            answer_at: Mono(0),
            answer_floor: 0,
        }
    }

    /// Plaintext bytes of the client. Takes from the front of `input` what the stage reads; once the client has given its
    /// proof it is not read until relay, so what is left over then belongs to the relay.
    pub fn handle_client(&mut self, around: &mut dyn Surroundings, input: &mut &[u8]) {
        while !input.is_empty() && self.reads_client() {
            let stage = std::mem::replace(&mut self.stage, Stage::Finished);
            let mut assembler = std::mem::take(&mut self.input);
            let next = match stage {
                Stage::ExpectInitial(negotiation) => self.initial(around, negotiation, &mut assembler, input),
                Stage::ExpectSaslInitial(stage) => self.sasl_initial(around, stage, &mut assembler, input),
                Stage::ExpectSaslFinal(stage) => self.sasl_final(around, stage, &mut assembler, input),
                Stage::ExpectPassword(claim) => self.password(around, claim, &mut assembler, input),
                Stage::ExpectOauthInitial(stage) => self.oauth_initial(around, stage, &mut assembler, input),
                Stage::ExpectOauthDummy(stage) => self.oauth_dummy(around, stage, &mut assembler, input),
                Stage::ExpectClientTls(..)
                | Stage::AwaitKeys(_)
                | Stage::AwaitAnswer(_)
                | Stage::Refusing(_)
                | Stage::Entering(_)
                | Stage::Cancelling
                | Stage::Finished => Ok(stage),
            };
            self.input = assembler;
            self.go_on(around, next);
        }
    }

    /// The TLS handshake with the client is done.
    pub fn handle_client_tls(&mut self, around: &dyn Surroundings, mut tls: ClientTls) {
        let Stage::ExpectClientTls(mut negotiation, started) = std::mem::replace(&mut self.stage, Stage::Finished)
        else {
            return self.abandon(around, Reason::Internal);
        };
        tls.facts.direct = negotiation.direct;
        self.draft.tls(tls.facts, around.now().micros_since(started));
        self.draft.fill().certificate = tls.chain.first().map(|leaf| fingerprint(leaf));
        if negotiation.direct && !tls.alpn {
            // As PostgreSQL: direct TLS without ALPN could be a cross-protocol attack; nothing is said.
            self.draft.fill().detail = Some("direct TLS without the application protocol `postgresql`".into());
            return self.abandon(around, Reason::TlsHandshakeFailed);
        }
        negotiation.encrypted = true;
        self.tls = Some(Box::new(tls));
        self.stage = Stage::ExpectInitial(negotiation);
    }

    /// The TLS handshake failed; the alert, if any, is the core's to send.
    pub fn handle_client_tls_failed(&mut self, around: &dyn Surroundings, why: &dyn Display) {
        self.draft.fill().detail = Some(why.to_string().into());
        self.abandon_as(around, Outcome::Denied, Reason::TlsHandshakeFailed);
    }

    /// The client closed its side, or its socket failed.
    pub fn handle_client_closed(&mut self, around: &mut dyn Surroundings) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::ExpectInitial(negotiation) if !negotiation.heard && self.input.is_empty() => {
                self.abandon(around, Reason::Probe);
            }
            Stage::ExpectInitial(_)
            | Stage::ExpectClientTls(..)
            | Stage::ExpectSaslInitial(_)
            | Stage::ExpectSaslFinal(_)
            | Stage::ExpectPassword(_)
            | Stage::ExpectOauthInitial(_)
            | Stage::AwaitKeys(_) => self.abandon(around, Reason::ClientClosed),
            // Whoever does not wait for the answer has guessed all the same.
            Stage::AwaitAnswer(stage) => self.stage = Stage::AwaitAnswer(stage.left_by_client()),
            // It does not wait for what it would hear; the record has it all the same.
            Stage::ExpectOauthDummy(dummy) => self.abandon_as(around, dummy.outcome, dummy.denial.reason),
            Stage::Refusing(refusal) => {
                let (outcome, reason) = refusal.outcome();
                self.abandon_as(around, outcome, reason);
            }
            Stage::Entering(entry) => self.entering(around, entry, Entry::abandoned),
            Stage::Cancelling => self.stage = Stage::Cancelling,
            Stage::Finished => {}
        }
    }

    /// Checks the deadline of the stage.
    pub fn handle_timeout(&mut self, around: &mut dyn Surroundings) {
        if around.now() < self.deadline {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            // Before the StartupMessage is complete PostgreSQL says nothing either.
            Stage::ExpectInitial(_) | Stage::ExpectClientTls(..) => self.abandon(around, Reason::StartupTimeout),
            Stage::ExpectSaslInitial(_)
            | Stage::ExpectSaslFinal(_)
            | Stage::ExpectPassword(_)
            | Stage::ExpectOauthInitial(_) => {
                let denial = Denial::of(Reason::AuthenticationTimeout, Said::default());
                self.deny_as(around, Outcome::Abandoned, &denial);
            }
            Stage::ExpectOauthDummy(dummy) => {
                let (outcome, denial) = dummy.ended_by(Denial::of(Reason::AuthenticationTimeout, Said::default()));
                self.deny_as(around, outcome, &denial);
            }
            Stage::AwaitKeys(stage) => self.deny(around, &stage.timed_out()),
            Stage::AwaitAnswer(stage) if stage.is_left() => self.abandon(around, Reason::ClientClosed),
            Stage::AwaitAnswer(stage) => self.deny(around, &stage.timed_out()),
            Stage::Refusing(refusal) => self.refuse_now(around, *refusal),
            Stage::Entering(entry) => self.entering(around, entry, Entry::time_out),
            Stage::Cancelling => self.finish_cancel(around, Reason::CancelFailed),
            Stage::Finished => {}
        }
    }

    /// The gate stops and waits for nobody any more.
    pub fn handle_stop(&mut self, around: &mut dyn Surroundings) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            // As when time runs out: before the StartupMessage is complete nothing is said.
            Stage::ExpectInitial(_) | Stage::ExpectClientTls(..) => self.abandon(around, Reason::Draining),
            Stage::ExpectSaslInitial(_)
            | Stage::ExpectSaslFinal(_)
            | Stage::ExpectPassword(_)
            | Stage::ExpectOauthInitial(_)
            | Stage::AwaitKeys(_) => {
                self.deny(around, &Denial::of(Reason::Draining, Said::default()));
            }
            Stage::AwaitAnswer(stage) if stage.is_left() => self.abandon(around, Reason::ClientClosed),
            Stage::AwaitAnswer(_) => self.deny(around, &Denial::of(Reason::Draining, Said::default())),
            Stage::ExpectOauthDummy(dummy) => {
                let (outcome, denial) = dummy.ended_by(Denial::of(Reason::Draining, Said::default()));
                self.deny_as(around, outcome, &denial);
            }
            Stage::Refusing(refusal) => {
                let (outcome, denial) = refusal.into_denial();
                self.deny_as(around, outcome, &denial);
            }
            Stage::Entering(entry) => self.entering(around, entry, Entry::stopped),
            Stage::Cancelling => self.finish_cancel(around, Reason::CancelFailed),
            Stage::Finished => {}
        }
    }

    /// The cancel that [`Order::Cancel`] asked for has been carried out, or could not be; `target` is whom it meant.
    pub fn handle_cancel_done(&mut self, around: &dyn Surroundings, reason: Reason, target: Option<SessionId>) {
        if matches!(self.stage, Stage::Cancelling) {
            self.draft.fill().target = target;
            self.finish_cancel(around, reason);
        }
    }

    /// The keys that [`Order::FetchKeys`] asked for are as new as they will be for now; `asked`: the issuer was asked for them
    /// and has answered.
    pub fn handle_keys_fetched(&mut self, around: &mut dyn Surroundings, asked: bool) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::AwaitKeys(stage) => {
                let step = stage.fetched(self, around, asked);
                let next = self.token_step(around, step);
                self.go_on(around, next);
            }
            other => self.stage = other,
        }
    }

    /// What the webhook that [`Order::AskWebhook`] asked has answered.
    pub fn handle_answer(&mut self, around: &mut dyn Surroundings, answer: Answer) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::AwaitAnswer(stage) if stage.is_left() => self.answered_too_late(around, *stage, answer),
            Stage::AwaitAnswer(stage) => {
                let answered = stage.answered(self, &around.in_force(), answer);
                self.draft.proof_given(around.now());
                let next = answered.and_then(|(claim, shown)| self.enter(around, claim, shown));
                self.go_on(around, next);
            }
            other => self.stage = other,
        }
    }

    /// The candidate is connected.
    pub fn handle_connected(&mut self, around: &mut dyn Surroundings, server: crate::audit::Server) {
        self.with_entry(around, |entry, gate, around| entry.connected(gate, around, server));
    }

    /// The candidate could not be reached, or its connection broke off.
    pub fn handle_unreachable(&mut self, around: &mut dyn Surroundings, why: &dyn Display) {
        self.with_entry(around, |entry, gate, around| entry.unreachable(gate, around, why));
    }

    /// The gate has no descriptor or memory for a connection to the candidate.
    pub fn handle_exhausted(&mut self, around: &mut dyn Surroundings, why: &dyn Display) {
        self.with_entry(around, |entry, gate, around| entry.exhausted(gate, around, why));
    }

    /// The TLS handshake with the server is done; `end_point` is of the certificate it sent.
    pub fn handle_server_tls(
        &mut self,
        around: &mut dyn Surroundings,
        end_point: Option<Box<[u8]>>,
        certificate_sent: bool,
    ) {
        self.with_entry(around, |entry, gate, around| {
            entry.encrypted(gate, around, end_point, certificate_sent)
        });
    }

    /// The TLS handshake with the server failed.
    pub fn handle_server_tls_failed(&mut self, around: &mut dyn Surroundings, why: &dyn Display) {
        self.with_entry(around, |entry, gate, around| entry.encryption_failed(gate, around, why));
    }

    /// Plaintext bytes of the server. What is left over belongs to the relay.
    pub fn handle_server(&mut self, around: &mut dyn Surroundings, input: &mut &[u8]) {
        self.with_entry(around, |entry, gate, around| entry.input(gate, around, input));
    }

    /// The keys that [`Order::DeriveKeys`] asked for.
    pub fn handle_keys(&mut self, around: &mut dyn Surroundings, keys: Option<&scram::Keys>) {
        self.with_entry(around, |entry, gate, around| entry.keys(gate, around, keys));
    }

    /// What [`Order::ReadCredential`] asked for is done; `changed`: the secret is another one now.
    pub fn handle_credential_read(&mut self, around: &mut dyn Surroundings, changed: bool) {
        self.with_entry(around, |entry, gate, around| {
            entry.credential_read(gate, around, changed)
        });
    }

    /// The attempt's record is written, or could not be.
    pub fn handle_recorded(&mut self, around: &mut dyn Surroundings, written: bool) {
        self.with_entry(around, |entry, gate, around| entry.recorded(gate, around, written));
    }

    /// The policy in force has changed, or a validity has run out.
    pub fn handle_policy_changed(&mut self, around: &mut dyn Surroundings) {
        self.with_entry(around, Entry::policy_changed);
    }

    /// Bytes for the client, in order, since the last call. May hold secrets: zeroed when dropped.
    pub fn take_to_client(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.to_client)
    }

    /// As [`Self::take_to_client`], for the server.
    pub fn take_to_server(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.to_server)
    }

    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn deadline(&self) -> Mono {
        self.deadline
    }

    /// Whether the client's bytes are read at this stage.
    pub fn reads_client(&self) -> bool {
        matches!(
            self.stage,
            Stage::ExpectInitial(_)
                | Stage::ExpectSaslInitial(_)
                | Stage::ExpectSaslFinal(_)
                | Stage::ExpectPassword(_)
                | Stage::ExpectOauthInitial(_)
                | Stage::ExpectOauthDummy(_)
        )
    }

    fn initial(
        &mut self,
        around: &mut dyn Surroundings,
        mut negotiation: Negotiation,
        assembler: &mut Assembler,
        input: &mut &[u8],
    ) -> Result<Stage, Denial> {
        if assembler.is_empty() && negotiation.is_direct_tls(input) {
            return self.direct_tls(around, negotiation);
        }
        negotiation.heard = true;
        let taken = assembler.take_initial(input).map_err(|error| invalid_length(&error))?;
        *input = input.get(taken.consumed..).unwrap_or_default();
        let Some(message) = taken.message else {
            return Ok(Stage::ExpectInitial(negotiation));
        };
        match negotiation.step(message, self.entrance.tls, !input.is_empty())? {
            Next::Answer(byte) => {
                self.to_client.push(byte);
                Ok(Stage::ExpectInitial(negotiation))
            }
            Next::StartTls => {
                self.to_client.push(b'S');
                Ok(self.start_tls(around, negotiation))
            }
            Next::Cancel { process_id, key } => {
                self.orders.push_back(Order::Cancel {
                    process_id,
                    key: key.to_vec(),
                });
                Ok(Stage::Cancelling)
            }
            Next::Startup(message) => self.startup(around, message),
            Next::InClear(message) => {
                if let Ok(parameters) = StartupParameters::decode(&message) {
                    self.draft.asked(&parameters);
                }
                Err(Denial::of(Reason::TlsRequired, Said::default()))
            }
        }
    }

    fn direct_tls(&mut self, around: &dyn Surroundings, mut negotiation: Negotiation) -> Result<Stage, Denial> {
        if self.entrance.tls == super::TlsMode::Off {
            return Err(Denial::of(Reason::UnsupportedProtocol, Said::default()));
        }
        negotiation.heard = true;
        negotiation.direct = true;
        Ok(self.start_tls(around, negotiation))
    }

    fn start_tls(&mut self, around: &dyn Surroundings, negotiation: Negotiation) -> Stage {
        let ask_certificate = around.in_force().snapshot.uses_certificates(&self.entrance.listener);
        self.orders.push_back(Order::StartClientTls { ask_certificate });
        Stage::ExpectClientTls(negotiation, around.now())
    }

    fn startup(
        &mut self,
        around: &mut dyn Surroundings,
        message: crate::wire::initial::StartupMessage<'_>,
    ) -> Result<Stage, Denial> {
        if message.must_negotiate() {
            backend::encode_negotiate_protocol_version(
                &mut self.to_client,
                message.version.spoken(),
                message.protocol_options(),
            );
        }
        if let Some(reason) = self.entrance.refusing {
            return Err(Denial::of(reason, Said::default()));
        }
        let claim = Claim::new(self, around, &message)?;
        self.deadline = around.now().after_millis(self.entrance.authentication_timeout);
        self.draft.proof_asked(around.now());
        Ok(match claim.asks() {
            Asked::Nothing => return self.enter(around, claim, Shown::Nothing),
            Asked::Scram => Stage::ExpectSaslInitial(Box::new(scram_stage::ask(claim, self))),
            Asked::OauthBearer => Stage::ExpectOauthInitial(Box::new(token::ask_for_oauth(claim, self))),
            Asked::TokenAsPassword | Asked::PasswordForWebhook => {
                token::ask_for_password(self);
                Stage::ExpectPassword(Box::new(claim))
            }
        })
    }

    fn with_entry(
        &mut self,
        around: &mut dyn Surroundings,
        step: impl FnOnce(Entry, &mut Self, &mut dyn Surroundings) -> Option<Entry>,
    ) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Entering(entry) => self.entering(around, entry, step),
            other => self.stage = other,
        }
    }

    /// One step of the server's half: it goes on with the entry that comes back, and is over when none does.
    fn entering(
        &mut self,
        around: &mut dyn Surroundings,
        entry: Box<Entry>,
        step: impl FnOnce(Entry, &mut Self, &mut dyn Surroundings) -> Option<Entry>,
    ) {
        if let Some(entry) = step(*entry, self, around) {
            self.deadline = entry.deadline();
            self.stage = Stage::Entering(Box::new(entry));
        }
    }

    pub(super) fn said_host(&self) -> String {
        self.entrance.host()
    }

    fn go_on(&mut self, around: &mut dyn Surroundings, next: Result<Stage, Denial>) {
        self.stage = match next {
            Ok(next) => next,
            Err(denial) => self.refuse(around, Refusal::Error(Outcome::Denied, denial)),
        };
    }
}

fn invalid_length(error: &WireError) -> Denial {
    let mut denial = Denial::protocol(format!("invalid length of startup packet: {error}"));
    denial.reason = Reason::StartupMalformed;
    denial
}
