//! When the keeper acts: after a burst of changes, and every few seconds in any case.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::debounce::Debounce;
use super::watch::{Concern, Interest};

/// How often retired policies are looked at.
pub const TICK: Duration = Duration::from_secs(1);
/// Every how many ticks the files are compared, whatever the watcher says.
const COMPARE_TICKS: u32 = 5;

pub struct Pace {
    policy: Debounce,
    secrets: Debounce,
    signature: BTreeMap<Concern, u64>,
    ticks: u32,
    next_tick: Instant,
}

impl Pace {
    pub fn new(interest: &Interest, now: Instant) -> Self {
        Self {
            policy: Debounce::default(),
            secrets: Debounce::default(),
            signature: interest.signature(),
            ticks: 0,
            next_tick: now + TICK,
        }
    }

    pub fn touch(&mut self, concern: Concern, now: Instant) {
        match concern {
            Concern::Policy => self.policy.touch(now),
            Concern::Secrets => self.secrets.touch(now),
        }
    }

    /// How long nothing has to be done.
    pub fn wait(&self, now: Instant) -> Duration {
        let next = [self.policy.due(), self.secrets.due()]
            .into_iter()
            .flatten()
            .fold(self.next_tick, Instant::min);
        next.saturating_duration_since(now)
    }

    /// What is to be read now, if anything. The files count as seen from here on: what changes while they are read is
    /// another change.
    pub fn take(&mut self, interest: &Interest, now: Instant) -> Option<Concern> {
        let concern = match (self.policy.take(now), self.secrets.take(now)) {
            // Reading the policy reads the secrets too.
            (true, _) => Concern::Policy,
            (false, true) => Concern::Secrets,
            (false, false) => return None,
        };
        self.signature = interest.signature();
        Some(concern)
    }

    /// After a reading: what changed meanwhile, while directories may not have been watched, is another change. `before`
    /// is what mattered when the reading began.
    pub fn look_again(&mut self, before: &Interest, interest: &Interest, now: Instant) {
        self.compare(before, now);
        self.signature = interest.signature();
    }

    /// True once a tick. Some of them compare the files and count a difference as a change.
    pub fn tick(&mut self, interest: &Interest, now: Instant) -> bool {
        if now < self.next_tick {
            return false;
        }
        self.next_tick = now + TICK;
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(COMPARE_TICKS) {
            self.compare(interest, now);
        }
        true
    }

    fn compare(&mut self, interest: &Interest, now: Instant) {
        let found = interest.signature();
        for concern in [Concern::Policy, Concern::Secrets] {
            if found.get(&concern) != self.signature.get(&concern) {
                self.touch(concern, now);
            }
        }
        self.signature = found;
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_change_during_a_reading_is_another_change() {
        let dir = Scratch::new();
        let interest = Interest {
            directory: dir.path().to_owned(),
            files: BTreeMap::new(),
        };
        let now = Instant::now();
        let mut pace = Pace::new(&interest, now);
        pace.touch(Concern::Policy, now);
        assert!(pace.take(&interest, now + TICK).is_some());
        pace.look_again(&interest, &interest, now + TICK);
        assert_eq!(pace.take(&interest, now + TICK * 2), None);
        dir.write("a.toml", "x");
        pace.look_again(&interest, &interest, now + TICK * 2);
        assert_eq!(pace.take(&interest, now + TICK * 3), Some(Concern::Policy));
    }

    #[test]
    fn without_any_watcher_a_change_is_found_within_a_few_ticks() {
        let dir = Scratch::new();
        let interest = Interest {
            directory: dir.path().to_owned(),
            files: BTreeMap::new(),
        };
        let mut now = Instant::now();
        let mut pace = Pace::new(&interest, now);
        dir.write("a.toml", "x");
        let mut found = None;
        for _ in 0..COMPARE_TICKS + 1 {
            now += TICK;
            assert!(pace.tick(&interest, now));
            found = found.or(pace.take(&interest, now + TICK / 2));
        }
        assert_eq!(found, Some(Concern::Policy));
        assert_eq!(pace.take(&interest, now + TICK), None, "once");
    }
}
