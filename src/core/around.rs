//! What a gate may ask for, answered by its core.

use std::sync::Arc;

use postern_policy::authenticate::Source;
use postern_policy::decide::Permit;
use postern_policy::model::ServerTlsMode;
use postern_policy::view::{ClusterView, EndpointView};

use crate::audit::{Name, ServerAddress};
use crate::control::credentials::Credential;
use crate::control::resolve::Addresses;
use crate::identity::certificate;
use crate::identity::token::cache::Cache;
use crate::identity::token::{KnownIssuer, OneTime};
use crate::in_force::InForce;
use crate::metrics::{Decided, Latencies, Stage};
use crate::ring::socket::Address;
use crate::secret::Secret;
use crate::session::{NoRoute, Route, Spent, Surroundings, Terms, UsableKeys};
use crate::time::{Mono, Utc};

use super::admission;
use super::connection::Destination;
use super::destinations::Destinations;
use super::failures::Room;
use super::interned::Interned;
use super::reference::SessionReference;
use super::shared::Shared;

/// Made for one step of one gate.
pub(super) struct Around<'a> {
    pub shared: &'a Shared,
    pub in_force: Arc<InForce>,
    pub reference: SessionReference,
    pub latencies: &'a mut Latencies,
    pub interned: &'a mut Interned,
    pub shared_destinations: &'a mut Destinations,
    pub tokens: &'a mut Cache,
    pub certificates: &'a mut certificate::Cache,
    pub admission: &'a mut Option<admission::Key>,
    pub destinations: &'a mut Arc<[Arc<Destination>]>,
    pub credential: &'a mut Option<Arc<Credential>>,
}

impl Surroundings for Around<'_> {
    fn now(&self) -> Mono {
        self.shared.clock.mono()
    }

    fn utc(&self) -> Utc {
        self.shared.clock.utc()
    }

    fn in_force(&self) -> Arc<InForce> {
        self.in_force.clone()
    }

    fn gate_secret(&self) -> &[u8; 32] {
        &self.shared.gate_secret
    }

    fn random(&mut self, bytes: &mut [u8]) {
        // The generator is seeded when the library starts; it fails only where the kernel has no randomness at all.
        if aws_lc_rs::rand::fill(bytes).is_err() {
            unreachable!("the system's random source failed");
        }
    }

    fn enter(&mut self, identity: &str, grant: &str, limit: Option<u32>) -> bool {
        *self.admission = self.shared.admission.enter(identity, grant, limit);
        self.admission.is_some()
    }

    fn leave(&mut self) {
        if let Some(key) = self.admission.take() {
            self.shared.admission.leave(key);
        }
    }

    fn route(&mut self, in_force: &InForce, permit: &Permit) -> Result<Route, NoRoute> {
        let snapshot = &in_force.snapshot;
        let (Some(grant), Some(cluster)) = (snapshot.grant(permit.grant()), snapshot.cluster(permit.cluster())) else {
            return Err(NoRoute::NoAddress);
        };
        let credentials = self.shared.published.credentials.load();
        let credential = credentials
            .find(cluster.name(), grant.role())
            .map_err(|_| NoRoute::NoCredential)?;
        let addresses = self.shared.published.addresses.load();
        let destinations = self
            .shared_destinations
            .share(snapshot.generation(), credential, &addresses, || {
                destinations(&cluster, credential, &addresses)
            });
        if destinations.is_empty() {
            return Err(NoRoute::NoAddress);
        }
        let tls = cluster.tls();
        *self.credential = Some(credential.clone());
        *self.destinations = destinations;
        Ok(Route {
            candidates: self.destinations.len(),
            connect_timeout: cluster.connect_timeout(),
            login_timeout: cluster.login_timeout(),
            tls: credential.tls().is_some(),
            fully_verified: tls.mode == ServerTlsMode::VerifyFull || tls.pinned_key.is_some(),
            postern_settings: cluster.postern_settings(),
            methods: credential.methods().clone(),
            has_password: credential.password().is_some(),
        })
    }

    fn show_cancel_key(&mut self, process_id: u32) -> [u8; 32] {
        self.shared.cancels.show(process_id, self.reference)
    }

    fn password(&self) -> Option<Secret> {
        self.credential
            .as_ref()
            .and_then(|credential| credential.password().cloned())
    }

    fn terms(&mut self, terms: Terms) -> Arc<Terms> {
        self.interned.share(terms)
    }

    fn keys_of(&self, issuer: &KnownIssuer) -> Result<UsableKeys, Box<str>> {
        let key_sets = self.shared.providers.key_sets().load();
        let known = key_sets.of(&issuer.name).ok_or("no keys yet")?;
        let set = known.usable_from(issuer.origin, self.utc());
        let usable = set.map(|set| UsableKeys {
            set: set.clone(),
            generation: known.generation,
        });
        usable.ok_or_else(|| known.why_unusable())
    }

    fn tokens(&mut self) -> &mut Cache {
        self.tokens
    }

    fn certificates(&mut self) -> &mut certificate::Cache {
        self.certificates
    }

    fn spend(&mut self, once: &OneTime) -> Spent {
        let spent = self.shared.spent.spend(once, self.utc());
        let marks = &self.shared.metrics.control.one_time_tokens;
        marks.set(self.shared.spent.count());
        spent
    }

    fn refuses_proofs_from(&self, source: Source) -> bool {
        let refused = self.shared.failures.refuses(source, self.now());
        if refused && let Some(metrics) = self.shared.metrics.core(self.reference.core) {
            metrics.failures_refused.one();
        }
        refused
    }

    fn failed(&mut self, source: Source, name: &str) -> u64 {
        let (failures, now) = (&self.shared.failures, self.now());
        let room = failures.failed(source, name, now);
        let delay = failures.delay(source, name, now);
        if let Some(metrics) = self.shared.metrics.core(self.reference.core) {
            if delay > 0 {
                metrics.failures_delayed.one();
            }
            if room == Room::Short {
                metrics.failures_crowded.one();
            }
        }
        delay
    }

    fn decided(&mut self, permitted: bool, nanoseconds: u64) {
        if let Some(metrics) = self.shared.metrics.core(self.reference.core) {
            metrics
                .decisions
                .one(if permitted { Decided::Permit } else { Decided::Refuse });
        }
        self.latencies.record(Stage::Decision, nanoseconds);
    }
}

/// The addresses of a cluster in the order of its endpoints; names without a known address are passed over.
fn destinations(cluster: &ClusterView<'_>, credential: &Credential, addresses: &Addresses) -> Vec<Arc<Destination>> {
    let mut destinations = Vec::new();
    let mut add = |address: Address, server: ServerAddress, host: &str| {
        let tls = credential.tls().cloned();
        destinations.push(Arc::new(Destination {
            address,
            server,
            host: host.into(),
            tls,
        }));
    };
    for endpoint in cluster.endpoints() {
        match endpoint {
            EndpointView::Tcp { host, port } => {
                for ip in addresses.of(host) {
                    let address = core::net::SocketAddr::new(*ip, port);
                    add(Address::from(address), ServerAddress::Ip(address), host);
                }
            }
            EndpointView::Unix { path } => {
                if let Ok(address) = Address::unix(std::path::Path::new(path)) {
                    add(address, ServerAddress::Unix(Name::from(path)), "localhost");
                }
            }
        }
    }
    destinations
}
