//! One issuer's keys: fetched before they grow old, again when a token names a key that nobody knows, kept when the
//! provider fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use tokio::sync::Notify;

use super::Told;
use super::chance::jittered;
use super::client::{Call, Client, Reply};
use super::discovery::{self, DiscoveryFault};
use super::fault::{Fault, in_brief};
use super::figures::Figures;
use super::freshness::{self, Bounds};
use super::key_sets::ProviderKeys;
use super::plan::{KeysPlan, Source};
use super::shared::Shared;
use super::target::Target;
use crate::audit::Ticket;
use crate::control::clock::utc_now;
use crate::identity::token::KeySet;
use crate::time::Utc;

/// Bytes of a key set, and of an OpenID configuration.
const MAX_KEYS: usize = 1024 * 1024;
/// For how long a configuration counts as long as its keys can be fetched.
const CONFIGURATION_AGE: Duration = Duration::from_secs(3600);
/// How long a fetch waits for the address of a host that was named just now, and how often it looks.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);
const ADDRESS_LOOK: Duration = Duration::from_millis(10);

/// One issuer whose keys are fetched. Its task is [`Issuer::keep`].
pub struct Issuer {
    pub plan: KeysPlan,
    pub figures: Arc<Figures>,
    client: Client,
    shared: Rc<Shared>,
    state: RefCell<State>,
    nudge: Notify,
    gone: Cell<bool>,
}

#[derive(Default)]
struct State {
    keys_at: Option<Discovered>,
    etag: Option<HeaderValue>,
    /// Of the last good answer's bytes: the same bytes are the same set.
    digest: Option<Box<[u8]>>,
    failures_in_a_row: u32,
    fetching: bool,
    waiting: Vec<Ticket>,
    refetched: Option<Instant>,
}

#[derive(Clone)]
struct Discovered {
    target: Target,
    /// When to ask again.
    until: Instant,
}

#[derive(Debug, thiserror::Error)]
enum KeysFault {
    #[error("{url}: {fault}")]
    Fetch { url: Box<str>, fault: Fault },
    #[error(transparent)]
    Discovery(#[from] DiscoveryFault),
    #[error("{url}: no usable key set: {error}")]
    KeySet { url: Box<str>, error: String },
}

impl Issuer {
    pub fn new(plan: KeysPlan, figures: Arc<Figures>, shared: Rc<Shared>) -> Self {
        Self {
            client: Client::new(plan.tls.config.clone(), shared.addresses.clone()),
            plan,
            figures,
            shared,
            // The first round is about to begin: who asks before it has begun waits for it, and uses up no turn.
            state: RefCell::new(State {
                fetching: true,
                ..State::default()
            }),
            nudge: Notify::new(),
            gone: Cell::new(false),
        }
    }

    /// Fetches until [`Issuer::end`].
    pub async fn keep(self: Rc<Self>) {
        while !self.gone.get() {
            self.state.borrow_mut().fetching = true;
            let wait = self.round().await;
            self.answer_waiting();
            self.rest(wait).await;
        }
        self.answer_waiting();
    }

    /// The policy does not name this issuer any more. Whoever waits is told.
    pub fn end(&self) {
        self.gone.set(true);
        self.nudge.notify_one();
    }

    /// A token named a key that is not in the set. However many ask, one fetch answers them all, and there is at most one
    /// in an interval: strangers can make up as many key names as they like.
    pub fn refetch(&self, ticket: Ticket) {
        self.figures.asked.one();
        let mut state = self.state.borrow_mut();
        if state.fetching || !state.waiting.is_empty() {
            state.waiting.push(ticket);
            return;
        }
        let interval = self.shared.pace.refetch_interval;
        if self.gone.get() || state.refetched.is_some_and(|last| last.elapsed() < interval) {
            drop(state);
            (self.shared.tell)(ticket, Told::KeysRefetched { asked: false });
            return;
        }
        state.refetched = Some(Instant::now());
        state.waiting.push(ticket);
        self.nudge.notify_one();
    }

    fn answer_waiting(&self) {
        let (waiting, asked) = {
            let mut state = self.state.borrow_mut();
            state.fetching = false;
            let asked = state.failures_in_a_row == 0 && !self.gone.get();
            (std::mem::take(&mut state.waiting), asked)
        };
        for ticket in waiting {
            (self.shared.tell)(ticket, Told::KeysRefetched { asked });
        }
    }

    /// Until it is time, or somebody asks.
    async fn rest(&self, wait: Duration) {
        let due = Instant::now() + wait;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.gone.get() || !self.state.borrow().waiting.is_empty() {
                return;
            }
            // Time over or woken: the conditions above tell which.
            drop(monoio::time::timeout(left, self.nudge.notified()).await);
        }
    }

    /// One fetch and what becomes of it; answers with the time to the next.
    async fn round(&self) -> Duration {
        self.figures.fetches.one();
        self.figures.in_flight.one();
        let asked_at = utc_now();
        let result = self
            .fetch()
            .await
            .and_then(|(url, reply)| self.take(&url, &reply, asked_at));
        self.figures.in_flight.one_less();
        match result {
            Ok(said) => {
                self.figures.succeeded();
                self.state.borrow_mut().failures_in_a_row = 0;
                jittered(self.bounds().next(said))
            }
            Err(fault) => self.failed(&in_brief(&fault)),
        }
    }

