//! A session in relay: follows both directions, counts, and knows when and how it must end.
//!
//! A [`Passage`] exists only behind a permit and a server that is ready for queries: [`Passage::new`] takes both as values
//! that nothing but the decision and the upstream login can make. It never copies and never allocates; it is told the
//! bytes where they lie and answers how many of them may be forwarded.

use crate::audit::EndReason;
use crate::identity::certificate;
use crate::in_force::InForce;
use crate::time::{Mono, Utc};
use crate::upstream::cancel::UpstreamCancelKey;
use crate::wire::WireError;
use crate::wire::count::Counts;
use crate::wire::frame::{FollowError, Follower};
use crate::wire::tag::{TagSet, frontend};

use super::open::Open;
use super::standing::Standing;

/// A session that has been let in, for as long as bytes are relayed.
pub struct Passage {
    from_client: Follower,
    from_server: Follower,
    pub counts: Counts,
    pub bytes_from_client: u64,
    pub bytes_from_server: u64,
    open: Open,
    ending: Option<EndReason>,
    pending: Pending,
    pub started: Mono,
    last_byte: Mono,
    pub standing: Standing,
    pub cancel_key: Option<UpstreamCancelKey>,
    /// Microseconds that the server's login took, connecting included; at most an hour and eleven minutes.
    upstream_micros: u32,
}

/// What waits for its moment in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pending {
    #[default]
    Nothing,
    /// A notice to the client, at the next boundary of the server's messages.
    Notice,
    /// [`Pending::Refusal`], when no transaction is open.
    RefuseNew,
    /// The end, with the client's next message but a goodbye.
    Refusal,
    /// [`Pending::End`], when no transaction is open.
    FinishTransaction,
    /// The end.
    End,
}

/// What may be done with a chunk of relayed bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward all of it.
    Forward,
    /// Forward this many bytes, to the end of a message, and then end the session: the server's stream is at a boundary.
    ForwardAndEnd(usize),
    /// Forward this many bytes, to the end of a message, then say the notice that waits, then come back with the rest.
    ForwardAndNotify(usize),
    /// Forward nothing: the proof has ended, and the client begins something new.
    Refuse,
    /// Forward nothing: the session is being ended.
    Drop,
    /// Forward the legal prefix, then end: the rest breaks the protocol.
    Violation { legal: usize, error: WireError },
}

impl Passage {
    pub fn new(standing: Standing, cancel_key: Option<UpstreamCancelKey>, upstream_micros: u64, started: Mono) -> Self {
        Self {
            cancel_key,
            upstream_micros: u32::try_from(upstream_micros).unwrap_or(u32::MAX),
            from_client: Follower::new(),
            from_server: Follower::new(),
            counts: Counts::default(),
            bytes_from_client: 0,
            bytes_from_server: 0,
            open: Open::default(),
            ending: None,
            pending: Pending::Nothing,
            started,
            last_byte: started,
            standing,
        }
    }

    pub fn upstream_micros(&self) -> u64 {
        u64::from(self.upstream_micros)
    }

    /// The next bytes from the client. Once the session is being ended, not one more of them reaches the server.
    #[inline]
    pub fn handle_client(&mut self, now: Mono, bytes: &[u8]) -> Verdict {
        if self.ending.is_some() {
            return Verdict::Drop;
        }
        if self.pending == Pending::Refusal && !self.says_goodbye(bytes) {
            return Verdict::Refuse;
        }
        self.last_byte = now;
        let Self {
            from_client,
            counts,
            open,
            ..
        } = self;
        let followed = from_client.follow(bytes, &TagSet::FRONTEND_IN_RELAY, |head| {
            counts.count_frontend(head);
            open.client(head);
        });
        match followed {
            Ok(()) => {
                self.bytes_from_client += bytes.len() as u64;
                Verdict::Forward
            }
            Err(fault) => violation(fault, &mut self.bytes_from_client),
        }
    }

    /// The next bytes from the server.
    #[inline]
    pub fn handle_server(&mut self, now: Mono, bytes: &[u8]) -> Verdict {
        if self.ending.is_some() {
            return self.last_message_of_server(bytes);
        }
        self.last_byte = now;
        if self.pending == Pending::Notice
            && let Some(end) = self.server_boundary_in(bytes)
        {
            self.pending = Pending::Nothing;
            return match self.follow_server(bytes.get(..end).unwrap_or_default()) {
                Ok(()) => Verdict::ForwardAndNotify(end),
                Err(fault) => violation(fault, &mut self.bytes_from_server),
            };
        }
        match self.follow_server(bytes) {
            Ok(()) => Verdict::Forward,
            Err(fault) => violation(fault, &mut self.bytes_from_server),
        }
    }

    fn server_boundary_in(&self, bytes: &[u8]) -> Option<usize> {
        match self.from_server.at_boundary() {
            true => Some(0),
            false => self.from_server.boundary_in(bytes),
        }
    }

