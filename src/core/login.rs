//! Driving a gate: bytes and completions in, orders carried out.

use std::fmt::Display;
use std::sync::Arc;

use crate::audit::{Attempt, End, Outcome as Came, Reason, Record, Server, Telling, Ticket};
use crate::control::messages::Request;
use crate::control::providers::Ask;
use crate::identity::scram::Keys;
use crate::identity::webhook::{Answer, Question, WebhookOrigin};
use crate::metrics::{Stage, UpstreamResult};
use crate::ring::{Errno, Segment, socket};
use crate::session::{Gate, Order, Passage, Surroundings};

use super::around::Around;
use super::connection::{Front, Login, Phase};
use super::line::{Side, Socket};
use super::run::{Core, Operation, tag};

/// Plaintext that a client may send before its session is let through: a driver that pipelines sends a query or two.
const MOST_EARLY: usize = 64 * 1024;

impl Core {
    pub(super) fn login(&mut self, index: u32) -> Option<&mut Login> {
        match &mut self.table.get(index)?.phase {
            Phase::Login(login) => Some(login),
            Phase::Relay(_) | Phase::Errand(_) | Phase::Closing { .. } => None,
        }
    }

    pub(super) fn login_input(&mut self, index: u32, side: Side, segment: Segment) {
        match side {
            Side::Client => {
                let proxied = self
                    .login(index)
                    .is_some_and(|login| matches!(login.front, Front::Proxy { .. }));
                if proxied {
                    self.proxy_header(index, segment.bytes())
                } else {
                    self.client_segment(index, segment)
                }
            }
            Side::Server => self.server_segment(index, segment),
        }
    }

    /// Bytes of the client that stand in no received buffer: what was behind a PROXY header.
    pub(super) fn client_bytes(&mut self, index: u32, bytes: &[u8]) {
        self.in_own_buffers(index, bytes, Self::client_segment);
    }

