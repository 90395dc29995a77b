//! Two clocks, both arguments: the pure rooms never read one.

pub use postern_policy::time::Utc;

/// Nanoseconds of a monotonic clock; meaningful only against another of the same process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// This moment and `milliseconds` more; saturates.
    pub fn after_millis(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds.saturating_mul(1_000_000)))
    }

    /// Microseconds from `earlier` to this moment; zero when `earlier` is later.
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_do_not_wrap() {
        assert_eq!(Mono(5_000).micros_since(Mono(1_000)), 4);
        assert_eq!(Mono(1_000).micros_since(Mono(5_000)), 0);
        assert_eq!(Mono(u64::MAX).after_millis(1), Mono(u64::MAX));
    }
}
