//! From the permit to the relay: the server's half of the gate.
//!
//! Connecting goes on while the permit's record is being written; the StartupMessage to the server waits for the record, so
//! every session that a server ever saw has one. The client hears AuthenticationOk together with everything that the server
//! said of itself, once the server is ready for queries. `failure` has what becomes of those who do not get there.

mod failure;

use std::sync::Arc;

use postern_policy::decide::Permit;

use crate::audit::{EndReason, Name, Outcome, Reason, Server};
use crate::identity::scram::{Keys, NONCE_BYTES};
use crate::in_force::InForce;
use crate::time::Mono;
use crate::upstream::cancel::UpstreamCancelKey;
use crate::upstream::encryption::{self, Answer};
use crate::upstream::login::{self, Channel, Established, Login, LoginRequest, Progress, ServerReport};
use crate::wire::assemble::Assembler;
use crate::wire::authentication;
use crate::wire::backend::{BackendKeyData, TransactionStatus, encode_ready_for_query};

use super::gate::Gate;
use super::order::Order;
use super::passage::Passage;
use super::proof::Claim;
use super::scram::ScramProven;
use super::standing::Standing;
use super::surroundings::{Route, Surroundings};
use failure::Finding;

/// Everything the decision has settled.
pub(super) struct Permitted {
    pub claim: Claim,
    pub standing: Standing,
    /// The policy that decided, and what it decided: the way to the server can be looked up once more.
    pub in_force: Arc<InForce>,
    pub permit: Permit,
    pub route: Route,
    /// Start-up settings for the server, in the order in which later ones win.
    pub settings: Vec<(String, String)>,
    pub scram: Option<ScramProven>,
}

/// A permitted attempt on its way to a server.
pub(super) struct Entry {
    permitted: Permitted,
    candidate: usize,
    recorded: bool,
    stage: ServerStage,
    since: Mono,
    deadline: Mono,
    /// The role's secret has been read again for this attempt, which happens once. The deadline of the login that was
    /// refused holds for the second one too.
    reread_until: Option<Mono>,
    server: Option<Server>,
    end_point: Option<Box<[u8]>>,
    certificate_sent: bool,
    assembler: Assembler,
}

/// More PBKDF2 iterations than this no server makes us compute.
const MOST_ITERATIONS: u32 = 1_000_000;

enum ServerStage {
    Connecting,
    /// SSLRequest is sent.
    ExpectEncryption,
    /// The core is in a TLS handshake with the server.
    ExpectTls,
    /// Connected, and the record is not written yet.
    AwaitRecord,
    LoggingIn(Box<Login>),
    /// The server refused the role's secret; its file is being read again.
    AwaitCredential(Box<ServerReport>),
}

/// One step of the server's half, with what it came to: go on, or be over.
pub(super) type Step = Option<Entry>;

impl Entry {
    /// Starts towards the first candidate.
    pub fn start(permitted: Permitted, gate: &mut Gate, around: &dyn Surroundings) -> Self {
        let entry = Self {
            permitted,
            candidate: 0,
            recorded: false,
            stage: ServerStage::Connecting,
            since: around.now(),
            deadline: around.now(),
            reread_until: None,
            server: None,
            end_point: None,
            certificate_sent: false,
            assembler: Assembler::new(),
        };
        entry.connect(gate, around)
    }

    pub fn deadline(&self) -> Mono {
        self.deadline
    }

    fn connect(mut self, gate: &mut Gate, around: &dyn Surroundings) -> Self {
        self.stage = ServerStage::Connecting;
        self.assembler = Assembler::new();
        self.deadline = self.deadline_in(around, self.permitted.route.connect_timeout);
        gate.orders.push_back(Order::Connect {
            candidate: self.candidate,
        });
        self
    }

    fn deadline_in(&self, around: &dyn Surroundings, millis: u32) -> Mono {
        let deadline = around.now().after_millis(u64::from(millis));
        self.reread_until.map_or(deadline, |until| until.min(deadline))
    }

    pub fn connected(mut self, gate: &mut Gate, around: &mut dyn Surroundings, server: Server) -> Step {
        self.server = Some(server);
        self.deadline = self.deadline_in(around, self.permitted.route.login_timeout);
        if self.permitted.route.tls {
            encryption::request(&mut gate.to_server);
            self.stage = ServerStage::ExpectEncryption;
            return Some(self);
        }
        self.log_in_once_recorded(gate, around)
    }

