//! Starting the cores: listeners, threads, rings, and the moment from which all of them accept.

use std::os::fd::AsFd;
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;

use crate::audit::SessionIds;
use crate::bind::once_free;
use crate::config::ListenerAddress;
use crate::identity::certificate;
use crate::identity::token::cache::Cache;
use crate::metrics::Latencies;
use crate::ring::{ListenError, Listener, Local, Ring, RingHandle, RingOptions, Slot, StartError, TurnError};

use super::run::Core;
use super::shared::Shared;
use super::table::Table;
use super::timers::Timers;

/// What the cores are made of.
pub struct CoreOptions {
    pub cores: u16,
    /// CPU ids, core i on id i modulo their number; empty where threads are not pinned.
    pub cpus: Vec<core_affinity::CoreId>,
    pub ring: RingOptions,
    /// Sessions at once on each core.
    pub sessions_per_core: u32,
    pub listeners: Vec<(ListenerAddress, u32)>,
}

/// Running cores.
pub struct Started {
    pub threads: Vec<JoinHandle<Result<(), TurnError>>>,
    /// Where each listener is bound, port 0 resolved.
    pub bound: Vec<Local>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("core {core}: {error}")]
    Ring { core: u16, error: StartError },
    #[error("core {core}: a slot of its ring cannot be filled: {error}")]
    Slot { core: u16, error: crate::ring::Errno },
    #[error(
        "{needed} descriptors are needed for each core's table and {available} are allowed: raise RLIMIT_NOFILE or lower [server] sessions"
    )]
    Descriptors { needed: u32, available: u32 },
    #[error("a core's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Connections of a core that are no sessions: refusals, and cancels on their way to six servers at once.
const SPARE_CONNECTIONS: u32 = super::places::SPARE + 192;

/// Verified tokens that each core keeps, bytes: some four thousand of 2 KiB.
const TOKENS: usize = 8 * 1024 * 1024;
/// The same of chains of certificates: some eight thousand of one name each.
const CERTIFICATES: usize = 8 * 1024 * 1024;

/// Binds every listener, starts a thread for each core, and returns once all of them accept or one could not start.
pub fn start(options: &CoreOptions, shared: &Arc<Shared>) -> Result<Started, StartFailed> {
    let (listeners, bound) = bind(options)?;
    let outcome = Arc::new(Startup {
        rings: Mutex::new(vec![None; usize::from(options.cores)]),
        failed: Mutex::new(None),
        made: Barrier::new(usize::from(options.cores) + 1),
        go: Barrier::new(usize::from(options.cores) + 1),
    });
    let mut threads = Vec::new();
    for (core, listeners) in (0..options.cores).zip(listeners) {
        let (outcome, shared, ring) = (outcome.clone(), shared.clone(), options.ring.clone());
        let cpu = (!options.cpus.is_empty()).then(|| options.cpus[usize::from(core) % options.cpus.len()]);
        let sessions = options.sessions_per_core;
        let thread = std::thread::Builder::new().name(format!("core-{core}")).spawn(move || {
            if let Some(cpu) = cpu {
                core_affinity::set_for_current(cpu);
            }
            let made = make(core, &ring, sessions, &listeners, &shared);
            outcome.run(core, made, &shared)
        });
        threads.push(thread.map_err(StartFailed::Thread)?);
    }
    outcome.made.wait();
    let rings: Option<Vec<RingHandle>> = outcome
        .rings
        .lock()
        .map(|rings| rings.iter().cloned().collect())
        .unwrap_or_default();
    if let Some(rings) = rings {
        let _set_once = shared.rings.set(rings);
    }
    outcome.go.wait();
    let failed = outcome
        .failed
        .lock()
        .map(|mut failed| failed.take())
        .unwrap_or_default();
    match failed {
        Some(failed) => Err(failed),
        None => Ok(Started { threads, bound }),
    }
}

/// Where threads and starter meet: every ring is made before any core accepts.
struct Startup {
    rings: Mutex<Vec<Option<RingHandle>>>,
    failed: Mutex<Option<StartFailed>>,
    made: Barrier,
    go: Barrier,
}