    pub(super) fn in_own_buffers(&mut self, index: u32, bytes: &[u8], each: impl Fn(&mut Self, u32, Segment)) {
        let own = self.ring.own_buffers().clone();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(mut segment) = own.take_secret() else {
                return self.starve_out(index);
            };
            rest = rest.get(segment.append(rest)..).unwrap_or_default();
            each(self, index, segment);
        }
    }

    fn client_segment(&mut self, index: u32, segment: Segment) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let encrypted = connection.client.tls.is_some();
        // A password or a token may be in it.
        if matches!(connection.phase, Phase::Login(_)) {
            segment.mark_secret();
        }
        match &mut connection.phase {
            Phase::Login(login) if login.client_handshake.is_some() => self.client_handshake(index, segment.bytes()),
            Phase::Login(_) if encrypted => self.login_records(index, Side::Client, segment),
            Phase::Login(_) => self.client_plaintext(index, segment),
            Phase::Relay(_) => self.relay_input(index, Side::Client, segment),
            Phase::Errand(_) | Phase::Closing { .. } => {}
        }
    }

    fn client_plaintext(&mut self, index: u32, mut segment: Segment) {
        let mut rest = 0;
        self.gate(index, |gate, around| {
            let mut input = segment.bytes();
            gate.handle_client(around, &mut input);
            rest = input.len();
        });
        segment.consume(segment.len() - rest);
        if segment.is_empty() {
            return;
        }
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let handshaking = matches!(&connection.phase, Phase::Login(login) if login.client_handshake.is_some());
        match &mut connection.phase {
            // Direct TLS: what began the handshake belongs to it.
            Phase::Login(_) if handshaking => self.client_handshake(index, segment.bytes()),
            Phase::Login(login) if login.early.len() + segment.len() <= MOST_EARLY => {
                login.early.extend_from_slice(segment.bytes());
            }
            Phase::Login(_) => self.login_ended(index, Side::Client),
            Phase::Relay(_) => self.relay(index, Side::Client, segment),
            Phase::Errand(_) | Phase::Closing { .. } => {}
        }
    }

    pub(super) fn server_segment(&mut self, index: u32, segment: Segment) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let encrypted = connection.server.tls.is_some();
        match &mut connection.phase {
            Phase::Login(login) if login.server_handshake.is_some() => self.server_handshake(index, segment.bytes()),
            Phase::Login(_) if encrypted => self.login_records(index, Side::Server, segment),
            Phase::Login(_) => self.server_plaintext(index, segment),
            Phase::Relay(_) => self.relay_input(index, Side::Server, segment),
            Phase::Errand(_) | Phase::Closing { .. } => {}
        }
    }

    fn server_plaintext(&mut self, index: u32, mut segment: Segment) {
        let mut rest = 0;
        self.gate(index, |gate, around| {
            let mut input = segment.bytes();
            gate.handle_server(around, &mut input);
            rest = input.len();
        });
        segment.consume(segment.len() - rest);
        if !segment.is_empty() && self.passage(index).is_some() {
            self.relay(index, Side::Server, segment);
        }
    }

    /// Opens records while the gate is at work. It may end in the middle of them, and the rest is relay.
    fn login_records(&mut self, index: u32, side: Side, segment: Segment) {
        let mut opened = std::mem::take(&mut self.opened);
        let result = self.open_records(index, side, segment, &mut opened);
        for plaintext in opened.drain(..) {
            match (side, self.passage(index).is_some()) {
                (_, true) => self.relay(index, side, plaintext),
                (Side::Client, false) => self.client_plaintext(index, plaintext),
                (Side::Server, false) => self.server_plaintext(index, plaintext),
            }
        }
        self.opened = opened;
        self.send_owed(index, side);
        match result {
            Ok(result) if result.closed || result.error.is_some() => self.login_ended(index, side),
            Ok(_) => {}
            Err(_) => self.starve_out(index),
        }
    }

    /// One step of the gate, then everything that it orders.
    pub(super) fn gate(&mut self, index: u32, step: impl FnOnce(&mut Gate, &mut dyn Surroundings)) {
        let in_force = self.policy.load().clone();
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let Phase::Login(login) = &mut connection.phase else {
            return;
        };
        let Front::Gate(gate) = &mut login.front else { return };
        let mut around = Around {
            shared: &self.shared,
            in_force,
            reference: connection.reference,
            latencies: &mut self.latencies,
            interned: &mut self.interned,
            shared_destinations: &mut self.destinations,
            tokens: &mut self.tokens,
            certificates: &mut self.certificates,
            admission: &mut connection.admission,
            destinations: &mut login.destinations,
            credential: &mut login.credential,
        };
        step(gate, &mut around);
        self.carry_out(index);
    }

    fn carry_out(&mut self, index: u32) {
        loop {
            let Some(Login {
                front: Front::Gate(gate),
                ..
            }) = self.login(index)
            else {
                return;
            };
            let (to_client, to_server, order) = (gate.take_to_client(), gate.take_to_server(), gate.poll_order());
            let deadline = gate.deadline();
            self.send_own(index, Side::Client, &to_client);
            self.send_own(index, Side::Server, &to_server);
            match order {
                Some(order) => self.obey(index, order),
                None => return self.wake(index, deadline),
            }
        }
    }

    fn obey(&mut self, index: u32, order: Order) {
        match order {
            Order::StartClientTls { ask_certificate } => self.start_client_tls(index, ask_certificate),
            Order::Connect { candidate } => self.connect(index, candidate),
            Order::StartServerTls => self.start_server_tls(index),
            Order::CloseServer => self.close_line(index, Side::Server),
            Order::DeriveKeys { salt, iterations } => self.derive_keys(index, &salt, iterations),
            Order::ReadCredential { cluster, role } => self.read_credential(index, &cluster, &role),
            Order::FetchKeys { provider } => self.fetch_keys(index, &provider),
            Order::AskWebhook {
                provider,
                origin,
                question,
            } => self.ask_webhook(index, &provider, origin, question),
            Order::RecordAttempt { attempt, tell: true } => self.record_permit(index, attempt),
            Order::RecordAttempt { attempt, tell: false } => {
                self.count_attempt(attempt.outcome, attempt.reason);
                self.shared.recorder.record(Record::Attempt(attempt));
            }
            Order::RecordEnd(end) => self.record_end(end),
            Order::Cancel { process_id, key } => self.cancel_request(index, process_id, &key),
            Order::Relay(passage) => self.let_through(index, *passage),
            Order::Close => self.finish(index),
        }
    }

    fn record_permit(&mut self, index: u32, attempt: Box<Attempt>) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let ticket = Ticket {
            core: self.id,
            session: connection.reference.bits(),
        };
        match self.shared.recorder.record_and_tell(attempt, ticket) {
            Ok(Telling::Later) => {}
            Ok(Telling::Now) => self.recorded(index, true),
            Err(_) => self.recorded(index, false),
        }
    }

    /// The permit's record is written, or never will be.
    pub(super) fn recorded(&mut self, index: u32, written: bool) {
        if written {
            self.count_attempt(Came::Permitted, Reason::Ok);
        }
        self.gate(index, |gate, around| gate.handle_recorded(around, written));
    }

    fn record_end(&mut self, end: Box<End>) {
        self.metrics().ends.one(end.how);
        self.shared.recorder.record(Record::End(end));
    }

    /// Connects to a candidate, once the slot of the one before is free.
    pub(super) fn connect(&mut self, index: u32, candidate: usize) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let Phase::Login(login) = &mut connection.phase else {
            return;
        };
        if connection.server.socket != Socket::None {
            login.candidate = Some(candidate);
            return;
        }
        let Some(destination) = login.destinations.get(candidate).cloned() else {
            return;
        };
        login.server_handshake = None;
        connection.destination = Some(destination.clone());
        match socket::connecting(&destination.address).and_then(|fd| self.open_line(index, Side::Server, fd)) {
            Ok(()) => self.start_connecting(index, &destination.address),
            Err(errno) if errno.is_exhaustion() => {
                self.gate(index, |gate, around| gate.handle_exhausted(around, &errno));
            }
            Err(errno) => self.unreachable(index, &errno),
        }
    }

    pub(super) fn start_connecting(&mut self, index: u32, address: &socket::Address) {
        let slot = self.slot(index, Side::Server);
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let tag = tag(Operation::Connect, Side::Server, index, connection.server.generation);
        self.ring.connect(slot, address.clone(), tag);
    }

    pub(super) fn connected(&mut self, index: u32, connected: Result<(), Errno>) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        if connection.server.socket != Socket::Open {
            return;
        }
        let server = connection.destination.as_ref().map(|to| Server {
            address: to.server.clone(),
            process: None,
        });
        match (&connection.phase, connected, server) {
            (Phase::Login(_), Ok(()), Some(server)) => {
                self.resume_receive(index, Side::Server);
                self.gate(index, |gate, around| gate.handle_connected(around, server));
            }
            (Phase::Login(_), Err(errno), _) => self.unreachable(index, &errno),
            (Phase::Login(_), Ok(()), None) => self.unreachable(index, &"it has no address"),
            (Phase::Errand(_), result, _) => self.errand_connected(index, result),
            (Phase::Relay(_) | Phase::Closing { .. }, _, _) => {}
        }
    }

    fn unreachable(&mut self, index: u32, why: &dyn Display) {
        self.metrics().upstream_connects.one(UpstreamResult::Unreachable);
        self.gate(index, |gate, around| gate.handle_unreachable(around, why));
    }

    fn derive_keys(&mut self, index: u32, salt: &[u8], iterations: u32) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let ticket = Ticket {
            core: self.id,
            session: connection.reference.bits(),
        };
        let Phase::Login(login) = &mut connection.phase else {
            return;
        };
        let Some(credential) = login.credential.clone() else {
            return;
        };
        if let Some(keys) = credential.client_keys(salt, iterations) {
            return self.keys(index, Some(&keys));
        }
        let request = Request::DeriveClientKeys {
            credential,
            salt: salt.into(),
            iterations,
            ticket,
        };
        if self.shared.requests.ask(request).is_err() {
            self.keys(index, None);
        }
    }

    pub(super) fn keys(&mut self, index: u32, keys: Option<&Arc<Keys>>) {
        self.gate(index, |gate, around| gate.handle_keys(around, keys.map(|keys| &**keys)));
    }

    fn read_credential(&mut self, index: u32, cluster: &str, role: &str) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let ticket = Ticket {
            core: self.id,
            session: connection.reference.bits(),
        };
        let refused = self.login(index).and_then(|login| login.credential.clone());
        let asked = refused.map(|refused| {
            self.shared.requests.ask(Request::ReadCredential {
                cluster: cluster.into(),
                role: role.into(),
                refused: refused.version(),
                ticket,
            })
        });
        if !matches!(asked, Some(Ok(()))) {
            self.credential_read(index, false);
        }
    }

    pub(super) fn credential_read(&mut self, index: u32, changed: bool) {
        self.gate(index, |gate, around| gate.handle_credential_read(around, changed));
    }

    fn fetch_keys(&mut self, index: u32, provider: &str) {
        let asked = self.ticket(index).map(|ticket| {
            self.shared.providers.ask(Ask::Refetch {
                provider: provider.into(),
                ticket,
            })
        });
        if !matches!(asked, Some(Ok(()))) {
            self.keys_fetched(index, false);
        }
    }

    pub(super) fn keys_fetched(&mut self, index: u32, asked: bool) {
        self.gate(index, |gate, around| gate.handle_keys_fetched(around, asked));
    }

    fn ask_webhook(&mut self, index: u32, provider: &str, origin: WebhookOrigin, question: Box<Question>) {
        let asked = self.ticket(index).map(|ticket| {
            self.shared.providers.ask(Ask::Webhook {
                provider: provider.into(),
                origin,
                question,
                ticket,
            })
        });
        if !matches!(asked, Some(Ok(()))) {
            let why = "too many questions wait to be asked".into();
            self.answered(index, Answer::Unavailable { why });
        }
    }

    pub(super) fn answered(&mut self, index: u32, answer: Answer) {
        self.gate(index, |gate, around| gate.handle_answer(around, answer));
    }

    /// What an answer from elsewhere finds the connection by.
    fn ticket(&mut self, index: u32) -> Option<Ticket> {
        let connection = self.table.get(index)?;
        Some(Ticket {
            core: self.id,
            session: connection.reference.bits(),
        })
    }

    /// The session begins: what was needed for the login goes, what the client sent early comes first.
    fn let_through(&mut self, index: u32, passage: Passage) {
        let now = self.shared.clock.mono();
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let Phase::Login(login) = std::mem::replace(&mut connection.phase, Phase::Relay(passage)) else {
            return;
        };
        self.latencies
            .record(Stage::Attempt, now.0.saturating_sub(login.accepted.0));
        self.metrics().upstream_connects.one(UpstreamResult::Ready);
        self.metrics().sessions_open.up();
        self.schedule(index);
        self.in_own_buffers(index, &login.early, |core, index, segment| {
            core.relay(index, Side::Client, segment)
        });
        if self.draining.is_some() {
            self.end_if_quiet(index);
        }
    }

    /// One side has closed, or failed, before the session began.
    pub(super) fn login_ended(&mut self, index: u32, side: Side) {
        let front = self.login(index).map(|login| matches!(login.front, Front::Gate(_)));
        match (front, side) {
            (Some(true), Side::Client) => self.gate(index, |gate, around| gate.handle_client_closed(around)),
            (Some(true), Side::Server) => self.unreachable(index, &"the server closed the connection"),
            (Some(false), _) => {
                let proxy = self.login(index).and_then(|login| match &login.front {
                    Front::Proxy { proxy, .. } => Some(*proxy),
                    Front::Gate(_) => None,
                });
                if let Some(proxy) = proxy {
                    self.refuse_proxy(index, proxy, Reason::ProxyProtocolMissing);
                }
            }
            (None, _) => {}
        }
    }
}
