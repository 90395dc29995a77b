//! The control thread: policy watcher, key refresh, metrics, signals. Never on the data path.

pub mod directory;
pub mod resolve;
pub mod sealed;

#[cfg(test)]
mod scratch;