impl Startup {
    fn run(&self, core: u16, made: Result<Core, StartFailed>, shared: &Shared) -> Result<(), TurnError> {
        let made = match made {
            Ok(made) => {
                if let Ok(mut rings) = self.rings.lock() {
                    rings[usize::from(core)] = Some(made.ring.handle());
                }
                Some(made)
            }
            Err(error) => {
                if let Ok(mut failed) = self.failed.lock() {
                    failed.get_or_insert(error);
                }
                None
            }
        };
        self.made.wait();
        self.go.wait();
        match made {
            Some(made) if shared.rings.get().is_some() => made.run(),
            Some(_) | None => Ok(()),
        }
    }
}

type PerCore = Vec<Vec<Arc<Listener>>>;

/// TCP listeners are one for each core, Unix listeners one for all.
fn bind(options: &CoreOptions) -> Result<(PerCore, Vec<Local>), StartFailed> {
    let mut per_core: PerCore = vec![Vec::new(); usize::from(options.cores)];
    let mut bound = Vec::new();
    for (address, backlog) in &options.listeners {
        let first = match address {
            ListenerAddress::Tcp(address) => Listener::tcp(*address, *backlog)?,
            ListenerAddress::Unix { path, mode } => once_free(
                || Listener::unix(path, *mode, *backlog),
                |error| matches!(error, ListenError::InUse { .. }),
            )?,
        };
        let local = first.local().clone();
        let first = Arc::new(first);
        for (core, listeners) in per_core.iter_mut().enumerate() {
            let listener = match &local {
                Local::Tcp(address) if core > 0 => Arc::new(Listener::tcp(*address, *backlog)?),
                Local::Tcp(_) | Local::Unix(_) => first.clone(),
            };
            listeners.push(listener);
        }
        bound.push(local);
    }
    Ok((per_core, bound))
}

fn make(
    core: u16,
    options: &RingOptions,
    sessions: u32,
    listeners: &[Arc<Listener>],
    shared: &Arc<Shared>,
) -> Result<Core, StartFailed> {
    let connections = sessions + SPARE_CONNECTIONS;
    let needed = listeners.len() as u32 + 2 * connections;
    let options = RingOptions {
        slots: needed,
        ..options.clone()
    };
    let mut ring = Ring::new(&options).map_err(|error| StartFailed::Ring { core, error })?;
    if ring.slots() < needed {
        return Err(StartFailed::Descriptors {
            needed,
            available: ring.slots(),
        });
    }
    for (slot, listener) in listeners.iter().enumerate() {
        let installed = ring.install_shared(Slot(slot as u32), listener.as_fd());
        installed.map_err(|error| StartFailed::Slot { core, error })?;
    }
    let inbox = shared.inboxes[usize::from(core)].clone();
    Ok(Core {
        id: core,
        ring,
        table: Table::new(connections as usize),
        timers: Timers::with_capacity(connections as usize),
        shared: shared.clone(),
        inbox,
        policy: arc_swap::Cache::new(shared.published.policy.clone()),
        ids: SessionIds::new(shared.process, core),
        now: shared.clock.mono(),
        utc: shared.clock.utc(),
        flush: Vec::with_capacity(1_024),
        starved: Vec::with_capacity(1_024),
        queues: super::transport::spare_queues(),
        opened: Vec::with_capacity(1_024),
        recheck: None,
        adopting: false,
        latencies: Box::new(Latencies::default()),
        interned: super::interned::Interned::default(),
        tokens: Cache::new(TOKENS),
        certificates: certificate::Cache::new(CERTIFICATES),
        destinations: super::destinations::Destinations::default(),
        draining: None,
        accepting: false,
        stalled: Vec::new(),
        accept_again: None,
        stop_at: None,
        next_generation: 0,
        cancel_budget: super::errand::Budget::default(),
        errands: super::lanes::Lanes::new(),
    })
}
