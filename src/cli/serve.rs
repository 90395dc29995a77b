//! `postern serve`: puts the rooms together, and stays to hear signals and to see the cores end.

mod assembly;
mod supervision;

use std::sync::Arc;
use std::sync::mpsc::channel;

use super::arguments::Serve;
use super::gate_secret::{self, GateSecretFault};
use super::{Exit, Terminal, log, say, version};
use crate::audit::{self, Process, Record, Recorder, StopReason, Writer};
use crate::config::{self, Config};
use crate::control::clock::utc_now;
use crate::control::keeper::hex;
use crate::control::signals::{self, SignalThread};
use crate::control::{Control, Setup, StartFault};
use crate::core::StartFailed;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::ring::{Errno, Local, StartError, raise_descriptor_limit};

use supervision::{Event, supervise};

/// Messages that may wait for one core.
const INBOX: usize = 64 * 1024;

/// Why the gate does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    #[error("{0}")]
    Config(postern_policy::fault::Faults),
    #[error(transparent)]
    GateSecret(#[from] GateSecretFault),
    #[error("{error}\n  {}", error.remedy())]
    Ring { error: StartError },
    #[error("an inbox cannot be made: {0}")]
    Inbox(Errno),
    #[error(transparent)]
    Audit(#[from] audit::StartError),
    #[error(transparent)]
    Control(#[from] StartFault),
    #[error("{}", describe(.0))]
    Core(#[from] StartFailed),
    #[error("signals cannot be read: {0}")]
    Signals(std::io::Error),
    #[error("the system gives no random bytes")]
    Random,
}

impl ServeFault {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::GateSecret(_) => Exit::BadInput,
            Self::Ring { error } => Exit::Ring(error.exit_code()),
            Self::Audit(audit::StartError::File(_)) => Exit::CannotWrite,
            Self::Control(StartFault::Policy(_) | StartFault::Listeners(_)) => Exit::BadInput,
            Self::Control(StartFault::Admin { .. }) | Self::Core(StartFailed::Listen(_)) => Exit::Address,
            Self::Core(StartFailed::Ring { error, .. }) => Exit::Ring(error.exit_code()),
            Self::Core(StartFailed::Descriptors { .. }) => Exit::Ring(StartError::Descriptors { limit: 0 }.exit_code()),
            Self::Core(StartFailed::Slot { .. } | StartFailed::Thread(_)) => Exit::Internal,
            Self::Audit(audit::StartError::Thread(_)) | Self::Control(StartFault::Thread(_)) => Exit::Internal,
            Self::Inbox(_) | Self::Signals(_) | Self::Random => Exit::Internal,
        }
    }
}

fn describe(failed: &StartFailed) -> String {
    match failed {
        StartFailed::Ring { error, .. } => format!("{failed}\n  {}", error.remedy()),
        StartFailed::Listen(_)
        | StartFailed::Slot { .. }
        | StartFailed::Descriptors { .. }
        | StartFailed::Thread(_) => failed.to_string(),
    }
}

pub fn run(arguments: &Serve, terminal: &mut Terminal<'_>) -> Exit {
    match serve(arguments) {
        Ok(exit) => exit,
        Err(fault) => say(terminal.err, fault.exit(), format_args!("postern: {fault}")),
    }
}

fn serve(arguments: &Serve) -> Result<Exit, ServeFault> {
    let config = config::load(&arguments.config).map_err(ServeFault::Config)?;
    log::start(config.log);
    // Before any thread exists: threads inherit the mask, and later the CPUs of whoever starts them.
    let blocked = signals::block().map_err(ServeFault::Signals)?;
    raise_descriptor_limit().map_err(|error| ServeFault::Ring { error })?;
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let cores = config
        .server
        .cores
        .unwrap_or_else(|| u16::try_from(cpus.len().max(1)).unwrap_or(1));
    let gate_secret = gate_secret::read_or_make(&config.server.secret_file)?;
    let inboxes = (0..cores)
        .map(|_| Inbox::new(INBOX))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ServeFault::Inbox)?;
    let metrics = Arc::new(Metrics::new(cores));
    let writer = Writer::start(&config.audit, assembly::tell_recorded(inboxes.clone()))?;
    let recorder = writer.recorder();
    let control = Control::start(Setup {
        config: config.clone(),
        cores: assembly::cores(inboxes.clone()),
        recorder: recorder.clone(),
        metrics: metrics.clone(),
    })?;
    let process = assembly::random().ok_or(ServeFault::Random).map(u64::from_ne_bytes)?;
    recorder.record(started(&config, process, cores));
    let parts = assembly::Parts {
        config: &config,
        control: &control,
        recorder: &recorder,
        metrics: &metrics,
    };
    let shared = parts.shared(inboxes, *gate_secret, process).ok_or(ServeFault::Random)?;
    let running = crate::core::start(&parts.options(cores, cpus), &shared)
        .inspect_err(|_| recorder.record(stopped(StopReason::Fault, 0)))?;
    announce(&control, &running.bound);
    let (sender, events) = channel();
    let signals = SignalThread::start(blocked, sender.clone(), Event::Signal).map_err(ServeFault::Signals)?;
    let why = supervise(
        running.threads,
        &events,
        &sender,
        &control,
        &recorder,
        config.server.drain_deadline,
    );
    drop(signals);
    drop(control);
    Ok(stop(why, writer, &recorder, &metrics))
}

fn started(config: &Config, process: u64, cores: u16) -> Record {
    Record::Process(Box::new(Process::Started {
        at: utc_now(),
        process,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
        cores,
        listeners: config
            .listeners
            .iter()
            .map(|listener| listener.name.as_str().into())
            .collect(),
    }))
}

fn announce(control: &Control, bound: &[Local]) {
    let policy = control.published.policy.load();
    let listening: Vec<String> = bound.iter().map(shown).collect();
    tracing::info!(
        version = version(),
        listening = listening.join(" "),
        admin = control.admin.map(|address| address.to_string()),
        generation = policy.snapshot.generation(),
        hash = hex(policy.snapshot.hash()),
        "serving"
    );
}

fn shown(local: &Local) -> String {
    match local {
        Local::Tcp(address) => address.to_string(),
        Local::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn stopped(why: StopReason, sessions_ended: u64) -> Record {
    Record::Process(Box::new(Process::Stopped {
        at: utc_now(),
        why,
        sessions_ended,
    }))
}

/// The last record and the end of the writer: after this nothing is recorded any more.
fn stop(why: StopReason, writer: Writer, recorder: &Recorder, metrics: &Metrics) -> Exit {
    let ended = metrics.cores().map(|core| core.ends.get(audit::EndReason::Drain)).sum();
    recorder.record(stopped(why, ended));
    let exit = match why {
        StopReason::Signal => Exit::Ok,
        StopReason::Fault => Exit::Internal,
    };
    match writer.finish() {
        Ok(()) => {
            tracing::info!(why = why.as_str(), "stopped");
            exit
        }
        Err(lost) => {
            tracing::error!(%lost, "stopped");
            Exit::CannotWrite
        }
    }
}
