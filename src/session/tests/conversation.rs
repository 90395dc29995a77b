//! A gate between a scripted client and a scripted server.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postern_policy::authenticate::Source;
use postern_policy::decide::Permit;
use postern_policy::model::{
    AuthenticationRule, Cluster, ClusterChoice, Endpoint, Grant, Identity, Method, Model, NamePattern, RoleCredential,
    ScramVerifier, ServerMethod, ServerTls, ServerTlsMode, Subjects,
};
use postern_policy::snapshot::Snapshot;

use crate::audit::{Attempt, End, Peer, Server, ServerAddress, SessionIds};
use crate::config;
use crate::core::failures::Failures;
use crate::identity::certificate;
use crate::identity::scram::{self, client, verifier};
use crate::identity::token::cache::Cache;
use crate::identity::token::{KeySet, KnownIssuer, OneTime};
use crate::identity::webhook::Question;
use crate::in_force::InForce;
use crate::secret::Secret;
use crate::session::{Entrance, Gate, NoRoute, Order, Passage, Route, Spent, Surroundings, Terms, TlsMode, UsableKeys};
use crate::time::{Mono, Utc};
use crate::wire::authentication::{self, Authentication, SaslInitialResponse};
use crate::wire::backend::{self, BackendKeyData, ParameterStatus, TransactionStatus};
use crate::wire::initial::{self, ProtocolVersion};

pub const PASSWORD: &[u8] = b"marker-password";
pub const SERVER_PROCESS: u32 = 4242;

/// One identity `alice`, one grant to database `app` as role `app_rw`, SCRAM everywhere.
pub fn model() -> Model {
    let mut model = Model::default();
    static VERIFIER: OnceLock<ScramVerifier> = OnceLock::new();
    let scram = Some(
        VERIFIER
            .get_or_init(|| verifier::make(PASSWORD, &[7; 16], 4096))
            .clone(),
    );
    model.identities.insert(
        "alice".into(),
        Identity {
            scram,
            ..Identity::default()
        },
    );
    let role = RoleCredential {
        password_file: Some("app_rw".into()),
        methods: BTreeSet::from([ServerMethod::Trust]),
        ..RoleCredential::default()
    };
    let cluster = Cluster {
        tenant: None,
        endpoints: vec![Endpoint::Tcp {
            host: "192.0.2.1".into(),
            port: 5432,
        }],
        tls: ServerTls {
            mode: ServerTlsMode::Disable,
            ..ServerTls::default()
        },
        connect_timeout: 3_000,
        login_timeout: 10_000,
        postern_settings: true,
        roles: BTreeMap::from([("app_rw".into(), role)]),
    };
    model.clusters.insert("main".into(), cluster);
    model.grants.insert("alice-app".into(), grant());
    model.authentication.push(AuthenticationRule {
        name: "everyone".into(),
        method: Method::ScramSha256,
        scram_iterations: 4096,
        ..AuthenticationRule::default()
    });
    model
}

pub fn grant() -> Grant {
    Grant {
        subjects: Subjects {
            identities: BTreeSet::from(["alice".into()]),
            ..Subjects::default()
        },
        databases: vec![NamePattern::Exact("app".into())],
        cluster: ClusterChoice::Named("main".into()),
        role: "app_rw".into(),
        settings: BTreeMap::from([("statement_timeout".into(), "30s".into())]),
        ..Grant::default()
    }
}

/// What the gate sees of the world. Randomness is a counter: conversations repeat byte for byte.
pub struct World {
    pub now: Mono,
    pub in_force: Arc<InForce>,
    pub places: u32,
    pub route: Route,
    /// Of the role.
    pub password: Option<Secret>,
    pub utc: Utc,
    /// What issuers have published, by provider.
    pub keys: HashMap<String, Arc<KeySet>>,
    pub keys_generation: u64,
    pub tokens: Cache,
    pub certificates: certificate::Cache,
    /// Tokens that count once, and have.
    pub spent: HashMap<[u8; 32], Utc>,
    pub room_for_spent: usize,
    /// Switched off, where a test has not switched it on.
    pub failures: Arc<Failures>,
    random: u8,
}

