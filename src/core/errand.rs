//! Cancels: finding the session that a request means, and carrying the request to its server.
//!
//! A request is never answered; the requester's socket closes once the server's side is done, as PostgreSQL's does.

use std::sync::Arc;

use crate::audit::{Reason, SessionId};
use crate::inbox::Message;
use crate::metrics::CancelResult;
use crate::ring::{Errno, Segment, socket};
use crate::time::Mono;
use crate::tls::Handshake;
use crate::upstream::cancel::UpstreamCancelKey;
use crate::upstream::encryption::{self, Answer};

use super::connection::{Connection, Destination, Phase};
use super::line::{Side, TlsLine};
use super::reference::SessionReference;
use super::run::Core;

/// From an errand's begin to the server's close, and from a client's request to the begin, milliseconds.
const ERRAND: u64 = 5_000;

/// How long a cancel for a session that was ended by force may wait for its turn, milliseconds: thousands of them may go to one
/// server.
const PATIENCE: u64 = 60_000;

const ERRANDS_PER_TURN: u32 = 64;

/// Cancel requests per second and core that are looked at; guessing keys is slow then, and a storm stays small.
const CANCELS_PER_SECOND: u32 = 1_000;

/// One CancelRequest on its way to a server.
pub struct Errand {
    key: UpstreamCancelKey,
    destination: Arc<Destination>,
    /// The session that the request means.
    target: SessionId,
    step: Step,
    /// The connection that asked, to be told what came of it; none when the gate itself wants the query ended.
    requester: Option<SessionReference>,
    /// Until the errand begins, when it is too late for that; then when it has failed.
    pub deadline: Mono,
}

enum Step {
    Connecting,
    ExpectEncryption,
    ExpectTls(Box<Handshake>),
    /// The request is sent; the server closes when it has been dealt with.
    Sent,
}

/// A bucket of one second.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: u64,
    used: u32,
}

impl Budget {
    fn take(&mut self, now: Mono) -> bool {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            *self = Self { second, used: 0 };
        }
        self.used += 1;
        self.used <= CANCELS_PER_SECOND
    }
}

impl Core {
    /// A client's CancelRequest.
    pub(super) fn cancel_request(&mut self, index: u32, process_id: u32, key: &[u8]) {
        let Some(requester) = self.table.get(index).map(|connection| connection.reference) else {
            return;
        };
        if !self.cancel_budget.take(self.now) {
            return self.cancel_done(requester, Reason::CancelRateLimited, None);
        }
        match self.shared.cancels.find(process_id, key) {
            None => self.cancel_done(requester, Reason::CancelNoMatch, None),
            Some(target) if target.core == self.id => self.cancel_session(target, Some(requester)),
            Some(target) => {
                let inbox = self.shared.inboxes.get(usize::from(target.core)).cloned();
                let sent = inbox.map(|inbox| inbox.send(Message::Cancel { target, requester }));
                if !matches!(sent, Some(Ok(()))) {
                    self.cancel_done(requester, Reason::CancelFailed, None);
                }
            }
        }
    }

    /// Cancels what a session of this core is running.
    pub(super) fn cancel_session(&mut self, target: SessionReference, requester: Option<SessionReference>) {
        let found = self.table.find(target.index, target.generation).and_then(|connection| {
            let destination = connection.destination.clone()?;
            match &connection.phase {
                Phase::Relay(passage) => Some((passage.cancel_key.clone()?, destination, passage.standing.session)),
                Phase::Login(_) | Phase::Errand(_) | Phase::Closing { .. } => None,
            }
        });
        match found {
            Some((key, destination, target)) => {
                let errand = Errand {
                    key,
                    target,
                    step: Step::Connecting,
                    requester,
                    deadline: self
                        .now
                        .after_millis(if requester.is_some() { ERRAND } else { PATIENCE }),
                    destination,
                };
                self.errands.enter(errand.destination.server.clone(), Box::new(errand));
            }
            None => self.tell_requester(requester, Reason::CancelNoMatch, None),
        }
    }

    /// The gate ends a session by force: what it is running ends too.
    pub(super) fn cancel_for(&mut self, index: u32) {
        if let Some(target) = self.table.get(index).map(|connection| connection.reference) {
            self.cancel_session(target, None);
        }
    }

    /// Begins errands whose turn has come; a few in one turn of the ring, since each makes a socket.
    pub(super) fn begin_errands(&mut self) {
        for _ in 0..ERRANDS_PER_TURN {
            match self.errands.next() {
                Some(errand) => self.begin_errand(errand),
                None => return,
            }
        }
    }

    fn begin_errand(&mut self, mut errand: Box<Errand>) {
        let (core, destination) = (self.id, errand.destination.clone());
        let (requester, target) = (errand.requester, errand.target);
        let too_late = errand.deadline <= self.now;
        errand.deadline = self.now.after_millis(ERRAND);
        let deadline = errand.deadline;
        let begin = |index, generation| {
            let reference = SessionReference {
                core,
                index,
                generation,
            };
            Connection {
                is_errand: true,
                destination: Some(destination.clone()),
                ..Connection::new(reference, Phase::Errand(errand))
            }
        };
        let Some(index) = (!too_late).then(|| self.table.insert(begin)).flatten() else {
            self.errands.leave(&destination.server);
            return self.tell_requester(requester, Reason::CancelFailed, Some(target));
        };
        match socket::connecting(&destination.address).and_then(|fd| self.open_line(index, Side::Server, fd)) {
            Ok(()) => {
                self.start_connecting(index, &destination.address);
                self.wake(index, deadline);
            }
            Err(_) => self.errand_failed(index),
        }
    }

