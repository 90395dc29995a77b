//! What other threads tell a core.

use std::time::Duration;

use crate::audit::{EndReason, Reason, Ticket};
use crate::control::messages::{Notice, Request};
use crate::inbox::Message;
use crate::time::Mono;

use super::connection::{Front, Phase};
use super::reference::SessionReference;
use super::run::Core;

/// From the drain's deadline to the core's end, milliseconds: a session's last error waits up to a second for a boundary of
/// the server's stream, and up to another to be taken.
const LAST_WORDS: u64 = 2_500;

impl Core {
    pub(super) fn read_inbox(&mut self) {
        self.inbox.awake();
        while let Some(message) = self.inbox.receive() {
            match message {
                Message::Recorded { session, written } => {
                    if self.is_current(session) {
                        self.recorded(session.index, written);
                    }
                }
                Message::Control(notice) => self.notice(notice),
                Message::Cancel { target, requester } => self.cancel_session(target, Some(requester)),
                Message::CancelDone {
                    requester,
                    reason,
                    target,
                } => self.cancel_done(requester, reason, target),
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::PolicyChanged => {
                self.recheck = Some(0);
                self.adopting = true;
            }
            Notice::ClientKeys { ticket, keys } => {
                if let Some(session) = self.session_of(ticket) {
                    self.keys(session.index, keys.ok().as_ref());
                }
            }
            Notice::CredentialRead { ticket, changed } => {
                if let Some(session) = self.session_of(ticket) {
                    self.credential_read(session.index, changed);
                }
            }
            Notice::KeysFetched { ticket, asked } => {
                if let Some(session) = self.session_of(ticket) {
                    self.keys_fetched(session.index, asked);
                }
            }
            Notice::Answer { ticket, answer } => {
                if let Some(session) = self.session_of(ticket) {
                    self.answered(session.index, *answer);
                }
            }
            Notice::ExchangeLatencies(empty) => {
                let filled = std::mem::replace(&mut self.latencies, empty);
                // Control asks again later; what a full queue loses is one interval of figures.
                let _sent = self.shared.requests.ask(Request::Latencies { core: self.id, filled });
            }
            Notice::Drain { deadline } => self.drain(deadline),
            Notice::Stop => self.stop(),
        }
    }

    fn is_current(&mut self, session: SessionReference) -> bool {
        self.table.find(session.index, session.generation).is_some()
    }

    fn session_of(&mut self, ticket: Ticket) -> Option<SessionReference> {
        let session = SessionReference::from_bits(ticket.session);
        self.is_current(session).then_some(session)
    }

    /// Nobody new is let in; whoever has nothing under way goes now, the others when they are done or the time is up.
    fn drain(&mut self, deadline: Duration) {
        self.stop_accepting();
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.draining = Some(self.now.after_millis(millis));
        for index in 0..self.table.reach() {
            self.end_if_quiet(index);
        }
    }

    /// As if the drain's deadline had come; where it has, there is nothing to hurry.
    fn stop(&mut self) {
        if self.stop_at.is_none() {
            self.drain(Duration::ZERO);
        }
    }

    /// The drain's time is up: everybody who is still there is told, and then the core ends, whatever a peer still takes.
    /// Cancels go on for as long: the queries of these sessions are among what they are to end.
    pub(super) fn end_everyone(&mut self) {
        self.draining = Some(Mono(u64::MAX));
        self.stop_at = Some(self.now.after_millis(LAST_WORDS));
        for index in 0..self.table.reach() {
            match self.table.get(index).map(|connection| &connection.phase) {
                Some(Phase::Relay(passage)) if passage.ending().is_none() => self.force_end(index, EndReason::Drain),
                Some(Phase::Login(login)) => match &login.front {
                    Front::Gate(_) => self.gate(index, |gate, around| gate.handle_stop(around)),
                    Front::Proxy { proxy, .. } => {
                        let proxy = *proxy;
                        self.refuse_proxy(index, proxy, Reason::Draining);
                    }
                },
                Some(Phase::Relay(_) | Phase::Errand(_) | Phase::Closing { .. }) | None => {}
            }
        }
    }
}
