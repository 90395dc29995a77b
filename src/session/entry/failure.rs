//! What becomes of an entry that does not come to its relay: what is tried next, what the client hears, and what its end
//! record tells.

use std::fmt::Display;

use crate::audit::{End, EndReason, PeerText, Reason, ServerError};
use crate::upstream::login::{LoginError, ServerReport};

use super::super::denial::Denial;
use super::super::gate::Gate;
use super::super::order::Order;
use super::super::surroundings::Surroundings;
use super::{Entry, Permitted, ServerStage, Step};

/// What is known of why an entry has failed.
pub(super) enum Finding {
    None,
    ServerSaid(ServerError),
    InWords(Box<str>),
}

impl Entry {
    /// This candidate is out; the next one, if there is one.
    pub fn unreachable(self, gate: &mut Gate, around: &mut dyn Surroundings, words: &dyn Display) -> Step {
        // A server closes behind its refusal.
        if let ServerStage::AwaitCredential(_) = self.stage {
            return Some(self);
        }
        self.next_candidate(gate, around, EndReason::UpstreamUnreachable, words)
    }

    pub fn encryption_failed(self, gate: &mut Gate, around: &mut dyn Surroundings, words: &dyn Display) -> Step {
        self.next_candidate(gate, around, EndReason::UpstreamTls, words)
    }

    fn next_candidate(
        mut self,
        gate: &mut Gate,
        around: &dyn Surroundings,
        why: EndReason,
        words: &dyn Display,
    ) -> Step {
        gate.orders.push_back(Order::CloseServer);
        gate.to_server.clear();
        self.candidate += 1;
        if self.candidate < self.permitted.route.candidates {
            return Some(self.connect(gate, around));
        }
        self.fail(gate, around, why, words)
    }

    /// Class 28 may mean that the role's secret has changed: then it is read again and the login tried once more.
    pub(super) fn login_failed(self, gate: &mut Gate, around: &dyn Surroundings, error: &LoginError) -> Step {
        match error {
            LoginError::Server(report) if report.is_authorization_failure() && self.reread_until.is_none() => {
                Some(self.read_credential(gate, report))
            }
            _ => self.give_up(gate, around, error),
        }
    }

    fn read_credential(mut self, gate: &mut Gate, report: &ServerReport) -> Self {
        self.reread_until = Some(self.deadline);
        self.stage = ServerStage::AwaitCredential(Box::new(report.clone()));
        let terms = &self.permitted.standing.terms;
        let (cluster, role) = (terms.cluster.clone(), terms.role.clone());
        gate.to_server.clear();
        gate.orders.push_back(Order::CloseServer);
        gate.orders.push_back(Order::ReadCredential { cluster, role });
        self
    }

    /// The role's secret is current again; `changed`: it is another one than the server refused.
    pub fn credential_read(mut self, gate: &mut Gate, around: &mut dyn Surroundings, changed: bool) -> Step {
        let ServerStage::AwaitCredential(report) = &self.stage else {
            return Some(self);
        };
        let refused = LoginError::Server((**report).clone());
        let Permitted { in_force, permit, .. } = &self.permitted;
        match changed.then(|| around.route(in_force, permit)) {
            Some(Ok(route)) => {
                self.permitted.route = route;
                if self.candidate >= self.permitted.route.candidates {
                    self.candidate = 0;
                }
                Some(self.connect(gate, around))
            }
            Some(Err(_)) | None => self.give_up(gate, around, &refused),
        }
    }

    /// The server's own error reaches the client with its SQLSTATE, except class 28: the client's proof was fine.
    pub(super) fn give_up(self, gate: &mut Gate, around: &dyn Surroundings, error: &LoginError) -> Step {
        let why = match error {
            LoginError::Server(_) => EndReason::UpstreamRefused,
            LoginError::MethodNotAllowed { .. }
            | LoginError::NoPassword { .. }
            | LoginError::CleartextUnprotected
            | LoginError::NoMechanism
            | LoginError::Scram(_) => EndReason::UpstreamCredentials,
            LoginError::Wire(_)
            | LoginError::OutOfTurn { .. }
            | LoginError::Negotiation
            | LoginError::TooMuch
            | LoginError::CancelKey
            | LoginError::NotIdle
            | LoginError::StartupTooLong
            | LoginError::Setting
            | LoginError::Misuse => EndReason::UpstreamProtocol,
        };
        error.encode_for_client(&mut gate.to_client);
        self.over(gate, around, why, Finding::of(error), None)
    }

