//! Everything beside the data path: policy, credentials and certificates from files, names, derived keys, metrics, signals.
//!
//! - [`keeper`] is the one thread that reads files and publishes what it made of them; [`watch`] and [`pace`] tell it when.
//! - [`workers`] answer what cores ask ([`messages`]): PBKDF2 once per salt ([`client_keys`]), latencies merged.
//! - [`resolve`] looks names up. [`runtime`] is the control thread proper, monoio, with the admin pages ([`http`]).
//! - [`providers`] is a second thread of that kind: it asks identity providers over HTTPS. [`fetch`] is the same for a command.
//! - Cores read [`Published`] without a lock and are told through their inboxes; they never wait for this room.

mod background;
pub mod client_keys;
pub mod clock;
pub mod credentials;
pub mod debounce;
pub mod directory;
pub mod fetch;
pub mod http;
pub mod keeper;
pub mod latency;
pub mod lifecycle;
pub mod listeners;
pub mod load;
pub mod messages;
pub mod pace;
pub mod pages;
mod provider_page;
pub mod providers;
pub mod published;
pub mod resolve;
pub mod retired;
pub mod runtime;
pub mod sealed;
pub mod secret_file;
pub mod signals;
pub mod specs;
pub mod start;
pub mod watch;
pub mod workers;

#[cfg(test)]
pub(crate) mod scratch;

pub use published::Published;
pub use start::{Control, Setup, StartFault};
