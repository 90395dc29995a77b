//! Host names of endpoints, looked up on a thread of its own.
//!
//! `getaddrinfo` blocks for as long as the network likes, so no core and not even the control thread ever calls it. Names
//! are looked up when a policy first mentions them and again every [`REFRESH`]; the last good answer serves until a better
//! one comes, since a name server that is down must not take the clusters with it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::providers::Want;
use crate::metrics::{ControlMetrics, Metrics, WorkResult};

/// How long an answer counts as fresh.
pub const REFRESH: Duration = Duration::from_secs(30);
/// How long a failed lookup waits for its next try.
const RETRY: Duration = Duration::from_secs(5);
/// More addresses than this for one name are cut off; they are tried in order and a login has a deadline.
const MAX_ADDRESSES: usize = 16;
/// Lookups at once: a slow name must not hold up the others for long.
const LOOKUPS_AT_ONCE: usize = 8;

/// The addresses of every host the policy names. A core reads it and never waits for it.
#[derive(Debug, Default)]
pub struct Addresses(HashMap<Box<str>, Box<[IpAddr]>>);

impl Addresses {
    /// The addresses of `host`, in the resolver's order; empty while none is known. An IP address in text form is its own.
    pub fn of(&self, host: &str) -> &[IpAddr] {
        self.0.get(host).map_or(&[], |known| known)
    }
}

/// Looks one name up. The system's resolver in production, a table in tests.
pub type Lookup = Box<dyn Fn(&str) -> std::io::Result<Vec<IpAddr>> + Send + Sync>;

/// `getaddrinfo`, without duplicates.
pub fn system_lookup() -> Lookup {
    Box::new(|host| {
        let mut seen = BTreeSet::new();
        let found = (host, 0u16).to_socket_addrs()?;
        Ok(found
            .map(|address| address.ip().to_canonical())
            .filter(|ip| seen.insert(*ip))
            .collect())
    })
}

/// The table of names: what is wanted, what is known, and when to ask again.
pub struct Resolver {
    published: Arc<ArcSwap<Addresses>>,
    lookup: Lookup,
    names: HashMap<Box<str>, Name>,
}

struct Name {
    addresses: Box<[IpAddr]>,
    /// `None`: an address in text form, which is its own answer for good.
    due: Option<Instant>,
}

impl Name {
    fn first(host: &str, now: Instant) -> Self {
        match host.parse::<IpAddr>() {
            Ok(address) => Self {
                addresses: Box::new([address]),
                due: None,
            },
            Err(_) => Self {
                addresses: Box::default(),
                due: Some(now),
            },
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

/// What one round of lookups did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub resolved: u32,
    /// Host and error text, for the operator's log.
    pub failed: Vec<(Box<str>, String)>,
}

impl Resolver {
    pub fn new(published: Arc<ArcSwap<Addresses>>, lookup: Lookup) -> Self {
        Self {
            published,
            lookup,
            names: HashMap::new(),
        }
    }

    /// Names the hosts of the policy in force. Forgets the others; addresses in text form are known at once, names are
    /// due at once.
    pub fn want(&mut self, hosts: &BTreeSet<String>, now: Instant) {
        self.names.retain(|host, _| hosts.contains(&**host));
        for host in hosts {
            self.names
                .entry(host.as_str().into())
                .or_insert_with(|| Name::first(host, now));
        }
        self.publish();
    }

    /// Looks up whatever is due and publishes the result once, if anything changed.
    pub fn run(&mut self, now: Instant) -> Round {
        let due: Vec<Box<str>> = self
            .names
            .iter()
            .filter(|(_, name)| name.is_due(now))
            .map(|(host, _)| host.clone())
            .collect();
        let mut round = Round::default();
        for (host, found) in look_up_all(&self.lookup, due) {
            let Some(name) = self.names.get_mut(&host) else {
                continue;
            };
            match found {
                Ok(addresses) => {
                    round.resolved += 1;
                    *name = Name {
                        addresses,
                        due: Some(now + REFRESH),
                    };
                }
                Err(error) => {
                    name.due = Some(now + RETRY);
                    round.failed.push((host, error.to_string()));
                }
            }
        }
        self.publish();
        round
    }

    /// When the next lookup is due; `None` with nothing to look up.
    pub fn next_due(&self) -> Option<Instant> {
        self.names.values().filter_map(|name| name.due).min()
    }

    fn publish(&self) {
        let table: HashMap<_, _> = self
            .names
            .iter()
            .map(|(host, name)| (host.clone(), name.addresses.clone()))
            .collect();
        if self.published.load().0 != table {
            self.published.store(Arc::new(Addresses(table)));
        }
    }
}

/// Tells the resolver's thread which hosts `of` wants now; `done` hears when each of them has been tried.
pub struct Wish {
    pub of: Wisher,
    pub hosts: BTreeSet<String>,
    pub done: Option<Sender<()>>,
}

/// Who wants addresses: what one wishes takes nothing from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wisher {
    /// The clusters of the policy in force.
    Policy,
    /// Identity providers, and where their documents lead.
    Providers,
}

/// What each of them wants.
#[derive(Default)]
struct Wanted {
    policy: BTreeSet<String>,
    providers: BTreeSet<String>,
}

impl Wanted {
    fn replace(&mut self, of: Wisher, hosts: &BTreeSet<String>) {
        match of {
            Wisher::Policy => self.policy.clone_from(hosts),
            Wisher::Providers => self.providers.clone_from(hosts),
        }
    }

