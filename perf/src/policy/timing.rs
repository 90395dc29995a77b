//! Latencies of single calls, and what reading the clock adds to each.

use std::time::Instant;

use hdrhistogram::Histogram;
use postern_perf::Failure;
use serde::Serialize;

use crate::allocations;

/// Of one kind of call.
pub struct Timing {
    histogram: Histogram<u64>,
    allocations: u64,
}

/// Nanoseconds, the clock's own cost included.
#[derive(Debug, Serialize)]
pub struct Latency {
    pub what: String,
    pub calls: u64,
    pub median: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub allocations: u64,
}

impl Timing {
    /// Has its memory from the start: recording allocates nothing.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self {
            histogram: Histogram::new_with_bounds(1, 10_000_000_000, 3)?,
            allocations: 0,
        })
    }

    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let before = allocations::count();
        let began = Instant::now();
        let result = std::hint::black_box(call());
        let nanoseconds = began.elapsed().as_nanos() as u64;
        self.allocations += allocations::count() - before;
        self.histogram.saturating_record(nanoseconds.max(1));
        result
    }

    pub fn latency(&self, what: &str) -> Latency {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        Latency {
            what: what.to_owned(),
            calls: self.histogram.len(),
            median: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            allocations: self.allocations,
        }
    }
}

/// What is measured where nothing is called.
pub fn of_the_clock(calls: u32) -> Result<Latency, Failure> {
    let mut timing = Timing::new()?;
    (0..calls).for_each(|_| timing.time(|| ()));
    Ok(timing.latency("the clock alone"))
}
