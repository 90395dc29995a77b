//! Starting control: what the cores need is there when this returns, or it says what is missing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use postern_policy::fault::Faults;

use super::client_keys::Derivations;
use super::clock::utc_now;
use super::credentials::{CredentialReader, Credentials};
use super::http;
use super::keeper::{Job, Keeper, Tools, recorded_faults};
use super::latency::LatencyTotals;
use super::lifecycle::Lifecycle;
use super::listeners::{ListenerCertificates, ListenerFault};
use super::load;
use super::messages::{Cores, Notice, Requests};
use super::pages::Pages;
use super::providers::{self, Pace, Providers, Told, Window};
use super::published::Published;
use super::resolve::{self, Addresses, Lookup, Resolver, Wish, system_lookup};
use super::runtime::Runner;
use super::watch::Watch;
use super::workers::{self, Desk};
use crate::audit::{Policy, Record, Recorder};
use crate::config::Config;
use crate::in_force::InForce;
use crate::metrics::Metrics;

/// Requests of cores that may wait.
const REQUESTS: usize = 16 * 1024;
/// How long the start waits for addresses of hosts before it serves without them.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// What control is made of.
pub struct Setup {
    pub config: Config,
    pub cores: Cores,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
}

/// Running control.
pub struct Control {
    pub published: Arc<Published>,
    pub requests: Requests,
    /// Identity providers, as cores see them.
    pub providers: Window,
    pub lifecycle: Arc<Lifecycle>,
    /// Where the admin pages are; port 0 resolved.
    pub admin: Option<SocketAddr>,
    cores: Arc<Cores>,
    jobs: Sender<Job>,
    keeper: Option<JoinHandle<()>>,
    pages: Option<Runner>,
}

/// Why the gate does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// Nothing is in force and nothing will be: recorded as rejected.
    #[error("{0}")]
    Policy(Faults),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Listeners(Vec<ListenerFault>),
    #[error("admin address {address}: {error}")]
    Admin { address: SocketAddr, error: io::Error },
    #[error("a thread of control cannot be started: {0}")]
    Thread(#[from] io::Error),
}

impl Control {
    /// Loads policy, credentials and certificates, resolves hosts, and starts the threads. Threads inherit the CPUs of
    /// the caller: call it unpinned.
    pub fn start(setup: Setup) -> Result<Self, StartFault> {
        Self::start_with(setup, system_lookup())
    }

    /// As [`Control::start`], with a resolver of the caller's.
    pub fn start_with(setup: Setup, lookup: Lookup) -> Result<Self, StartFault> {
        let Setup {
            config,
            cores,
            recorder,
            metrics,
        } = setup;
        let admin = config.admin.map(|admin| bind_admin(admin.address)).transpose()?;
        let load::Attempt { outcome, referenced } = load::attempt(&config.server.policy, 1);
        let in_force = outcome.map_err(|fault| refuse(&recorder, fault.faults(&config.server.policy)))?;
        let (cores, lifecycle) = (Arc::new(cores), Arc::new(Lifecycle::new(metrics.cores().len() as u16)));
        let published = Arc::new(publish(in_force, config.listeners.len()));
        let (jobs, todo) = channel();
        let resolver = Resolver::new(published.addresses.clone(), lookup);
        let resolver = resolve::start(resolver, metrics.clone())?;
        let providers = Arc::new(start_providers(&published, &cores, &resolver)?);
        let tools = Tools {
            directory: config.server.policy.clone(),
            published: published.clone(),
            cores: cores.clone(),
            metrics: metrics.clone(),
            recorder: recorder.clone(),
            resolver,
            providers: providers.clone(),
            reader: CredentialReader::new(config.server.policy.clone()),
            listeners: ListenerCertificates::new(&config.listeners),
            watch: start_watch(&jobs),
        };
        let mut keeper = Keeper::new(tools, referenced);
        keeper.prepare(ADDRESS_PATIENCE).map_err(StartFault::Listeners)?;
        let keeper = std::thread::Builder::new()
            .name("postern-keeper".into())
            .spawn(move || keeper.run(&todo))?;
        let latencies = Arc::new(LatencyTotals::new(cores.count()));
        let requests = start_workers(&cores, &metrics, &latencies, &jobs)?;
        let pages = Pages {
            metrics,
            latencies,
            lifecycle: lifecycle.clone(),
            cores: cores.clone(),
            recorder,
            providers: {
                let providers = providers.clone();
                Box::new(move || providers.status())
            },
            show_metrics: config.admin.is_some_and(|admin| admin.metrics),
        };
        let (admin, pages) = admin
            .map(|(address, listener)| start_pages(listener, pages).map(|pages| (address, pages)))
            .transpose()?
            .unzip();
        Ok(Self {
            published,
            requests,
            providers: providers.window(),
            lifecycle,
            admin,
            cores,
            jobs,
            keeper: Some(keeper),
            pages,
        })
    }

