//! How large a ring is made.

use super::buffers::PoolSize;
use super::features::Features;

/// Sizes of one ring and its buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingOptions {
    /// Entries of the submission queue: how much is submitted with one system call. Not a limit: a full queue is submitted.
    pub submissions: u32,
    /// Entries of the completion queue. When it overflows the kernel keeps the rest, slower.
    pub completions: u32,
    /// Most slots; as many as RLIMIT_NOFILE allows if that is fewer.
    pub slots: u32,
    /// The group for everyone's receives.
    pub small: PoolSize,
    /// The group for bulk.
    pub bulk: PoolSize,
    /// Buffers of our own.
    pub own: PoolSize,
    /// Features that may be used, if the kernel has them.
    pub features: Features,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            submissions: 256,
            completions: 2_048,
            slots: 1 << 20,
            small: PoolSize {
                payload: 2_048,
                count: 8_192,
            },
            bulk: PoolSize {
                payload: 8_192,
                count: 1_024,
            },
            own: PoolSize {
                payload: 16_384,
                count: 4_096,
            },
            features: Features::ALL,
        }
    }
}