    fn all(&self) -> BTreeSet<String> {
        self.policy.union(&self.providers).cloned().collect()
    }
}

/// Starts the resolver's thread, which ends when nobody can wish any more.
pub fn start(resolver: Resolver, metrics: Arc<Metrics>) -> io::Result<Sender<Wish>> {
    let (sender, wishes) = channel();
    let work = move || serve(resolver, &wishes, &metrics.control);
    std::thread::Builder::new().name("postern-names".into()).spawn(work)?;
    Ok(sender)
}

/// How the providers' runtime says whose addresses it wants.
pub fn for_providers(wishes: Sender<Wish>) -> Want {
    Box::new(move |hosts| {
        let wish = Wish {
            of: Wisher::Providers,
            hosts,
            done: None,
        };
        if wishes.send(wish).is_err() {
            tracing::debug!("nobody resolves names any more");
        }
    })
}

fn serve(mut resolver: Resolver, wishes: &Receiver<Wish>, metrics: &ControlMetrics) {
    let mut wanted = Wanted::default();
    loop {
        let wait = resolver
            .next_due()
            .map_or(REFRESH, |due| due.saturating_duration_since(Instant::now()));
        let wish = match wishes.recv_timeout(wait) {
            Ok(wish) => Some(wish),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(wish) = &wish {
            wanted.replace(wish.of, &wish.hosts);
            resolver.want(&wanted.all(), Instant::now());
        }
        tell(&resolver.run(Instant::now()), metrics);
        if let Some(done) = wish.and_then(|wish| wish.done)
            && done.send(()).is_err()
        {
            tracing::debug!("whoever waited for addresses went on without them");
        }
    }
}

fn tell(round: &Round, metrics: &ControlMetrics) {
    for _ in 0..round.resolved {
        metrics.names_resolved.one(WorkResult::Ok);
    }
    for (host, error) in &round.failed {
        metrics.names_resolved.one(WorkResult::Failed);
        tracing::warn!(%host, %error, "host name not resolved; the last known addresses stay");
    }
}

type Found = (Box<str>, std::io::Result<Box<[IpAddr]>>);

fn look_up_all(lookup: &Lookup, hosts: Vec<Box<str>>) -> Vec<Found> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(host) = hosts.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            found.push((host.clone(), look_up(lookup, host)));
        }
        found
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..hosts.len().min(LOOKUPS_AT_ONCE))
            .map(|_| scope.spawn(work))
            .collect();
        let mut all = work();
        for other in others {
            all.extend(other.join().unwrap_or_default());
        }
        all
    })
}

fn look_up(lookup: &Lookup, host: &str) -> std::io::Result<Box<[IpAddr]>> {
    let mut addresses = lookup(host)?;
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() {
        return Err(std::io::Error::other("the name has no address"));
    }
    Ok(addresses.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Fixture {
        resolver: Resolver,
        published: Arc<ArcSwap<Addresses>>,
        answers: Arc<Mutex<Vec<std::io::Result<Vec<IpAddr>>>>>,
        start: Instant,
    }

    /// `answers` are given in order; a lookup beyond them fails the test.
    fn fixture(answers: Vec<std::io::Result<Vec<IpAddr>>>, hosts: &[&str]) -> Fixture {
        let published = Arc::new(ArcSwap::from_pointee(Addresses::default()));
        let answers = Arc::new(Mutex::new(answers));
        let source = answers.clone();
        let lookup: Lookup = Box::new(move |_| source.lock().unwrap().remove(0));
        let mut resolver = Resolver::new(published.clone(), lookup);
        let start = Instant::now();
        resolver.want(&hosts.iter().map(ToString::to_string).collect(), start);
        Fixture {
            resolver,
            published,
            answers,
            start,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn asks_again_only_after_the_refresh_time() {
        let mut f = fixture(vec![Ok(vec![ip("10.0.0.1")]), Ok(vec![ip("10.0.0.2")])], &["db"]);
        f.resolver.run(f.start);
        f.resolver.run(f.start + REFRESH / 2);
        assert_eq!(f.published.load().of("db"), [ip("10.0.0.1")]);
        f.resolver.run(f.start + REFRESH);
        assert_eq!(f.published.load().of("db"), [ip("10.0.0.2")]);
        assert!(f.answers.lock().unwrap().is_empty());
    }

    #[test]
    fn the_last_good_answer_outlives_a_failing_name_server() {
        let failed = Err(std::io::Error::other("temporary failure"));
        let mut f = fixture(vec![Ok(vec![ip("10.0.0.1")]), failed], &["db"]);
        f.resolver.run(f.start);
        let round = f.resolver.run(f.start + REFRESH);
        assert_eq!(round.failed.len(), 1);
        assert_eq!(f.published.load().of("db"), [ip("10.0.0.1")]);
        assert_eq!(f.resolver.next_due(), Some(f.start + REFRESH + RETRY));
    }

    #[test]
    fn an_address_in_text_form_needs_no_lookup() {
        let mut f = fixture(vec![], &["::1", "127.0.0.1"]);
        assert_eq!(f.published.load().of("::1"), [ip("::1")], "known before any round");
        assert_eq!(f.resolver.run(f.start), Round::default());
        assert_eq!(f.resolver.next_due(), None);
    }

    #[test]
    fn a_name_the_policy_dropped_is_forgotten() {
        let mut f = fixture(vec![Ok(vec![ip("10.0.0.1")])], &["db"]);
        f.resolver.run(f.start);
        f.resolver.want(&BTreeSet::new(), f.start);
        f.resolver.run(f.start);
        assert_eq!(f.published.load().of("db"), [] as [IpAddr; 0]);
        assert_eq!(f.resolver.next_due(), None);
    }

    #[test]
    fn a_name_without_addresses_is_a_failure() {
        let mut f = fixture(vec![Ok(vec![])], &["db"]);
        assert_eq!(f.resolver.run(f.start).failed.len(), 1);
    }

    #[test]
    fn the_system_resolver_knows_localhost() {
        let found = system_lookup()("localhost").unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
