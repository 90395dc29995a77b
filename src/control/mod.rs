//! The control thread: policy watcher, key refresh, metrics, signals. Never on the data path.

pub mod client_keys;
pub mod credentials;
pub mod debounce;
pub mod directory;
pub mod http;
pub mod latency;
pub mod lifecycle;
pub mod messages;
pub mod pages;
mod published;
pub mod resolve;
pub mod runtime;
pub mod sealed;
pub mod secret_file;
pub mod signals;
pub mod watch;

#[cfg(test)]
mod scratch;

pub use published::Published;