impl World {
    pub fn new(model: &Model) -> Self {
        Self {
            now: Mono(1_000_000),
            in_force: in_force(model, 1),
            places: 1,
            route: Route {
                candidates: 1,
                connect_timeout: 3_000,
                login_timeout: 10_000,
                tls: false,
                fully_verified: false,
                postern_settings: true,
                methods: BTreeSet::from([ServerMethod::Trust]),
                has_password: false,
            },
            password: None,
            utc: Utc(1_700_000_000_000_000),
            keys: HashMap::new(),
            keys_generation: 1,
            tokens: Cache::new(1 << 20),
            certificates: certificate::Cache::new(1 << 20),
            spent: HashMap::new(),
            room_for_spent: usize::MAX,
            failures: Arc::new(failures(false)),
            random: 0,
        }
    }
}

/// With the defaults of the configuration.
pub fn failures(enabled: bool) -> Failures {
    let config = config::Failures {
        enabled,
        window: Duration::from_secs(60),
        delay_after: 5,
        delay: Duration::from_millis(100),
        delay_max: Duration::from_secs(5),
        refuse_after: 100,
        refuse_for: Duration::from_secs(60),
        exempt: Vec::new(),
    };
    Failures::new(&config, [1; 16])
}

pub fn in_force(model: &Model, generation: u64) -> Arc<InForce> {
    let snapshot = Snapshot::of(model, generation).expect("a valid policy");
    Arc::new(InForce::new(snapshot).expect("a policy that trusts"))
}

impl Surroundings for World {
    fn now(&self) -> Mono {
        self.now
    }

    fn utc(&self) -> Utc {
        self.utc
    }

    fn in_force(&self) -> Arc<InForce> {
        self.in_force.clone()
    }

    fn gate_secret(&self) -> &[u8; 32] {
        &[9; 32]
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.random += 1;
        bytes.fill(self.random);
    }

    fn enter(&mut self, _identity: &str, _grant: &str, _limit: Option<u32>) -> bool {
        let free = self.places > 0;
        self.places = self.places.saturating_sub(1);
        free
    }

    fn leave(&mut self) {
        self.places += 1;
    }

    fn route(&mut self, _in_force: &InForce, _permit: &Permit) -> Result<Route, NoRoute> {
        Ok(self.route.clone())
    }

    fn show_cancel_key(&mut self, _process_id: u32) -> [u8; 32] {
        [5; 32]
    }

    fn password(&self) -> Option<Secret> {
        self.password.clone()
    }

    fn terms(&mut self, terms: Terms) -> Arc<Terms> {
        Arc::new(terms)
    }

    fn keys_of(&self, issuer: &KnownIssuer) -> Result<UsableKeys, Box<str>> {
        let set = self.keys.get(&*issuer.name).ok_or("the keys are too old")?;
        Ok(UsableKeys {
            set: set.clone(),
            generation: self.keys_generation,
        })
    }

    fn tokens(&mut self) -> &mut Cache {
        &mut self.tokens
    }

    fn certificates(&mut self) -> &mut certificate::Cache {
        &mut self.certificates
    }

    fn spend(&mut self, once: &OneTime) -> Spent {
        if self.spent.contains_key(&once.id) {
            return Spent::Replayed;
        }
        if self.spent.len() >= self.room_for_spent {
            return Spent::Full;
        }
        self.spent.insert(once.id, once.until);
        Spent::Fresh
    }

    fn refuses_proofs_from(&self, source: Source) -> bool {
        self.failures.refuses(source, self.now)
    }

    fn failed(&mut self, source: Source, name: &str) -> u64 {
        self.failures.failed(source, name, self.now);
        self.failures.delay(source, name, self.now)
    }

    fn decided(&mut self, _permitted: bool, _nanoseconds: u64) {}
}

/// A gate, what it has said, and what it has asked for.
pub struct Conversation {
    pub gate: Gate,
    pub world: World,
    /// Bytes per call towards the gate; the whole input where it is large.
    pub piece: usize,
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
    pub attempts: Vec<Attempt>,
    pub ends: Vec<End>,
    pub passage: Option<Box<Passage>>,
    pub connects: Vec<usize>,
    pub cancels: Vec<(u32, Vec<u8>)>,
    /// Providers whose keys were to be fetched.
    pub fetches: Vec<String>,
    pub questions: Vec<(String, Question)>,
    /// How often the role's secret was to be read again.
    pub rereads: usize,
    pub closed: bool,
    /// Whether the record's writer works.
    pub recording: bool,
    /// How many events later it tells that a permit is written, and then it always is.
    pub delay: u8,
    /// So many events until it does.
    pub waiting: Option<u8>,
    /// Input that the gate has left for the relay.
    pub left_over: Vec<u8>,
    /// As `left_over`, of the server.
    pub left_over_of_server: Vec<u8>,
}

