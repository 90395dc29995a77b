//! Receiving: arming, pausing, and what comes in.

use crate::ring::{Errno, Group, Received, Segment, Tag};

use super::connection::Phase;
use super::line::{Receive, Side, Socket};
use super::run::{Core, Operation, tag};

/// Receives in a row that filled their buffer, after which a line counts as bulk.
const BULK_AFTER: u8 = 4;

impl Core {
    pub(super) fn received(&mut self, completed: Tag, more: bool, received: Received) {
        let Some((index, side)) = self.current(completed) else {
            return;
        };
        if !more {
            self.receive_is_over(index, side);
        }
        match received {
            Received::Bytes { segments, .. } => {
                let full = segments.remaining() >= self.ring.group_payload(Group::Small);
                for segment in segments {
                    if self.current(completed).is_none() {
                        return;
                    }
                    self.input(index, side, segment);
                }
                self.notice_bulk(index, side, full);
                self.resume_receive(index, side);
            }
            Received::End => self.ended(index, side),
            Received::NoBuffers => {
                self.metrics().buffers_starved.one();
                if let Some(connection) = self.table.get(index) {
                    let line = connection.line(side);
                    line.receive = Receive::Starved(Group::Small);
                    self.starved.push((index, side));
                }
            }
            Received::Failed(Errno::CANCELLED) => self.resume_receive(index, side),
            Received::Failed(_) => self.broken(index, side),
        }
    }

    fn receive_is_over(&mut self, index: u32, side: Side) {
        if let Some(connection) = self.table.get(index) {
            connection.line(side).receive = Receive::Off;
        }
    }

    /// Many full buffers in a row: from here on one completion may bring several large ones.
    fn notice_bulk(&mut self, index: u32, side: Side, full: bool) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        line.full_receives = if full {
            line.full_receives.saturating_add(1)
        } else {
            line.full_receives / 2
        };
        let wanted = if line.full_receives >= BULK_AFTER {
            Group::Bulk
        } else {
            Group::Small
        };
        match line.receive {
            Receive::Armed(group) if group != wanted && (wanted == Group::Bulk || line.full_receives == 0) => {
                self.pause_receive(index, side);
            }
            Receive::Armed(_) | Receive::Off | Receive::Stopping(_) | Receive::Starved(_) => {}
        }
    }

    /// Arms the line's receive unless it is armed, or nobody wants its bytes now.
    pub(super) fn resume_receive(&mut self, index: u32, side: Side) {
        let slot = self.slot(index, side);
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let throttled = connection.line(side.other()).throttling;
        let line = connection.line(side);
        let wanted = matches!(line.socket, Socket::Open) && !line.ended && !throttled;
        if !wanted || !matches!(line.receive, Receive::Off) {
            return;
        }
        let group = if line.full_receives >= BULK_AFTER {
            Group::Bulk
        } else {
            Group::Small
        };
        line.receive = Receive::Armed(group);
        let tag = tag(Operation::Receive, side, index, line.generation);
        self.ring.receive_multishot(slot, group, group == Group::Bulk, tag);
    }

    /// What the kernel has taken already still comes; its last completion decides whether to arm again.
    pub(super) fn pause_receive(&mut self, index: u32, side: Side) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        if let Receive::Armed(group) = line.receive {
            line.receive = Receive::Stopping(group);
            let target = tag(Operation::Receive, side, index, line.generation);
            let own = tag(Operation::Cancel, side, index, line.generation);
            self.ring.cancel_receive(group, target, own);
        }
    }

    /// Lines that found no buffer try again: buffers return once per turn.
    pub(super) fn feed_the_starved(&mut self) {
        for place in (0..self.starved.len()).rev() {
            let Some(&(index, side)) = self.starved.get(place) else {
                continue;
            };
            self.starved.swap_remove(place);
            if let Some(connection) = self.table.get(index) {
                let line = connection.line(side);
                if matches!(line.receive, Receive::Starved(_)) {
                    line.receive = Receive::Off;
                }
            }
            self.resume_receive(index, side);
        }
    }

    fn input(&mut self, index: u32, side: Side, segment: Segment) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        match &connection.phase {
            Phase::Relay(_) => self.relay_input(index, side, segment),
            Phase::Login(_) => self.login_input(index, side, segment),
            Phase::Errand(_) => self.errand_input(index, segment),
            Phase::Closing { .. } => {}
        }
    }

    /// The peer has closed its side.
    fn ended(&mut self, index: u32, side: Side) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        connection.line(side).ended = true;
        match &connection.phase {
            Phase::Relay(_) => self.relay_ended(index, side),
            Phase::Login(_) => self.login_ended(index, side),
            Phase::Errand(_) => self.errand_ended(index),
            Phase::Closing { .. } => self.close_line(index, side),
        }
    }

    /// The socket failed: nothing more can be sent or received on it.
    pub(super) fn broken(&mut self, index: u32, side: Side) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        line.ended = true;
        line.queue = None;
        line.sending = false;
        match &connection.phase {
            Phase::Relay(_) => self.relay_broken(index, side),
            Phase::Login(_) => self.login_ended(index, side),
            Phase::Errand(_) => self.errand_ended(index),
            Phase::Closing { .. } => self.close_line(index, side),
        }
    }
}
