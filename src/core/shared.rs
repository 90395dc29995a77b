//! What all cores of a process share. Nothing of it is touched while bytes are relayed, but the policy in force.

use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use crate::audit::{Name, Recorder};
use crate::control::Published;
use crate::control::lifecycle::Lifecycle;
use crate::control::messages::Requests;
use crate::control::providers::Window;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::ring::RingHandle;
use crate::session::TlsMode;
use crate::time::{Mono, Utc};

use super::admission::Admission;
use super::cancel::CancelDirectory;
use super::failures::Failures;
use super::places::Places;
use super::spent::SpentTokens;

/// One set for the process.
pub struct Shared {
    pub published: Arc<Published>,
    pub recorder: Recorder,
    pub requests: Requests,
    pub lifecycle: Arc<Lifecycle>,
    pub metrics: Arc<Metrics>,
    pub places: Places,
    pub admission: Admission,
    pub cancels: CancelDirectory,
    pub spent: SpentTokens,
    pub failures: Failures,
    /// Identity providers that are asked over HTTPS.
    pub providers: Window,
    /// The mock salts of unknown names are made of it.
    pub gate_secret: [u8; 32],
    /// First part of every session id of this process.
    pub process: u64,
    pub entrances: Vec<ListenerFacts>,
    pub inboxes: Vec<Inbox>,
    /// Set once every core has its ring.
    pub rings: OnceLock<Vec<RingHandle>>,
    pub clock: Clock,
    pub timeouts: Timeouts,
}

/// What holds for everyone who arrives at one listener.
#[derive(Debug, Clone)]
pub struct ListenerFacts {
    pub name: Name,
    pub tls: TlsMode,
    /// Networks whose proxies must speak for their clients; `None` where clients come themselves.
    pub proxies: Option<Vec<IpNet>>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub startup: u64,
    pub authentication: u64,
}

/// The two clocks of the process. Only cores and control read them.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    pub fn mono(&self) -> Mono {
        Mono(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub fn utc(&self) -> Utc {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Utc(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