    pub fn encrypted(
        mut self,
        gate: &mut Gate,
        around: &mut dyn Surroundings,
        end_point: Option<Box<[u8]>>,
        certificate_sent: bool,
    ) -> Step {
        self.end_point = end_point;
        self.certificate_sent = certificate_sent;
        self.log_in_once_recorded(gate, around)
    }

    pub fn recorded(mut self, gate: &mut Gate, around: &mut dyn Surroundings, written: bool) -> Step {
        if !written {
            return self.unrecorded(gate, around);
        }
        self.recorded = true;
        match self.stage {
            ServerStage::AwaitRecord => self.log_in_once_recorded(gate, around),
            ServerStage::Connecting
            | ServerStage::ExpectEncryption
            | ServerStage::ExpectTls
            | ServerStage::LoggingIn(_)
            | ServerStage::AwaitCredential(_) => Some(self),
        }
    }

    /// The permit's record is not in the file and never will be: the attempt is recorded as denied, and has no session.
    fn unrecorded(self, gate: &mut Gate, around: &dyn Surroundings) -> Step {
        let denial = self.permitted.claim.denial(Reason::AuditUnavailable);
        gate.orders.push_back(Order::CloseServer);
        gate.deny_as(around, Outcome::Denied, &denial);
        None
    }

    fn log_in_once_recorded(mut self, gate: &mut Gate, around: &mut dyn Surroundings) -> Step {
        if !self.recorded {
            self.stage = ServerStage::AwaitRecord;
            return Some(self);
        }
        let mut nonce = [0; NONCE_BYTES];
        around.random(&mut nonce);
        let Permitted {
            claim,
            standing,
            route,
            settings,
            ..
        } = &self.permitted;
        let channel = if route.tls {
            Channel::Tls {
                fully_verified: route.fully_verified,
                end_point: self.end_point.as_deref(),
                client_certificate: self.certificate_sent,
            }
        } else {
            Channel::Plain
        };
        let request = LoginRequest {
            role: &standing.terms.role,
            database: &standing.terms.server_database,
            replication: claim.parameters.replication(),
            methods: &route.methods,
            has_password: route.has_password,
            channel,
            nonce,
            max_iterations: MOST_ITERATIONS,
        };
        let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        match Login::start(&request, settings, &mut gate.to_server) {
            Ok(login) => {
                self.stage = ServerStage::LoggingIn(Box::new(login));
                Some(self)
            }
            Err(error) => self.login_failed(gate, around, &error),
        }
    }

    /// Bytes of the server: the answer to the SSLRequest, or the login's messages. What stands behind the last of them
    /// is left in `input`.
    pub fn input(mut self, gate: &mut Gate, around: &mut dyn Surroundings, input: &mut &[u8]) -> Step {
        match self.stage {
            ServerStage::ExpectEncryption => match encryption::answer(std::mem::take(input)) {
                Ok(Answer::Awaited) => Some(self),
                Ok(Answer::Accepted) => {
                    self.stage = ServerStage::ExpectTls;
                    gate.orders.push_back(Order::StartServerTls);
                    Some(self)
                }
                Err(fault) => self.encryption_failed(gate, around, &fault),
            },
            ServerStage::LoggingIn(_) => self.messages(gate, around, input),
            ServerStage::AwaitCredential(_) => {
                *input = &[];
                Some(self)
            }
            // A server that speaks before it is spoken to.
            ServerStage::Connecting | ServerStage::ExpectTls | ServerStage::AwaitRecord => {
                let words = "the server spoke before it was spoken to";
                self.fail(gate, around, EndReason::UpstreamProtocol, &words)
            }
        }
    }

