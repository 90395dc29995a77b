//! The parts that cores share, made from configuration and control.

use std::sync::{Arc, OnceLock};

use core_affinity::CoreId;

use crate::audit::{Recorder, Tell};
use crate::config::{self, Config, ListenerTls, ProxyProtocol, RingFeatures};
use crate::control::Control;
use crate::control::messages::Cores;
use crate::core::admission::Admission;
use crate::core::cancel::CancelDirectory;
use crate::core::failures::Failures;
use crate::core::places::Places;
use crate::core::reference::SessionReference;
use crate::core::spent::SpentTokens;
use crate::core::{Clock, CoreOptions, ListenerFacts, Shared, Timeouts};
use crate::inbox::{Inbox, Message};
use crate::metrics::Metrics;
use crate::ring::{Features, PoolSize, RingOptions};
use crate::session::TlsMode;

/// Tries to hand a permit's answer to a core whose inbox is full before it is given up; the session then ends by its
/// own deadline. The writer's thread must not wait long for one core.
const TRIES: u32 = 10_000;

/// Whatever the configuration allows, the ring takes.
const _: () = assert!(config::MAX_BUFFER_SIZE <= PoolSize::MAX_PAYLOAD);

/// What shared parts are made from.
pub struct Parts<'a> {
    pub config: &'a Config,
    pub control: &'a Control,
    pub recorder: &'a Recorder,
    pub metrics: &'a Arc<Metrics>,
}

impl Parts<'_> {
    /// `None` where the system gives no random bytes.
    pub fn shared(&self, inboxes: Vec<Inbox>, gate_secret: [u8; 32], process: u64) -> Option<Arc<Shared>> {
        let server = &self.config.server;
        Some(Arc::new(Shared {
            published: self.control.published.clone(),
            recorder: self.recorder.clone(),
            requests: self.control.requests.clone(),
            lifecycle: self.control.lifecycle.clone(),
            metrics: self.metrics.clone(),
            places: Places::new(inboxes.len(), sessions_per_core(self.config, inboxes.len())),
            admission: Admission::default(),
            cancels: CancelDirectory::new(&random()?),
            spent: SpentTokens::with_room_for(server.one_time_tokens as usize),
            failures: Failures::new(&self.config.failures, random()?),
            providers: self.control.providers.clone(),
            gate_secret,
            process,
            entrances: self.config.listeners.iter().map(entrance).collect(),
            inboxes,
            rings: OnceLock::new(),
            clock: Clock::new(),
            timeouts: Timeouts {
                startup: milliseconds(server.startup_deadline),
                authentication: milliseconds(server.authentication_deadline),
            },
        }))
    }

    pub fn options(&self, cores: u16, cpus: Vec<CoreId>) -> CoreOptions {
        CoreOptions {
            cores,
            cpus: if self.config.server.pin { cpus } else { Vec::new() },
            ring: ring_options(&self.config.ring),
            sessions_per_core: sessions_per_core(self.config, usize::from(cores)),
            listeners: self
                .config
                .listeners
                .iter()
                .map(|listener| (listener.address.clone(), listener.backlog))
                .collect(),
        }
    }
}

/// The cores as control tells them things.
pub fn cores(inboxes: Vec<Inbox>) -> Cores {
    let count = u16::try_from(inboxes.len()).unwrap_or(u16::MAX);
    let tell = move |core: u16, notice| match inboxes.get(usize::from(core)) {
        None => Ok(()),
        Some(inbox) => inbox.send(Message::Control(notice)).map_err(|back| match back {
            Message::Control(notice) => notice,
            Message::Recorded { .. } | Message::Cancel { .. } | Message::CancelDone { .. } => {
                unreachable!("a full inbox gives back what it was given")
            }
        }),
    };
    Cores::new(count, Box::new(tell))
}

/// How the record's writer tells a core that a permit is written.
pub fn tell_recorded(inboxes: Vec<Inbox>) -> Tell {
    Box::new(move |ticket, result| {
        let Some(inbox) = inboxes.get(usize::from(ticket.core)) else {
            return;
        };
        let session = SessionReference::from_bits(ticket.session);
        let mut message = Message::Recorded {
            session,
            written: result.is_ok(),
        };
        for _ in 0..TRIES {
            match inbox.send(message) {
                Ok(()) => return,
                Err(back) => message = back,
            }
            std::thread::yield_now();
        }
        tracing::error!(
            core = ticket.core,
            "core takes no messages; a session waits for its record in vain"
        );
    })
}

/// `None` where the system gives none.
pub fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok().map(|()| bytes)
}

fn sessions_per_core(config: &Config, cores: usize) -> u32 {
    config
        .server
        .sessions
        .div_ceil(u32::try_from(cores.max(1)).unwrap_or(u32::MAX))
}

fn entrance(listener: &config::Listener) -> ListenerFacts {
    ListenerFacts {
        name: listener.name.as_str().into(),
        tls: match listener.tls {
            ListenerTls::Off => TlsMode::Off,
            ListenerTls::Allow(_) => TlsMode::Allow,
            ListenerTls::Require(_) => TlsMode::Require,
        },
        proxies: match &listener.proxy_protocol {
            ProxyProtocol::Off => None,
            ProxyProtocol::Required { trusted } => Some(trusted.clone()),
        },
    }
}

fn ring_options(ring: &config::Ring) -> RingOptions {
    RingOptions {
        submissions: ring.entries,
        completions: ring.entries.saturating_mul(8),
        small: PoolSize {
            payload: ring.small_buffer_size,
            count: u32::from(ring.small_buffers),
        },
        bulk: PoolSize {
            payload: ring.bulk_buffer_size,
            count: u32::from(ring.bulk_buffers),
        },
        features: match ring.features {
            RingFeatures::All => Features::ALL,
            RingFeatures::Floor => Features::NONE,
        },
        ..RingOptions::default()
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
