//! Many changes in a row, one reload: it waits for a moment of quiet, but not for ever.

use std::time::{Duration, Instant};

/// The quiet that ends a burst.
pub const QUIET: Duration = Duration::from_millis(50);
/// The longest a burst is waited for.
pub const LONGEST: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub struct Debounce {
    burst: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Something changed at `now`.
    pub fn touch(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |(first, _)| first);
        self.burst = Some((first, now));
    }

    /// When to act; `None` with nothing to do.
    pub fn due(&self) -> Option<Instant> {
        self.burst.map(|(first, last)| (last + QUIET).min(first + LONGEST))
    }

    /// True once, when the time has come.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.burst = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_quiet() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.touch(start);
        debounce.touch(start + QUIET / 2);
        assert!(!debounce.take(start + QUIET));
        assert!(debounce.take(start + QUIET + QUIET / 2));
        assert!(!debounce.take(start + LONGEST * 2), "once");
    }

    #[test]
    fn a_burst_without_end_is_cut() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        let mut now = start;
        while !debounce.take(now) {
            debounce.touch(now);
            now += QUIET / 5;
        }
        assert!(now - start <= LONGEST + QUIET / 5, "{:?}", now - start);
    }
}
