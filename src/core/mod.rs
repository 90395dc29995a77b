//! The per-core loop: completions to sessions to submissions.
