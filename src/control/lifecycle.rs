//! Where the process is in its life, as the readiness page and the accept path see it.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// Written by cores and by whoever handles signals; read by everyone.
#[derive(Debug)]
pub struct Lifecycle {
    cores: u16,
    accepting: AtomicU16,
    draining: AtomicBool,
}

impl Lifecycle {
    pub fn new(cores: u16) -> Self {
        Self {
            cores,
            accepting: AtomicU16::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// A core's listeners accept now. Once per core.
    pub fn core_accepts(&self) {
        self.accepting.fetch_add(1, Ordering::Relaxed);
    }

    /// A core that accepted does so no more: it drains, or it has gone.
    pub fn core_stopped(&self) {
        self.accepting.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn all_accept(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) == self.cores
    }

    /// From here on nobody new is let in.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
