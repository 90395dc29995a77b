//! Counters per core, and latencies merged off the cores.
//!
//! A core writes only its own [`CoreMetrics`], which lie on cache lines of their own, with plain loads and stores. Whoever
//! renders them adds them up. Every series has its name, help and type where its field is declared, every label is a
//! closed set, and every value of it is present from the start, at zero. No user, database or SQL is ever a label.

mod counter;
mod latencies;
mod series;
mod text;

pub use counter::{Counter, Family, Gauge, Label, SharedCounter, SharedFamily, SharedGauge};
pub use latencies::{Latencies, Stage};
pub use series::*;
pub use text::{CONTENT_TYPE, render};

use crossbeam_utils::CachePadded;

/// Everything that is counted in one process.
#[derive(Debug)]
pub struct Metrics {
    cores: Box<[CachePadded<CoreMetrics>]>,
    pub control: ControlMetrics,
}

impl Metrics {
    pub fn new(cores: u16) -> Self {
        Self {
            cores: (0..cores).map(|_| CachePadded::default()).collect(),
            control: ControlMetrics::default(),
        }
    }

    /// The counters that core `index` writes. `None` past the number of cores given to [`Metrics::new`].
    pub fn core(&self, index: u16) -> Option<&CoreMetrics> {
        self.cores.get(usize::from(index)).map(|padded| &**padded)
    }

    pub fn cores(&self) -> impl ExactSizeIterator<Item = &CoreMetrics> {
        self.cores.iter().map(|padded| &**padded)
    }
}