impl Conversation {
    pub fn new(world: World, piece: usize, tls: TlsMode) -> Self {
        let entrance = Entrance {
            session: SessionIds::new(1, 0).draw(),
            listener: "local".into(),
            tls,
            peer: Peer::Ip(([127, 0, 0, 1], 40_000).into()),
            proxy: None,
            accepted: world.now,
            startup_timeout: 10_000,
            authentication_timeout: 60_000,
            refusing: None,
        };
        Self {
            gate: Gate::new(entrance),
            world,
            piece,
            to_client: Vec::new(),
            to_server: Vec::new(),
            attempts: Vec::new(),
            ends: Vec::new(),
            passage: None,
            connects: Vec::new(),
            cancels: Vec::new(),
            fetches: Vec::new(),
            questions: Vec::new(),
            rereads: 0,
            closed: false,
            recording: true,
            delay: 0,
            waiting: None,
            left_over: Vec::new(),
            left_over_of_server: Vec::new(),
        }
    }

    /// The client sends; piece by piece.
    pub fn client(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let mut input = piece;
            if !self.closed && self.left_over.is_empty() {
                self.gate.handle_client(&mut self.world, &mut input);
            }
            self.left_over.extend_from_slice(input);
            self.drain();
        }
    }

    pub fn server(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let mut input = piece;
            self.gate.handle_server(&mut self.world, &mut input);
            self.left_over_of_server.extend_from_slice(input);
            self.drain();
        }
    }

    pub fn time(&mut self, millis: u64) {
        self.world.now = self.world.now.after_millis(millis);
        self.gate.handle_timeout(&mut self.world);
        self.drain();
    }

    /// An event has passed.
    pub fn event(&mut self) {
        self.waiting = match self.waiting {
            Some(0) => {
                self.gate.handle_recorded(&mut self.world, true);
                self.drain();
                None
            }
            waiting => waiting.map(|events| events - 1),
        };
    }

    pub fn connected(&mut self) {
        let address = ServerAddress::Ip(([192, 0, 2, 1], 5432).into());
        self.gate
            .handle_connected(&mut self.world, Server { address, process: None });
        self.drain();
    }

    /// Sends what is to be sent and carries out every order.
    pub fn drain(&mut self) {
        loop {
            self.to_client.extend_from_slice(&self.gate.take_to_client());
            self.to_server.extend_from_slice(&self.gate.take_to_server());
            match self.gate.poll_order() {
                None => return,
                Some(order) => self.obey(order),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        assert!(!self.closed, "an order behind the close");
        match order {
            Order::RecordAttempt { attempt, tell } => {
                if !tell || self.recording || self.delay > 0 {
                    self.attempts.push(*attempt);
                }
                match (tell, self.delay) {
                    (false, _) => {}
                    (true, 0) => self.gate.handle_recorded(&mut self.world, self.recording),
                    (true, events) => self.waiting = Some(events),
                }
            }
            Order::RecordEnd(end) => self.ends.push(*end),
            Order::Connect { candidate } => self.connects.push(candidate),
            Order::Cancel { process_id, key } => self.cancels.push((process_id, key)),
            Order::ReadCredential { .. } => self.rereads += 1,
            Order::FetchKeys { provider } => self.fetches.push(provider.to_string()),
            Order::AskWebhook { provider, question, .. } => self.questions.push((provider.to_string(), *question)),
            Order::Relay(passage) => self.passage = Some(passage),
            Order::Close => self.closed = true,
            Order::DeriveKeys { salt, iterations } => {
                let keys = self.world.password.as_ref();
                let keys = keys.map(|password| keys_of(password.expose(), &salt, iterations));
                self.gate.handle_keys(&mut self.world, keys.as_ref());
            }
            Order::CloseServer | Order::StartClientTls { .. } | Order::StartServerTls => {}
        }
    }

    /// SQLSTATE and text of the error that the client has got.
    pub fn error(&self) -> Option<(String, String)> {
        let at = self
            .to_client
            .windows(5)
            .rposition(|window| window[0] == b'E' && window[1..3] == [0, 0])?;
        let fields = crate::wire::error::Fields::decode(self.to_client.get(at + 5..)?).ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(&fields.sqlstate()?), text(fields.message()?)))
    }
}

