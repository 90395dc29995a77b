//! The control thread: policy watcher, key refresh, metrics, signals. Never on the data path.

pub mod sealed;