    /// Reads everything again, changed or not.
    pub fn reload(&self) {
        if self.jobs.send(Job::Reload).is_err() {
            tracing::error!("nothing can be reloaded any more: the keeper has ended");
        }
    }

    /// Nobody new is let in; whoever is in has until `deadline`.
    pub fn drain(&self, deadline: Duration) {
        self.lifecycle.begin_drain();
        self.told(&self.cores.tell_all(|| Notice::Drain { deadline }));
    }

    /// Ends every session at once.
    pub fn stop_cores(&self) {
        self.lifecycle.begin_drain();
        self.told(&self.cores.tell_all(|| Notice::Stop));
    }

    fn told(&self, untold: &[u16]) {
        if !untold.is_empty() {
            tracing::error!(?untold, "cores that do not hear that the gate ends");
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.pages.take());
        if self.jobs.send(Job::Stop).is_ok()
            && let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the keeper ended by a panic");
        }
    }
}

fn bind_admin(address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartFault> {
    let bound = http::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    bound.map_err(|error| StartFault::Admin { address, error })
}

fn refuse(recorder: &Recorder, faults: Faults) -> StartFault {
    recorder.record(Record::Policy(Box::new(Policy::Rejected {
        at: utc_now(),
        serving: None,
        faults: recorded_faults(&faults),
    })));
    StartFault::Policy(faults)
}

fn publish(in_force: InForce, listeners: usize) -> Published {
    Published {
        policy: Arc::new(ArcSwap::from_pointee(in_force)),
        credentials: Arc::new(ArcSwap::from_pointee(Credentials::default())),
        addresses: Arc::new(ArcSwap::from_pointee(Addresses::default())),
        listeners: (0..listeners).map(|_| Arc::new(ArcSwapOption::empty())).collect(),
    }
}

/// A core whose inbox is full does not hear the answer: what waits for it is refused by its own deadline.
fn start_providers(published: &Published, cores: &Arc<Cores>, resolver: &Sender<Wish>) -> io::Result<Providers> {
    let cores = cores.clone();
    Providers::start(providers::Setup {
        addresses: published.addresses.clone(),
        tell: Box::new(move |ticket, told| {
            let notice = match told {
                Told::KeysRefetched { asked } => Notice::KeysFetched { ticket, asked },
                Told::Webhook(answer) => Notice::Answer {
                    ticket,
                    answer: Box::new(answer),
                },
            };
            if !cores.try_tell(ticket.core, notice) {
                tracing::error!(
                    core = ticket.core,
                    "core takes no messages; an answer of a provider is lost"
                );
            }
        }),
        want: resolve::for_providers(resolver.clone()),
        pace: Pace::default(),
    })
}

fn start_watch(jobs: &Sender<Job>) -> Watch {
    let jobs = jobs.clone();
    let gone = AtomicBool::new(false);
    let (watch, error) = Watch::new(move |news| {
        let job = match news {
            Ok(concern) => Job::Changed(concern),
            Err(error) => Job::WatchFailed(error.to_string()),
        };
        if jobs.send(job).is_err() && !gone.swap(true, Ordering::Relaxed) {
            tracing::debug!("files are no longer watched");
        }
    });
    if let Some(error) = error {
        tracing::warn!(%error, "no file watcher; files are compared every few seconds");
    }
    watch
}

fn start_workers(
    cores: &Arc<Cores>,
    metrics: &Arc<Metrics>,
    latencies: &Arc<LatencyTotals>,
    jobs: &Sender<Job>,
) -> io::Result<Requests> {
    let (requests, receiver) = Requests::channel(REQUESTS);
    workers::start(Desk {
        requests: Mutex::new(receiver),
        derivations: Derivations::new(),
        cores: cores.clone(),
        metrics: metrics.clone(),
        latencies: latencies.clone(),
        keeper: Mutex::new(jobs.clone()),
    })?;
    Ok(requests)
}

fn start_pages(listener: TcpListener, pages: Pages) -> io::Result<Runner> {
    Runner::start(move || async move {
        match http::serve(listener, Arc::new(pages)).await {
            Ok(never) => match never {},
            Err(error) => tracing::error!(%error, "the admin pages cannot be served"),
        }
    })
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