    pub fn time_out(self, gate: &mut Gate, around: &mut dyn Surroundings) -> Step {
        let awaited = match &self.stage {
            ServerStage::Connecting => "a connection to the server",
            ServerStage::ExpectEncryption => "the server's answer to SSLRequest",
            ServerStage::ExpectTls => "the TLS handshake with the server",
            ServerStage::LoggingIn(_) => "the server's login",
            ServerStage::AwaitCredential(report) => {
                let refused = LoginError::Server((**report).clone());
                return self.give_up(gate, around, &refused);
            }
            ServerStage::AwaitRecord => {
                let words = "timed out waiting for the record to be written";
                return self.fail(gate, around, EndReason::UpstreamTimeout, &words);
            }
        };
        // A server that hangs is as good as none.
        let words = format_args!("timed out waiting for {awaited}");
        self.next_candidate(gate, around, EndReason::UpstreamTimeout, &words)
    }

    /// Not the server's fault, so no other one is tried: the gate has no descriptor for a connection.
    pub fn exhausted(self, gate: &mut Gate, around: &mut dyn Surroundings, words: &dyn Display) -> Step {
        let denial = self.permitted.claim.denial(Reason::OutOfPlaces);
        let finding = Finding::in_words(words);
        self.over(gate, around, EndReason::OutOfPlaces, finding, Some(&denial))
    }

    pub fn stopped(self, gate: &mut Gate, around: &mut dyn Surroundings) -> Step {
        let denial = self.permitted.claim.denial(Reason::Draining);
        self.over(gate, around, EndReason::Drain, Finding::None, Some(&denial))
    }

    /// The client is gone; nobody hears anything any more.
    pub fn abandoned(self, gate: &mut Gate, around: &mut dyn Surroundings) -> Step {
        self.over(gate, around, EndReason::LoginAbandoned, Finding::None, None)
    }

    pub(super) fn fail(self, gate: &mut Gate, around: &dyn Surroundings, why: EndReason, words: &dyn Display) -> Step {
        let denial = self.permitted.claim.denial(client_reason(why));
        self.over(gate, around, why, Finding::in_words(words), Some(&denial))
    }

    pub(super) fn over(
        self,
        gate: &mut Gate,
        around: &dyn Surroundings,
        why: EndReason,
        finding: Finding,
        denial: Option<&Denial>,
    ) -> Step {
        if let Some(denial) = denial {
            denial.encode(&mut gate.to_client);
        }
        let standing = &self.permitted.standing;
        let mut end = End::new(around.utc(), standing.session, why);
        standing.name(&mut end);
        end.server = self.server;
        match finding {
            Finding::None => {}
            Finding::ServerSaid(error) => end.server_error = Some(error),
            Finding::InWords(words) => end.detail = Some(words),
        }
        end.sqlstate = denial.map(|denial| denial.sqlstate.bytes());
        end.upstream_micros = Some(around.now().micros_since(self.since));
        end.duration_micros = around.now().micros_since(self.since);
        gate.orders.push_back(Order::CloseServer);
        gate.orders.push_back(Order::RecordEnd(Box::new(end)));
        gate.orders.push_back(Order::Close);
        None
    }
}

impl Finding {
    fn of(error: &LoginError) -> Self {
        match error {
            LoginError::Server(report) => Self::ServerSaid(ServerError {
                sqlstate: report.sqlstate(),
                message: PeerText::from(report.message().as_str()),
            }),
            error => Self::in_words(error),
        }
    }

    fn in_words(words: &dyn Display) -> Self {
        Self::InWords(words.to_string().into())
    }
}

/// Which words of the table a client hears for a login that failed on the server's side.
fn client_reason(why: EndReason) -> Reason {
    match why {
        EndReason::UpstreamTimeout => Reason::UpstreamTimeout,
        EndReason::UpstreamTls => Reason::UpstreamTls,
        EndReason::UpstreamRefused => Reason::UpstreamRefused,
        EndReason::UpstreamCredentials => Reason::UpstreamCredentials,
        EndReason::UpstreamProtocol => Reason::UpstreamProtocol,
        _ => Reason::UpstreamUnreachable,
    }
}
