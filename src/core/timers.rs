//! Deadlines of one core: a heap of wake-up calls, checked once per turn.
//!
//! A session has at most a few calls in the heap. Calls are never taken back: a call whose session has gone or whose
//! deadline has moved is recognised by its holder when it fires. Relaying a message touches nothing here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Mono;

/// Wake-up calls in order of time.
#[derive(Debug, Default)]
pub struct Timers {
    calls: BinaryHeap<Reverse<Call>>,
}

/// Who asked to be woken and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub at: Mono,
    pub index: u32,
    pub generation: u32,
}

impl Timers {
    pub fn with_capacity(sessions: usize) -> Self {
        Self {
            calls: BinaryHeap::with_capacity(sessions),
        }
    }

    pub fn set(&mut self, call: Call) {
        self.calls.push(Reverse(call));
    }

    /// The next call that is due at `now`.
    pub fn due(&mut self, now: Mono) -> Option<Call> {
        self.calls.peek().filter(|call| call.0.at <= now)?;
        self.calls.pop().map(|call| call.0)
    }

    /// When the next call is due.
    pub fn next(&self) -> Option<Mono> {
        self.calls.peek().map(|call| call.0.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_in_order_of_time_and_not_before() {
        let mut timers = Timers::default();
        for at in [30, 10, 20] {
            timers.set(Call {
                at: Mono(at),
                index: at as u32,
                generation: 1,
            });
        }
        assert_eq!(timers.next(), Some(Mono(10)));
        assert_eq!(timers.due(Mono(9)), None);
        assert_eq!(timers.due(Mono(25)).map(|call| call.index), Some(10));
        assert_eq!(timers.due(Mono(25)).map(|call| call.index), Some(20));
        assert_eq!(timers.due(Mono(25)), None);
        assert_eq!(timers.next(), Some(Mono(30)));
    }
}
