//! The gate itself: a state machine from the first byte to relay and close. Pure.
//!
//! Two machines, one after the other. [`Gate`] takes a connection from its first byte to the moment the server is ready
//! for queries; [`Passage`] follows the relayed bytes from there to the close. Neither touches a socket, a clock or a
//! source of randomness: bytes and completions come in as calls of `handle_*`, time and randomness through
//! [`Surroundings`], and what is to be done comes out as bytes and [`Order`]s.
//!
//! The driving contract of a [`Gate`]: after every `handle_*`, send what [`Gate::take_to_client`] and
//! [`Gate::take_to_server`] give, then carry out every order of [`Gate::poll_order`], then ask [`Gate::deadline`]. After
//! [`Order::Close`] nothing may be called any more; after [`Order::Relay`] only the passage it carries.

mod assertion;
mod attempt;
mod denial;
mod entry;
mod gate;
mod negotiation;
mod open;
mod order;
mod passage;
mod proof;
mod scram;
mod standing;
mod surroundings;
mod terms;
mod token;
mod webhook;

pub use assertion::{Assertion, Meaning, reason_name};
pub use attempt::{ClientTls, Entrance, TlsMode};
pub use denial::Denial;
pub use gate::Gate;
pub use order::Order;
pub use passage::{Passage, Verdict};
pub use standing::{Expiry, Standing};
pub use surroundings::{NoRoute, Route, Spent, Surroundings, UsableKeys};
pub use terms::Terms;

#[cfg(test)]
mod tests;