    async fn fetch(&self) -> Result<(Target, Reply), KeysFault> {
        let target = match &self.plan.source {
            Source::Keys(target) => target.clone(),
            Source::Discovery { issuer, configuration } => self.discovered(issuer, configuration).await?,
        };
        let etag = self.state.borrow().etag.clone();
        let headers = etag.map(|etag| (IF_NONE_MATCH, etag)).into_iter().collect();
        let reply = self.get(&target, headers).await?;
        Ok((target, reply))
    }

    /// Where the keys are. Asked again after a while and after a failure.
    async fn discovered(&self, issuer: &str, configuration: &Target) -> Result<Target, KeysFault> {
        let known = self.state.borrow().keys_at.clone();
        if let Some(known) = known
            && Instant::now() < known.until
        {
            return Ok(known.target);
        }
        let reply = self.get(configuration, Vec::new()).await?;
        let target = discovery::keys_target(&reply.body, issuer)?;
        self.shared
            .want(&self.figures.name, &[configuration.host(), target.host()]);
        let mut state = self.state.borrow_mut();
        if state.keys_at.as_ref().is_some_and(|known| known.target != target) {
            // What one address calls a version means nothing at another.
            state.etag = None;
        }
        state.keys_at = Some(Discovered {
            target: target.clone(),
            until: Instant::now() + CONFIGURATION_AGE,
        });
        Ok(target)
    }

    async fn get(
        &self,
        target: &Target,
        headers: Vec<(hyper::header::HeaderName, HeaderValue)>,
    ) -> Result<Reply, KeysFault> {
        self.await_address(target).await;
        let call = Call {
            target,
            headers,
            body: None,
            cap: MAX_KEYS,
        };
        let reply = self.client.send(&call, self.shared.pace.keys_deadline).await;
        reply.map_err(|fault| KeysFault::Fetch {
            url: target.to_string().into(),
            fault,
        })
    }

    async fn await_address(&self, target: &Target) {
        let since = Instant::now();
        while !self.client.knows_address(target) && since.elapsed() < ADDRESS_PATIENCE && !self.gone.get() {
            monoio::time::sleep(ADDRESS_LOOK).await;
        }
    }

    /// Publishes what came; answers with how long the provider says that it stays fresh.
    fn take(&self, url: &Target, reply: &Reply, asked_at: Utc) -> Result<Option<Duration>, KeysFault> {
        let known = self.known();
        let keys = if reply.status == StatusCode::NOT_MODIFIED {
            self.confirmed(known).ok_or_else(|| KeysFault::Fetch {
                url: url.to_string().into(),
                fault: Fault::Status(reply.status.as_u16()),
            })?
        } else {
            self.parsed(url, reply, known)?
        };
        self.publish(ProviderKeys {
            fetched_at: Some(asked_at),
            usable_until: later(asked_at, self.plan.keys_max_age),
            last_error: None,
            source: url.to_string().into(),
            ..keys
        });
        Ok(freshness::said(&reply.headers))
    }

    /// "Not modified" says something only to whoever has a set and asked with its tag.
    fn confirmed(&self, known: ProviderKeys) -> Option<ProviderKeys> {
        (known.keys.is_some() && self.state.borrow().etag.is_some()).then_some(known)
    }

    fn parsed(&self, url: &Target, reply: &Reply, known: ProviderKeys) -> Result<ProviderKeys, KeysFault> {
        let digest: Box<[u8]> = digest::digest(&digest::SHA256, &reply.body).as_ref().into();
        let mut state = self.state.borrow_mut();
        let same = known.keys.is_some() && state.digest.as_ref() == Some(&digest);
        let fresh = if same {
            known
        } else {
            let set = KeySet::parse(&reply.body).map_err(|error| KeysFault::KeySet {
                url: url.to_string().into(),
                error: error.to_string(),
            })?;
            ProviderKeys {
                keys: Some(Arc::new(set)),
                generation: self.shared.next_generation(),
                ..known
            }
        };
        state.digest = Some(digest);
        state.etag = reply.headers.get(ETAG).cloned();
        Ok(fresh)
    }

    fn failed(&self, why: &str) -> Duration {
        self.figures.failed(why);
        tracing::warn!(
            provider = &*self.figures.name,
            why,
            "keys not fetched; the last good set serves up to its bound"
        );
        self.publish(ProviderKeys {
            last_error: Some(why.into()),
            ..self.known()
        });
        let mut state = self.state.borrow_mut();
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        if let Some(known) = &mut state.keys_at {
            known.until = Instant::now();
        }
        jittered(self.bounds().retry(state.failures_in_a_row))
    }

    fn known(&self) -> ProviderKeys {
        let published = self.shared.key_sets.load();
        published.of(&self.figures.name).map_or_else(
            || ProviderKeys::awaited(self.plan.source.to_string().into(), Some(self.plan.origin)),
            |keys| ProviderKeys::clone(keys),
        )
    }

    fn publish(&self, keys: ProviderKeys) {
        // An answer that comes after the provider went is nobody's any more.
        if !self.gone.get() {
            self.shared.publish(&self.figures.name, keys);
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            floor: self.shared.pace.floor,
            first_retry: self.shared.pace.first_retry,
            refresh: self.plan.refresh,
            keys_max_age: self.plan.keys_max_age,
        }
    }
}

/// A moment and some time more.
pub fn later(moment: Utc, time: Duration) -> Utc {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Utc(moment.0.saturating_add(micros))
}
