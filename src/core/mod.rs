//! The per-core loop: completions to sessions to submissions.
//!
//! One [`Core`] per thread owns its ring, its connections and its buffers. `run` has the loop and the one match over
//! completions; from there `accept`, `receive`, `login`, `handshakes`, `relay`, `errand` and `close` each have one part of a
//! connection's way, and `transport` has what they all use to move bytes. What cores share stands in [`Shared`] and is
//! touched when a session begins or ends, never while it relays.

mod accept;
pub mod admission;
mod around;
pub mod cancel;
mod close;
mod connection;
mod destinations;
mod errand;
pub mod failures;
mod handshakes;
mod interned;
mod lanes;
mod line;
mod login;
mod messages;
pub mod places;
mod receive;
pub mod reference;
mod relay;
mod run;
mod serve;
mod shared;
pub mod spent;
mod table;
pub mod timers;
mod transport;

pub use run::Core;
pub use serve::{CoreOptions, StartFailed, Started, start};
pub use shared::{Clock, ListenerFacts, Shared, Timeouts};
