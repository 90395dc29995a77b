//! Relay: what came in on one side goes out on the other, from the buffer it lies in.

use crate::audit::{End, EndReason, Record, Server, Traffic};
use crate::metrics::Direction;
use crate::ring::Segment;
use crate::session::{Expiry, Passage, Verdict};
use crate::time::Mono;
use crate::upstream::cancel::UpstreamCancelKey;
use crate::wire::error::Report;
use crate::wire::sqlstate::SqlState;

use super::connection::{Connection, Phase};
use super::line::Side;
use super::run::Core;

/// From the order to end until the sockets are closed whatever they still owe, milliseconds.
const HARD_CLOSE: u64 = 1_000;

/// How long a peer may take for what it is still owed after the other side has closed in order, milliseconds.
const PATIENT_CLOSE: u64 = 30_000;

impl Core {
    #[inline]
    pub(super) fn relay_input(&mut self, index: u32, side: Side, segment: Segment) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        if connection.line(side).tls.is_none() {
            return self.relay(index, side, segment);
        }
        self.relay_records(index, side, segment);
    }

    fn relay_records(&mut self, index: u32, side: Side, segment: Segment) {
        let mut opened = std::mem::take(&mut self.opened);
        let result = self.open_records(index, side, segment, &mut opened);
        for plaintext in opened.drain(..) {
            self.relay(index, side, plaintext);
        }
        self.opened = opened;
        self.send_owed(index, side);
        match result {
            Ok(result) => {
                self.metrics().relay_copies.add(result.copied);
                if result.error.is_some() {
                    self.end_session(index, EndReason::TlsError, None);
                } else if result.closed {
                    self.relay_ended(index, side);
                }
            }
            Err(_) => self.starve_out(index),
        }
    }

    /// Plaintext of one side.
    #[inline]
    pub(super) fn relay(&mut self, index: u32, side: Side, mut segment: Segment) {
        let now = self.now;
        let Some(passage) = self.passage(index) else { return };
        let verdict = match side {
            Side::Client => passage.handle_client(now, segment.bytes()),
            Side::Server => passage.handle_server(now, segment.bytes()),
        };
        match verdict {
            Verdict::Forward => {
                self.count(side, segment.len());
                self.forward(index, side.other(), segment);
                if side == Side::Server {
                    self.end_if_finished(index);
                }
            }
            Verdict::ForwardAndNotify(length) => {
                let first = segment.split_to(length);
                self.count(side, first.len());
                if !first.is_empty() {
                    self.forward(index, side.other(), first);
                }
                self.say_proof_ends(index);
                if !segment.is_empty() {
                    self.relay(index, side, segment);
                }
            }
            Verdict::Refuse => self.force_end(index, EndReason::ProofExpired),
            Verdict::ForwardAndEnd(length) => {
                segment.truncate(length);
                self.count(side, length);
                self.forward(index, side.other(), segment);
                self.last_words(index);
            }
            Verdict::Drop => {}
            Verdict::Violation { legal, error } => {
                segment.truncate(legal);
                self.forward(index, side.other(), segment);
                self.violated(index, side, &error.to_string());
            }
        }
    }

    fn count(&self, from: Side, bytes: usize) {
        let direction = match from {
            Side::Client => Direction::ToServer,
            Side::Server => Direction::ToClient,
        };
        self.metrics().relay_bytes.add(direction, bytes as u64);
    }

    fn violated(&mut self, index: u32, side: Side, message: &str) {
        match side {
            Side::Client => {
                let report = Report::fatal(SqlState::ProtocolViolation, message);
                self.end_session(index, EndReason::ProtocolViolation, Some(report));
            }
            Side::Server => {
                let report = Report::fatal(SqlState::ProtocolViolation, "the server broke the protocol");
                self.end_session(index, EndReason::ServerProtocolViolation, Some(report));
            }
        }
    }

    /// One side has closed in order: the other gets what is still queued for it, then the close.
    pub(super) fn relay_ended(&mut self, index: u32, side: Side) {
        let Some(passage) = self.passage(index) else { return };
        let how = match (passage.ending(), side) {
            (Some(ending), _) => ending,
            (None, Side::Client) if passage.is_terminating() => EndReason::ClientTerminate,
            (None, Side::Client) => EndReason::ClientEof,
            // A server closes because it was asked to.
            (None, Side::Server) if passage.is_terminating() => EndReason::ClientTerminate,
            (None, Side::Server) => EndReason::ServerEof,
        };
        self.end_session(index, how, None);
    }

    pub(super) fn relay_broken(&mut self, index: u32, side: Side) {
        let Some(passage) = self.passage(index) else { return };
        let how = match (passage.ending(), side) {
            (Some(ending), _) => ending,
            (None, _) if passage.is_terminating() => EndReason::ClientTerminate,
            (None, Side::Client) => EndReason::ClientReset,
            (None, Side::Server) => EndReason::ServerReset,
        };
        self.end_session(index, how, None);
    }

    /// Ends a living session by force: not one more byte of the client reaches the server, the server is told to cancel,
    /// and the client hears why at the next boundary of the server's messages, or after a second not at all.
    pub(super) fn force_end(&mut self, index: u32, why: EndReason) {
        let now = self.now;
        let Some(passage) = self.passage(index) else { return };
        if passage.ending().is_some() {
            return;
        }
        passage.end(why);
        let boundary = passage.at_server_boundary();
        let busy = !passage.is_quiet();
        if matches!(
            why,
            EndReason::PolicyChanged | EndReason::WindowEnded | EndReason::ProofExpired
        ) {
            self.metrics().sessions_revoked.one();
        }
        self.pause_receive(index, Side::Client);
        if busy {
            self.cancel_for(index);
        }
        if boundary {
            return self.last_words(index);
        }
        self.wake(index, now.after_millis(HARD_CLOSE));
    }

    /// The server's stream stands at a boundary: the last error, and the end.
    fn last_words(&mut self, index: u32) {
        let Some(why) = self.passage(index).and_then(|passage| passage.ending()) else {
            return;
        };
        let (sqlstate, message) = match why {
            EndReason::IdleLimit => (
                SqlState::IdleSessionTimeout,
                "terminating connection due to idle-session timeout",
            ),
            EndReason::ProofExpired => (
                SqlState::AdminShutdown,
                "terminating connection because the proof of identity has expired",
            ),
            _ => (
                SqlState::AdminShutdown,
                "terminating connection due to administrator command",
            ),
        };
        self.end_session(index, why, Some(Report::fatal(sqlstate, message)));
    }

    /// Ends a session that has nothing under way and is to end for that.
    #[inline]
    fn end_if_finished(&mut self, index: u32) {
        if self.draining.is_some() {
            return self.end_if_quiet(index);
        }
        if self.passage(index).is_some_and(|passage| passage.is_finished()) {
            self.force_end(index, EndReason::ProofExpired);
        }
    }

    /// What the end of a session's proof asks for at this moment.
    pub(super) fn carry_out_expiry(&mut self, index: u32) {
        let utc = self.utc;
        let Some(passage) = self.passage(index) else { return };
        match passage.standing.expiry(utc) {
            None => {}
            Some(Expiry::Notice(_)) if passage.notify() => self.say_proof_ends(index),
            Some(Expiry::Notice(_)) => {}
            Some(Expiry::RefuseNew) => passage.refuse_new(),
            Some(Expiry::FinishTransaction) => {
                passage.finish_transaction();
                self.end_if_finished(index);
            }
        }
    }

    /// The server's stream stands at a boundary.
    fn say_proof_ends(&mut self, index: u32) {
        let Some(ends) = self.passage(index).and_then(|passage| passage.standing.proof_ends()) else {
            return;
        };
        let message = format!("the proof of identity that this session was let in by ends at {ends}");
        self.send_report(index, &Report::notice(SqlState::SuccessfulCompletion, &message));
    }

    /// A drain ends whoever has nothing under way.
    pub(super) fn end_if_quiet(&mut self, index: u32) {
        if self.passage(index).is_some_and(|passage| passage.is_quiet()) {
            self.force_end(index, EndReason::Drain);
        }
    }

    /// The call of a session's timer.
    pub(super) fn relay_timer(&mut self, index: u32) {
        let due = self.now;
        let Some(passage) = self.passage(index) else { return };
        if let Some(ending) = passage.ending() {
            return self.end_session(index, ending, None);
        }
        if let Some(limit) = passage.exceeded(due) {
            return self.force_end(index, limit);
        }
        self.recheck_connection(index);
    }

    /// Out of buffers of our own: the session cannot go on without losing bytes.
    pub(super) fn starve_out(&mut self, index: u32) {
        match self.table.get(index).map(|connection| &connection.phase) {
            Some(Phase::Relay(_)) => self.end_session(index, EndReason::Internal, None),
            Some(Phase::Login(_) | Phase::Errand(_)) => self.finish(index),
            Some(Phase::Closing { .. }) | None => {}
        }
    }

    pub(super) fn passage(&mut self, index: u32) -> Option<&mut Passage> {
        match &mut self.table.get(index)?.phase {
            Phase::Relay(passage) => Some(passage),
            Phase::Login(_) | Phase::Errand(_) | Phase::Closing { .. } => None,
        }
    }

    /// The one end of a session: its record, its places, its sockets.
    pub(super) fn end_session(&mut self, index: u32, how: EndReason, report: Option<Report<'_>>) {
        let (utc, now) = (self.utc, self.now);
        if let Some(report) = &report {
            self.send_report(index, report);
        }
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let Phase::Relay(passage) = &connection.phase else {
            return;
        };
        let mut end = passage.end_record(utc, now, how);
        end.server = connection.destination.as_ref().map(|to| Server {
            address: to.server.clone(),
            process: passage.cancel_key.as_ref().map(UpstreamCancelKey::process_id),
        });
        end.sqlstate = report.map(|report| report.sqlstate.bytes());
        let messages = |traffic: &Traffic| traffic.messages.iter().map(|(_, count)| count).sum::<u64>();
        self.metrics()
            .relay_messages
            .add(Direction::ToServer, messages(&end.from_client));
        self.metrics()
            .relay_messages
            .add(Direction::ToClient, messages(&end.from_server));
        let forced = passage_is_forced(how);
        self.withdraw(index);
        self.metrics().ends.one(how);
        self.metrics().sessions_open.down();
        self.shared.recorder.record(Record::End(Box::new(end)));
        self.finish_within(index, if forced { HARD_CLOSE } else { PATIENT_CLOSE });
    }

    /// Gives back what a session held among the shared tables.
    pub(super) fn withdraw(&mut self, index: u32) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let Connection {
            reference,
            admission,
            phase,
            ..
        } = connection;
        if let Some(key) = admission.take() {
            self.shared.admission.leave(key);
        }
        if let Phase::Relay(Passage {
            cancel_key: Some(key), ..
        }) = phase
        {
            self.shared.cancels.withdraw(key.process_id(), *reference);
        }
    }
}

/// Whether the gate has ended the session itself: then nobody is waited for.
fn passage_is_forced(how: EndReason) -> bool {
    !matches!(
        how,
        EndReason::ClientTerminate | EndReason::ClientEof | EndReason::ServerEof
    )
}

impl Passage {
    fn end_record(&self, utc: crate::time::Utc, now: Mono, how: EndReason) -> End {
        let mut end = End::new(utc, self.standing.session, how);
        self.standing.name(&mut end);
        end.upstream_micros = Some(self.upstream_micros());
        end.duration_micros = now.micros_since(self.started);
        end.from_client = Traffic {
            bytes: self.bytes_from_client,
            messages: self.counts.frontend_by_tag(),
        };
        end.from_server = Traffic {
            bytes: self.bytes_from_server,
            messages: self.counts.backend_by_tag(),
        };
        end.transactions = self.counts.transactions();
        end
    }
}
