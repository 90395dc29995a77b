//! A name for each connection, unique over restarts and over a fleet, found without asking anybody.

use std::fmt;

/// Printed as `<process>-<core>-<count>` in hexadecimal: `0c8f3e21a47b9d10-2-1a4f`.
///
/// It is no secret and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    process: u64,
    /// Core in the upper 16 bits, count in the lower 48.
    place: u64,
}

impl SessionId {
    pub fn process(self) -> u64 {
        self.process
    }

    pub fn core(self) -> u16 {
        (self.place >> COUNT_BITS) as u16
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.place & COUNT_MASK;
        write!(f, "{:016x}-{:x}-{count:x}", self.process, self.core())
    }
}

/// One core's source of [`SessionId`]s: a counter, so that it costs nothing.
#[derive(Debug)]
pub struct SessionIds {
    process: u64,
    core: u16,
    next: u64,
}

impl SessionIds {
    /// `process` is drawn at random once at start and shown in `process.started`.
    pub fn new(process: u64, core: u16) -> Self {
        Self { process, core, next: 0 }
    }

    /// A new one. The count is 48 bits wide: a million connections a second for nine years.
    pub fn draw(&mut self) -> SessionId {
        self.next = (self.next + 1) & COUNT_MASK;
        SessionId {
            process: self.process,
            place: u64::from(self.core) << COUNT_BITS | self.next,
        }
    }
}

const COUNT_BITS: u32 = 48;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_process_core_and_count() {
        let mut ids = SessionIds::new(0xc8f3e21a47b9d10, 2);
        assert_eq!(ids.draw().to_string(), "0c8f3e21a47b9d10-2-1");
        assert_eq!(ids.draw().to_string(), "0c8f3e21a47b9d10-2-2");
        assert_eq!(ids.draw().core(), 2);
    }

    #[test]
    fn cores_never_share_one() {
        let (mut first, mut last) = (SessionIds::new(1, 0), SessionIds::new(1, u16::MAX));
        assert_ne!(first.draw(), last.draw());
        assert_eq!(last.draw().core(), u16::MAX);
    }
}
