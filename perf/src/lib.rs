//! What the benchmarks of Postern share.

pub mod files;
pub mod load;
pub mod machine;
pub mod metrics;
pub mod million;
pub mod processes;
pub mod proofs;

/// Whatever stops a benchmark is told to a person as text.
pub type Failure = Box<dyn std::error::Error>;
