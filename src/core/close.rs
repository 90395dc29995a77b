//! Ends: draining what is owed, closing slots, and giving the entry back. And the timers, which lead here.

use crate::audit::Reason;
use crate::ring::Tag;
use crate::time::Mono;

use super::connection::{Connection, Front, Phase};
use super::line::{Receive, Side, Socket};
use super::run::{Core, Operation, tag};

/// How long a connection that is over may take to send what it owes, milliseconds.
const LINGER: u64 = 1_000;

impl Core {
    /// The connection is over: both lines close, each once its queue has been sent.
    pub(super) fn finish(&mut self, index: u32) {
        self.finish_within(index, LINGER);
    }

    /// As [`Self::finish`], with so many milliseconds for what is still owed.
    pub(super) fn finish_within(&mut self, index: u32, linger: u64) {
        let deadline = self.now.after_millis(linger);
        self.withdraw(index);
        for side in [Side::Client, Side::Server] {
            self.send_close_notify(index, side);
        }
        let Some(connection) = self.table.get(index) else {
            return;
        };
        if matches!(connection.phase, Phase::Closing { .. }) {
            return;
        }
        connection.phase = Phase::Closing { deadline };
        for side in [Side::Client, Side::Server] {
            self.drain_line(index, side);
        }
        self.wake(index, deadline);
        self.forget_if_closed(index);
    }

    fn drain_line(&mut self, index: u32, side: Side) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        match line.socket {
            Socket::Open if line.is_idle() => self.close_line(index, side),
            Socket::Open => line.socket = Socket::Draining,
            Socket::None | Socket::Draining | Socket::Closing => {}
        }
    }

    /// Closes the line's socket now; what is still queued is dropped.
    pub(super) fn close_line(&mut self, index: u32, side: Side) {
        let slot = self.slot(index, side);
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        if !matches!(line.socket, Socket::Open | Socket::Draining) {
            return;
        }
        line.socket = Socket::Closing;
        line.queue = None;
        line.tls = None;
        let busy = line.sending || !matches!(line.receive, Receive::Off | Receive::Starved(_)) || side == Side::Server;
        let generation = line.generation;
        if busy {
            self.ring
                .cancel_slot(slot, tag(Operation::Cancel, side, index, generation));
        }
        if self
            .ring
            .close(slot, tag(Operation::Close, side, index, generation))
            .is_err()
        {
            self.line_closed(index, side);
        }
    }

    pub(super) fn closed(&mut self, closed: Tag) {
        if closed.operation() == Operation::Close as u8
            && let Some((index, side)) = self.current(closed)
        {
            self.line_closed(index, side);
        }
    }

    fn line_closed(&mut self, index: u32, side: Side) {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let Some(connection) = self.table.get(index) else {
            return;
        };
        connection.line(side).reset(generation);
        if let Phase::Login(login) = &mut connection.phase
            && side == Side::Server
            && let Some(candidate) = login.candidate.take()
        {
            return self.connect(index, candidate);
        }
        self.forget_if_closed(index);
    }

    fn forget_if_closed(&mut self, index: u32) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let closed = connection.client.socket == Socket::None && connection.server.socket == Socket::None;
        if !closed || !matches!(connection.phase, Phase::Closing { .. }) {
            return;
        }
        match self.table.remove(index) {
            Some(Connection {
                is_errand: true,
                destination,
                ..
            }) => destination.iter().for_each(|to| self.errands.leave(&to.server)),
            Some(_) => self.shared.places.release(usize::from(self.id)),
            None => {}
        }
    }

    /// Has the connection looked at when `at` has come, unless it will be looked at earlier anyway.
    pub(super) fn wake(&mut self, index: u32, at: Mono) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        if at >= connection.wake_at {
            return;
        }
        connection.wake_at = at;
        let generation = connection.reference.generation;
        self.timers.set(super::timers::Call { at, index, generation });
    }

    /// The next moment at which a connection must be looked at.
    pub(super) fn schedule(&mut self, index: u32) {
        let (now, utc) = (self.now, self.utc);
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let next = match &connection.phase {
            Phase::Login(login) => match &login.front {
                Front::Gate(gate) => Some(gate.deadline()),
                Front::Proxy { .. } => Some(login.accepted.after_millis(self.shared.timeouts.startup)),
            },
            Phase::Relay(passage) => passage.next_deadline(now, utc),
            Phase::Errand(errand) => Some(errand.deadline),
            Phase::Closing { deadline } => Some(*deadline),
        };
        if let Some(next) = next {
            self.wake(index, next);
        }
    }

    pub(super) fn fire_timers(&mut self) {
        while let Some(call) = self.timers.due(self.now) {
            let Some(connection) = self.table.find(call.index, call.generation) else {
                continue;
            };
            if connection.wake_at != call.at {
                continue;
            }
            connection.wake_at = Mono(u64::MAX);
            self.look_at(call.index);
            self.schedule(call.index);
        }
        if self.draining.is_some_and(|deadline| deadline <= self.now) {
            self.end_everyone();
        }
    }

    fn look_at(&mut self, index: u32) {
        let now = self.now;
        let Some(connection) = self.table.get(index) else {
            return;
        };
        match &connection.phase {
            Phase::Login(login) => match &login.front {
                Front::Gate(_) => self.gate(index, |gate, around| gate.handle_timeout(around)),
                Front::Proxy { proxy, .. } if login.accepted.after_millis(self.shared.timeouts.startup) <= now => {
                    let proxy = *proxy;
                    self.refuse_proxy(index, proxy, Reason::StartupTimeout);
                }
                Front::Proxy { .. } => {}
            },
            Phase::Relay(passage) => {
                let due = passage.ending().is_some()
                    || passage
                        .next_deadline(now, self.utc)
                        .is_some_and(|deadline| deadline <= now);
                if due {
                    self.relay_timer(index);
                }
            }
            Phase::Errand(errand) if errand.deadline <= now => self.errand_failed(index),
            Phase::Closing { deadline } if *deadline <= now => {
                for side in [Side::Client, Side::Server] {
                    self.close_line(index, side);
                }
            }
            Phase::Errand(_) | Phase::Closing { .. } => {}
        }
    }

    /// After a swap, or when a validity has run out: is the permission still there?
    pub(super) fn recheck_connection(&mut self, index: u32) {
        let in_force = self.policy.load().clone();
        let utc = self.utc;
        let Some(connection) = self.table.get(index) else {
            return;
        };
        match &mut connection.phase {
            Phase::Relay(passage) if passage.ending().is_none() => {
                let before = passage.standing.terms.grant.clone();
                match passage.recheck(&in_force, &mut self.certificates, utc) {
                    Ok(()) => {
                        let terms = &passage.standing.terms;
                        if terms.grant != before {
                            let admission = &self.shared.admission;
                            admission.pass_on(&mut connection.admission, &terms.identity, &terms.grant);
                        }
                        self.carry_out_expiry(index);
                        self.schedule(index);
                    }
                    Err(why) => self.force_end(index, why),
                }
            }
            Phase::Login(_) => self.gate(index, |gate, around| gate.handle_policy_changed(around)),
            Phase::Relay(_) | Phase::Errand(_) | Phase::Closing { .. } => {}
        }
    }
}
