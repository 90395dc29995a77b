//! The whole room against a real HTTPS server of the test's own. Times are bounds, never expectations.

mod hooks;
mod keys;
mod server;
mod trips;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use postern_policy::model::{KeySource, TokenForm, TokenIssuer, Webhook};

use super::*;
use crate::control::resolve::Resolver;
use server::{HOST, Server};

/// More than anything here takes, even on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything as fast as a test wants it.
const PACE: Pace = Pace {
    floor: Duration::from_millis(20),
    first_retry: Duration::from_millis(20),
    refetch_interval: Duration::from_secs(3600),
    keys_deadline: Duration::from_millis(1000),
};

struct Site {
    providers: Providers,
    told: Receiver<(Ticket, Told)>,
    wanted: Arc<Mutex<BTreeSet<String>>>,
    origins: RefCell<HashMap<Box<str>, WebhookOrigin>>,
}

impl Site {
    fn new() -> Self {
        Self::at(PACE, &[HOST])
    }

    fn at(pace: Pace, hosts: &[&str]) -> Self {
        Self::on(Driver::Ring, pace, hosts)
    }

    /// `hosts` have the address of this machine, others none.
    fn on(driver: Driver, pace: Pace, hosts: &[&str]) -> Self {
        let addresses = Arc::new(ArcSwap::from_pointee(Addresses::default()));
        let mut resolver = Resolver::new(addresses.clone(), Box::new(|_| Ok(vec![IpAddr::from([127, 0, 0, 1])])));
        resolver.want(&hosts.iter().map(ToString::to_string).collect(), Instant::now());
        resolver.run(Instant::now());
        let (sender, told): (Sender<(Ticket, Told)>, _) = channel();
        let sender = Mutex::new(sender);
        let wanted = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = wanted.clone();
        let setup = Setup {
            addresses,
            tell: Box::new(move |ticket, told| drop(sender.lock().unwrap().send((ticket, told)))),
            want: Box::new(move |hosts| *heard.lock().unwrap() = hosts),
            pace,
        };
        Self {
            providers: Providers::start_on(setup, driver).unwrap(),
            told,
            wanted,
            origins: RefCell::default(),
        }
    }

    fn set(&self, specs: Vec<ProviderSpec>) {
        let origins = specs.iter().filter_map(|spec| match &spec.kind {
            ProviderKind::Webhook { webhook, .. } => Some((spec.name.clone(), WebhookOrigin::of(webhook))),
            ProviderKind::Issuer(_) => None,
        });
        self.origins.borrow_mut().extend(origins);
        self.providers.set(specs);
    }

    /// Where the webhook was last said to be.
    fn origin(&self, name: &str) -> WebhookOrigin {
        let nowhere = || WebhookOrigin::of(&a_webhook("https://nowhere", Vec::new()));
        self.origins.borrow().get(name).copied().unwrap_or_else(nowhere)
    }

    /// Waits until the runtime knows the provider.
    fn status(&self, name: &str) -> Status {
        let mut found = None;
        until(name, || {
            let all = self.providers.status();
            found = all.into_iter().find(|status| &*status.name == name);
            found.is_some()
        });
        found.unwrap()
    }

    fn keys(&self, name: &str) -> Option<Arc<ProviderKeys>> {
        self.providers.key_sets().load().of(name).cloned()
    }

    /// The names of the keys that serve now.
    fn key_ids(&self, name: &str) -> Vec<String> {
        let keys = self.keys(name).and_then(|keys| keys.keys.clone());
        keys.map_or_else(Vec::new, |set| set.key_ids().map(str::to_owned).collect())
    }

    fn hear(&self) -> (Ticket, Told) {
        self.told.recv_timeout(PATIENCE).expect("an answer")
    }

    fn hear_webhook(&self) -> (Ticket, Answer) {
        match self.hear() {
            (ticket, Told::Webhook(answer)) => (ticket, answer),
            (_, Told::KeysRefetched { .. }) => panic!("not asked for keys"),
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ticket(session: u64) -> Ticket {
    Ticket { core: 0, session }
}

fn issuer(keys: KeySource, server: &Server) -> TokenIssuer {
    TokenIssuer {
        form: TokenForm::Oidc {
            issuer: server.url("/realm"),
        },
        audiences: BTreeSet::from(["postern".to_owned()]),
        keys,
        algorithms: BTreeSet::new(),
        types: BTreeSet::new(),
        clock_skew: 0,
        max_age: None,
        required_claims: std::collections::BTreeMap::new(),
        subject_claim: "sub".into(),
        groups_claim: None,
        one_time: false,
        scope: "openid".into(),
        roots: vec![server.root()],
        refresh: 3600,
        keys_max_age: 86_400,
    }
}

fn keys_at(server: &Server, path: &str) -> TokenIssuer {
    issuer(KeySource::Url(server.url(path)), server)
}

fn spec(name: &str, issuer: TokenIssuer) -> ProviderSpec {
    ProviderSpec {
        name: name.into(),
        kind: ProviderKind::Issuer(issuer),
    }
}

fn webhook(server: &Server, path: &str) -> Webhook {
    a_webhook(&server.url(path), vec![server.root()])
}

fn a_webhook(url: &str, roots: Vec<Vec<u8>>) -> Webhook {
    Webhook {
        url: url.to_owned(),
        roots,
        authorization_file: None,
        deadline: 20_000,
        concurrency: 4,
        cache_max_age: 3600,
    }
}

fn hook(name: &str, webhook: Webhook) -> ProviderSpec {
    ProviderSpec {
        name: name.into(),
        kind: ProviderKind::Webhook {
            webhook,
            authorization: None,
        },
    }
}

fn question(user: &str) -> Box<Question> {
    Box::new(Question {
        attempt: "a-1".into(),
        user: user.into(),
        database: "app".into(),
        application_name: "psql".into(),
        source: "192.0.2.7".parse().unwrap(),
        listener: "main".into(),
        tls: true,
        certificate_sha256: None,
        password: Some(crate::secret::Secret::new(b"hunter2".to_vec())),
        replication: false,
    })
}

/// A set of keys with these names.
pub(super) fn key_set(ids: &[&str]) -> String {
    let keys: Vec<_> = ids.iter().map(|id| server::public_key(id)).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}
