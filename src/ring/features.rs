//! What a kernel above the floor adds, probed once, and closable so that tests run without it.

use io_uring::{IoUring, Probe, opcode};

/// A set of things that kernels after 6.1 brought. Everything works without them, only dearer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(0b111);

    /// One receive fills several buffers of the group (6.10).
    pub const RECEIVE_BUNDLES: Self = Self(1);

    /// Slots are direct descriptors: they do not count against RLIMIT_NOFILE. Used where closing one releases the socket
    /// at once. Up to 6.12 a removed file waits until every request that was issued before the removal, of any
    /// session, has completed: one idle session would pin every socket closed after it. There, slots are ordinary
    /// descriptors under the same numbers.
    pub const DIRECT_SLOTS: Self = Self(2);

    /// Waiting for completions is not accounted as waiting for a disk (6.15).
    pub const NO_IOWAIT: Self = Self(4);

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn with(self, other: Self, present: bool) -> Self {
        if present { Self(self.0 | other.0) } else { self }
    }

    pub(super) fn probed(ring: &IoUring, probe: &Probe) -> Self {
        let parameters = ring.params();
        Self::NONE
            .with(Self::RECEIVE_BUNDLES, parameters.is_feature_recvsend_bundle())
            // The change of 6.13 has no mark of its own; this operation came two releases later.
            .with(Self::DIRECT_SLOTS, probe.is_supported(opcode::ReadvFixed::CODE))
            .with(Self::NO_IOWAIT, parameters.is_feature_no_iowait())
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (Self::RECEIVE_BUNDLES, "receive_bundles"),
            (Self::DIRECT_SLOTS, "direct_slots"),
            (Self::NO_IOWAIT, "no_iowait"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(feature, _)| self.contains(*feature))
                    .map(|(_, name)| name),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_closes_features() {
        let probed = Features::RECEIVE_BUNDLES.with(Features::NO_IOWAIT, true);
        assert!(probed.contains(Features::NO_IOWAIT));
        assert!(!probed.contains(Features::DIRECT_SLOTS));
        assert_eq!(probed.and(Features::NONE), Features::NONE);
        assert_eq!(probed.and(Features::ALL), probed);
        assert_eq!(probed.without(Features::NO_IOWAIT), Features::RECEIVE_BUNDLES);
        assert_eq!(format!("{probed:?}"), r#"{"receive_bundles", "no_iowait"}"#);
    }
}