    fn messages(mut self, gate: &mut Gate, around: &mut dyn Surroundings, input: &mut &[u8]) -> Step {
        let mut assembler = std::mem::take(&mut self.assembler);
        while let ServerStage::LoggingIn(login) = &mut self.stage {
            let all: &[u8] = input;
            let progress = match assembler.take_message(all, login::most) {
                Ok(taken) => {
                    *input = all.get(taken.consumed..).unwrap_or_default();
                    let Some(message) = taken.message else { break };
                    login.handle(message, &mut gate.to_server)
                }
                Err(error) => Err(error.into()),
            };
            self = match progress {
                Ok(Progress::Continue) => self,
                Ok(Progress::NeedKeys { salt, iterations }) => {
                    gate.orders.push_back(Order::DeriveKeys { salt, iterations });
                    self
                }
                Ok(Progress::NeedPassword) => self.give_password(gate, around)?,
                Ok(Progress::Ready(ready)) => return self.ready(gate, around, ready),
                Err(error) => return self.login_failed(gate, around, &error),
            };
        }
        self.assembler = assembler;
        Some(self)
    }

    fn give_password(mut self, gate: &mut Gate, around: &mut dyn Surroundings) -> Step {
        let ServerStage::LoggingIn(login) = &mut self.stage else {
            return Some(self);
        };
        let given = around
            .password()
            .map(|password| login.give_password(&password, &mut gate.to_server));
        match given {
            Some(Ok(())) => Some(self),
            Some(Err(error)) => self.give_up(gate, around, &error),
            None => self.fail(
                gate,
                around,
                EndReason::UpstreamCredentials,
                &"the role's password is gone",
            ),
        }
    }

    pub fn keys(mut self, gate: &mut Gate, around: &mut dyn Surroundings, keys: Option<&Keys>) -> Step {
        let ServerStage::LoggingIn(login) = &mut self.stage else {
            return Some(self);
        };
        match keys.map(|keys| login.give_keys(keys, &mut gate.to_server)) {
            Some(Ok(())) => Some(self),
            Some(Err(error)) => self.give_up(gate, around, &error),
            None => {
                let words = "the SCRAM keys of the role's password cannot be derived";
                self.fail(gate, around, EndReason::UpstreamCredentials, &words)
            }
        }
    }

    /// The server is ready. The permission is looked at once more if the policy has changed since.
    fn ready(mut self, gate: &mut Gate, around: &mut dyn Surroundings, ready: Established) -> Step {
        if let Err(why) = self.still_permitted(around) {
            return self.revoked(gate, around, why);
        }
        let Permitted {
            claim, standing, scram, ..
        } = self.permitted;
        let out = &mut gate.to_client;
        if let Some(proven) = scram {
            authentication::encode_sasl_final(out, &proven.server_final);
        }
        authentication::encode_ok(out);
        out.extend_from_slice(&ready.greeting);
        let process_id = ready.cancel_key.as_ref().map(UpstreamCancelKey::process_id);
        if let Some(process_id) = process_id {
            let secret = around.show_cancel_key(process_id);
            let length = if claim.spoken.has_long_cancel_keys() {
                secret.len()
            } else {
                4
            };
            BackendKeyData {
                process_id,
                key: &secret[..length],
            }
            .encode(out);
        }
        encode_ready_for_query(out, TransactionStatus::Idle);
        let now = around.now();
        let upstream_micros = now.micros_since(self.since);
        let passage = Passage::new(standing, ready.cancel_key, upstream_micros, now);
        gate.orders.push_back(Order::Relay(Box::new(passage)));
        None
    }

    fn still_permitted(&mut self, around: &mut dyn Surroundings) -> Result<(), EndReason> {
        let in_force = around.in_force();
        if self.permitted.standing.generation == in_force.snapshot.generation() {
            return Ok(());
        }
        let utc = around.utc();
        let known = around.certificates();
        self.permitted.standing.recheck(&in_force, known, utc)
    }

    /// The policy in force has changed.
    pub fn policy_changed(mut self, gate: &mut Gate, around: &mut dyn Surroundings) -> Step {
        match self.still_permitted(around) {
            Ok(()) => Some(self),
            Err(why) => self.revoked(gate, around, why),
        }
    }

    fn revoked(self, gate: &mut Gate, around: &dyn Surroundings, why: EndReason) -> Step {
        let denial = self.permitted.claim.denial(Reason::PolicyChanged);
        self.over(gate, around, why, Finding::None, Some(&denial))
    }
}

/// A name of the policy, shared.
pub(super) fn name(text: &str) -> Name {
    Name::from(text)
}
