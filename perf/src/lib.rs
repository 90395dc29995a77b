//! What the benchmarks of Postern share.

pub mod machine;
pub mod million;
pub mod processes;

/// Whatever stops a benchmark is told to a person as text.
pub type Failure = Box<dyn std::error::Error>;