/// A StartupMessage of protocol 3.0.
pub fn startup(pairs: &[(&str, &str)]) -> Vec<u8> {
    startup_of(ProtocolVersion::V3_0, pairs)
}

pub fn startup_of(version: ProtocolVersion, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    initial::encode_startup(
        &mut out,
        version,
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    out
}

/// The client's end of SCRAM, driven by what the gate has sent.
pub fn prove(conversation: &mut Conversation, password: &[u8]) {
    prove_bound(conversation, password, client::Binding::None, &[]);
}

/// As [`prove`], bound to the channel where there is something to bind to, and with `behind` in the last message's segment.
pub fn prove_bound(conversation: &mut Conversation, password: &[u8], binding: client::Binding<'_>, behind: &[u8]) {
    let mechanism = match binding {
        client::Binding::EndPoint(_) => scram::SCRAM_SHA_256_PLUS,
        client::Binding::None | client::Binding::NotOffered => scram::SCRAM_SHA_256,
    };
    let mut first = Vec::new();
    let expect = client::begin(binding, [1; scram::NONCE_BYTES], &mut first);
    let mut message = Vec::new();
    let response = SaslInitialResponse {
        mechanism: mechanism.as_bytes(),
        data: Some(&first),
    };
    response.encode(&mut message);
    conversation.client(&message);
    let Some(server_first) = last_sasl(&after_refusals(conversation)) else {
        return;
    };
    let need = expect.handle(&server_first, 1_000_000).expect("a good first message");
    let keys = keys_of(password, &need.salt, need.iterations);
    let mut last = Vec::new();
    let _expect_final = need.proceed(&keys, &mut last);
    let mut message = Vec::new();
    authentication::encode_sasl_response(&mut message, &last);
    message.extend_from_slice(behind);
    conversation.client(&message);
}

/// PBKDF2 once for each salt: many conversations are the same up to here.
fn keys_of(password: &[u8], salt: &[u8], iterations: u32) -> scram::Keys {
    type Known = HashMap<(Vec<u8>, Vec<u8>, u32), scram::Keys>;
    thread_local!(static KNOWN: RefCell<Known> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        let key = (password.to_vec(), salt.to_vec(), iterations);
        known
            .entry(key)
            .or_insert_with(|| scram::derive(password, salt, iterations))
            .clone()
    })
}

/// What the gate has said, without its answers to requests for encryption.
pub fn after_refusals(conversation: &Conversation) -> Vec<u8> {
    let start = conversation.to_client.iter().take_while(|byte| **byte == b'N').count();
    conversation.to_client[start..].to_vec()
}

/// The last SCRAM message that the gate has sent.
pub fn last_sasl(sent: &[u8]) -> Option<Vec<u8>> {
    let mut rest = sent;
    let mut found = None;
    while let Some((header, _)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize + 1;
        let body = rest.get(5..length)?;
        if header[0] == b'R'
            && let Ok(Authentication::SaslContinue(data)) = Authentication::decode(body)
        {
            found = Some(data.to_vec());
        }
        rest = rest.get(length..)?;
    }
    found
}

/// What a server says from AuthenticationOk to ReadyForQuery.
pub fn server_greeting() -> Vec<u8> {
    [server_ok(), server_greeting_behind_ok()].concat()
}

pub fn server_ok() -> Vec<u8> {
    let mut out = Vec::new();
    authentication::encode_ok(&mut out);
    out
}

pub fn server_greeting_behind_ok() -> Vec<u8> {
    let mut out = Vec::new();
    ParameterStatus {
        name: b"server_version",
        value: b"15.18",
    }
    .encode(&mut out);
    BackendKeyData {
        process_id: SERVER_PROCESS,
        key: b"key!",
    }
    .encode(&mut out);
    backend::encode_ready_for_query(&mut out, TransactionStatus::Idle);
    out
}