    fn follow_server(&mut self, bytes: &[u8]) -> Result<(), FollowError> {
        let Self {
            from_server,
            counts,
            open,
            pending,
            ..
        } = self;
        from_server.follow(bytes, &TagSet::BACKEND_IN_RELAY, |head| {
            counts.count_backend(head);
            if open.server(head) {
                *pending = pending.without_transaction();
            }
        })?;
        self.bytes_from_server += bytes.len() as u64;
        Ok(())
    }

    /// While ending: finishes the message under way so that the client's last error stands at a boundary.
    fn last_message_of_server(&mut self, bytes: &[u8]) -> Verdict {
        if self.from_server.at_boundary() {
            return Verdict::ForwardAndEnd(0);
        }
        let end = self.from_server.boundary_in(bytes);
        let forward = end.unwrap_or(bytes.len());
        match self.follow_server(bytes.get(..forward).unwrap_or(bytes)) {
            Ok(()) if end.is_some() => Verdict::ForwardAndEnd(forward),
            Ok(()) => Verdict::Forward,
            Err(_) => Verdict::ForwardAndEnd(0),
        }
    }

    /// As [`Standing::recheck`]; takes back what the end of the proof has begun, where the policy has that otherwise now.
    pub fn recheck(&mut self, in_force: &InForce, known: &mut certificate::Cache, utc: Utc) -> Result<(), EndReason> {
        let before = self.standing.end_and_meaning();
        self.standing.recheck(in_force, known, utc)?;
        if before != self.standing.end_and_meaning() {
            self.pending = Pending::Nothing;
        }
        Ok(())
    }

    /// A notice is to be said: now, or where [`Verdict::ForwardAndNotify`] says.
    pub fn notify(&mut self) -> bool {
        let now = self.ending.is_none() && self.from_server.at_boundary();
        if !now {
            self.pending = Pending::Notice;
        }
        now
    }

    /// The proof has ended. The transaction that is open may be finished; what begins is refused. A client that always has a
    /// request under way is held to the first moment at which the server has no transaction open.
    pub fn refuse_new(&mut self) {
        self.pend(Pending::RefuseNew);
    }

    /// The proof has ended. The session ends as soon as the server has no transaction open, whatever else is asked by then.
    pub fn finish_transaction(&mut self) {
        self.pend(Pending::FinishTransaction);
    }

    fn pend(&mut self, pending: Pending) {
        self.pending = match self.is_quiet() {
            true => pending.without_transaction(),
            false => pending,
        };
    }

    /// Whether the session is to end now.
    pub fn is_finished(&self) -> bool {
        self.pending == Pending::End
    }

    fn says_goodbye(&self, bytes: &[u8]) -> bool {
        self.from_client.at_boundary() && bytes.first() == Some(&frontend::TERMINATE)
    }

    /// From now on nothing more from the client is forwarded. The first reason stays.
    pub fn end(&mut self, why: EndReason) {
        self.ending.get_or_insert(why);
    }

    pub fn ending(&self) -> Option<EndReason> {
        self.ending
    }

    /// No message of the server is under way: an error of our own may be put here.
    pub fn at_server_boundary(&self) -> bool {
        self.from_server.at_boundary()
    }

    /// Nothing is asked and nothing is open: a drain may end the session without anybody losing work.
    pub fn is_quiet(&self) -> bool {
        self.open.is_nothing() && self.from_client.at_boundary() && self.from_server.at_boundary()
    }

    /// The client has said goodbye.
    pub fn is_terminating(&self) -> bool {
        self.open.is_terminating()
    }

    /// When the session must next be looked at for its own limits; `None` when nothing but a swap concerns it.
    pub fn next_deadline(&self, now: Mono, utc: Utc) -> Option<Mono> {
        let limits = &self.standing.terms.limits;
        let length = limits
            .session_length
            .map(|seconds| self.started.after_millis(u64::from(seconds) * 1_000));
        let idle = limits
            .idle
            .map(|seconds| self.last_byte.after_millis(u64::from(seconds) * 1_000));
        [length, idle, self.standing.recheck_due(now, utc)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The limit of the grant that `now` exceeds.
    pub fn exceeded(&self, now: Mono) -> Option<EndReason> {
        let limits = &self.standing.terms.limits;
        let past = |since: Mono, limit: Option<u32>| {
            limit.is_some_and(|seconds| now >= since.after_millis(u64::from(seconds) * 1_000))
        };
        if past(self.started, limits.session_length) {
            Some(EndReason::LengthLimit)
        } else if past(self.last_byte, limits.idle) {
            Some(EndReason::IdleLimit)
        } else {
            None
        }
    }
}

impl Pending {
    /// Behind a ReadyForQuery with no transaction open.
    fn without_transaction(self) -> Self {
        match self {
            Self::RefuseNew => Self::Refusal,
            Self::FinishTransaction => Self::End,
            Self::Nothing | Self::Notice | Self::Refusal | Self::End => self,
        }
    }
}

fn violation(fault: FollowError, bytes: &mut u64) -> Verdict {
    let legal = usize::try_from(fault.start).unwrap_or(0);
    *bytes += legal as u64;
    Verdict::Violation {
        legal,
        error: fault.error,
    }
}
