//! How long things took: one histogram per stage, owned by the core that records into it.
//!
//! A core never merges and never shares a histogram. Control sends it an empty set, the core swaps it in and sends the
//! filled one back; control adds that to its totals. Recording neither allocates nor can fail.

use hdrhistogram::Histogram;

use super::counter::{Label, label};

label! {
    /// What is timed.
    Stage as "stage" {
        /// From the first TLS byte to the finished handshake.
        TlsHandshake = "tls_handshake",
        /// From the request for a proof to the verified proof, the client's own time included.
        Proof = "proof",
        /// One call of `decide`.
        Decision = "decision",
        /// From the start of connecting to the server's ReadyForQuery.
        UpstreamLogin = "upstream_login",
        /// From accept to the client's ReadyForQuery.
        Attempt = "attempt",
    }
}

/// One hour, in nanoseconds; what takes longer is counted as this.
const LONGEST: u64 = 3_600_000_000_000;
/// Two significant digits: within one percent of the truth, 36 KiB a stage.
const DIGITS: u8 = 2;

/// Nanoseconds per stage.
#[derive(Debug, Clone)]
pub struct Latencies(Box<[Histogram<u64>]>);

impl Latencies {
    pub fn record(&mut self, stage: Stage, nanoseconds: u64) {
        if let Some(histogram) = self.0.get_mut(stage.index()) {
            histogram.saturating_record(nanoseconds);
        }
    }

    pub fn stage(&self, stage: Stage) -> Option<&Histogram<u64>> {
        self.0.get(stage.index())
    }

    /// Adds everything that `other` holds. Both have the same bounds, so nothing is lost.
    pub fn add(&mut self, other: &Self) {
        for (total, part) in self.0.iter_mut().zip(other.0.iter()) {
            let added = total.add(part);
            debug_assert!(added.is_ok(), "equal bounds: {added:?}");
        }
    }

    /// Empties it, so that it can be swapped in again.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(Histogram::reset);
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Stage::ALL.iter().map(|_| empty()).collect())
    }
}

fn empty() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, LONGEST, DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("constant bounds are valid: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_cores_recorded_adds_up() {
        let (mut one, mut two, mut total) = (Latencies::default(), Latencies::default(), Latencies::default());
        one.record(Stage::Decision, 400);
        two.record(Stage::Decision, 700);
        two.record(Stage::Attempt, u64::MAX);
        total.add(&one);
        total.add(&two);
        assert_eq!(total.stage(Stage::Decision).map(Histogram::len), Some(2));
        assert_eq!(total.stage(Stage::Attempt).map(Histogram::len), Some(1));
        two.clear();
        assert_eq!(two.stage(Stage::Attempt).map(Histogram::len), Some(0));
    }
}
