//! A byte budget a second, for records that strangers can cause at will.

use std::time::{Duration, Instant};

/// Refills steadily, holds one second's worth, and may go into debt by one line.
pub struct Budget {
    bytes_per_second: u64,
    /// Bytes that may be written now, in billionths, so that nothing is lost by rounding.
    left: i128,
    filled: Instant,
}

impl Budget {
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self {
            bytes_per_second,
            left: Self::whole(bytes_per_second),
            filled: now,
        }
    }

    /// Whether another line may be written.
    pub fn allows(&mut self, now: Instant) -> bool {
        let passed = now
            .saturating_duration_since(self.filled)
            .min(Duration::from_secs(3_600));
        self.filled = now;
        self.left += passed.as_nanos() as i128 * i128::from(self.bytes_per_second);
        self.left = self.left.min(Self::whole(self.bytes_per_second));
        self.left > 0
    }

    pub fn spend(&mut self, bytes: usize) {
        self.left -= Self::whole(bytes as u64);
    }

    fn whole(bytes: u64) -> i128 {
        i128::from(bytes) * 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_its_bytes_and_one_line_more() {
        let start = Instant::now();
        let mut budget = Budget::new(1_000, start);
        let mut spent = 0;
        for millisecond in 0..10_000 {
            while budget.allows(start + Duration::from_millis(millisecond)) {
                budget.spend(300);
                spent += 300;
            }
        }
        // Ten seconds' worth and the one second that was full at the start.
        assert!((11_000..=11_300).contains(&spent), "{spent}");
    }

    #[test]
    fn silence_saves_up_one_second_only() {
        let start = Instant::now();
        let mut budget = Budget::new(1_000, start);
        let later = start + Duration::from_secs(100_000);
        assert!(budget.allows(later));
        budget.spend(1_000);
        assert!(!budget.allows(later));
    }

    #[test]
    fn no_budget_allows_nothing() {
        let start = Instant::now();
        assert!(!Budget::new(0, start).allows(start + Duration::from_secs(5)));
    }
}
