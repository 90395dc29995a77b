//! The per-core loop: completions to sessions to submissions.

pub mod admission;
pub mod cancel;
pub mod places;
pub mod reference;
pub mod timers;