    fn errand(&mut self, index: u32) -> Option<&mut Errand> {
        match &mut self.table.get(index)?.phase {
            Phase::Errand(errand) => Some(errand),
            Phase::Login(_) | Phase::Relay(_) | Phase::Closing { .. } => None,
        }
    }

    pub(super) fn errand_connected(&mut self, index: u32, connected: Result<(), Errno>) {
        let Some(errand) = self.errand(index) else { return };
        if connected.is_err() {
            return self.errand_failed(index);
        }
        let encrypted = errand.destination.tls.is_some();
        self.resume_receive(index, Side::Server);
        if !encrypted {
            return self.send_cancel(index);
        }
        let mut request = Vec::new();
        encryption::request(&mut request);
        if let Some(errand) = self.errand(index) {
            errand.step = Step::ExpectEncryption;
        }
        self.send_raw(index, Side::Server, &request);
    }

    pub(super) fn errand_input(&mut self, index: u32, segment: Segment) {
        let Some(errand) = self.errand(index) else { return };
        match &mut errand.step {
            Step::ExpectEncryption => match encryption::answer(segment.bytes()) {
                Ok(Answer::Awaited) => {}
                Ok(Answer::Accepted) => self.start_errand_tls(index),
                Err(_) => self.errand_failed(index),
            },
            Step::ExpectTls(handshake) => {
                let mut out = Vec::new();
                let progress = handshake.handle(segment.bytes(), &mut out);
                self.send_raw(index, Side::Server, &out);
                match progress.map(|progress| progress.established) {
                    Ok(None) => {}
                    Ok(Some(established)) => {
                        if let Some(connection) = self.table.get(index) {
                            connection.server.tls = Some(TlsLine::new(established.link));
                        }
                        self.send_cancel(index);
                    }
                    Err(_) => self.errand_failed(index),
                }
            }
            // A server says nothing to a cancel but, under TLS, what its TLS says.
            Step::Connecting | Step::Sent => {}
        }
    }

    fn start_errand_tls(&mut self, index: u32) {
        let Some(errand) = self.errand(index) else { return };
        let mut hello = Vec::new();
        let destination = errand.destination.clone();
        match destination
            .tls
            .as_ref()
            .map(|tls| Handshake::client(tls, &destination.host, &mut hello))
        {
            Some(Ok(handshake)) => {
                errand.step = Step::ExpectTls(Box::new(handshake));
                self.send_raw(index, Side::Server, &hello);
            }
            Some(Err(_)) | None => self.errand_failed(index),
        }
    }

    fn send_cancel(&mut self, index: u32) {
        let Some(errand) = self.errand(index) else { return };
        errand.step = Step::Sent;
        let mut request = zeroize::Zeroizing::new(Vec::new());
        errand.key.encode_request(&mut request);
        self.send_own(index, Side::Server, &request);
    }

    /// The server has closed: it has dealt with the request, if it got one.
    pub(super) fn errand_ended(&mut self, index: u32) {
        let Some(errand) = self.errand(index) else { return };
        match errand.step {
            Step::Sent => self.errand_over(index, Reason::Ok),
            Step::Connecting | Step::ExpectEncryption | Step::ExpectTls(_) => self.errand_failed(index),
        }
    }

    pub(super) fn errand_failed(&mut self, index: u32) {
        self.errand_over(index, Reason::CancelFailed);
    }

    fn errand_over(&mut self, index: u32, reason: Reason) {
        let (requester, target) = self
            .errand(index)
            .map_or((None, None), |errand| (errand.requester.take(), Some(errand.target)));
        self.finish(index);
        self.tell_requester(requester, reason, target);
    }

    fn tell_requester(&mut self, requester: Option<SessionReference>, reason: Reason, target: Option<SessionId>) {
        let Some(requester) = requester else { return };
        if requester.core == self.id {
            return self.cancel_done(requester, reason, target);
        }
        let inbox = self.shared.inboxes.get(usize::from(requester.core)).cloned();
        let done = Message::CancelDone {
            requester,
            reason,
            target,
        };
        // A requester that cannot be told is closed by its own deadline.
        let _told = inbox.is_some_and(|inbox| inbox.send(done).is_ok());
    }

    /// What became of the cancel that a connection of this core asked for.
    pub(super) fn cancel_done(&mut self, requester: SessionReference, reason: Reason, target: Option<SessionId>) {
        self.metrics().cancels.one(match reason {
            Reason::Ok => CancelResult::Forwarded,
            Reason::CancelNoMatch => CancelResult::Unmatched,
            Reason::CancelRateLimited => CancelResult::Limited,
            _ => CancelResult::Failed,
        });
        if self.table.find(requester.index, requester.generation).is_some() {
            self.gate(requester.index, |gate, around| {
                gate.handle_cancel_done(around, reason, target)
            });
        }
    }
}
