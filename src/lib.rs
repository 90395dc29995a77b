//! Postern: an identity gate for PostgreSQL at the wire protocol.
//!
//! The rooms and what each may know of the others are described in `docs/architecture.md`. Dependencies point one way:
//! `core -> {tls, session} -> {identity, upstream, wire, policy}`; `ring` knows nothing about PostgreSQL; the pure rooms
//! (`wire`, `identity`, `session`, the protocol half of `upstream`, the policy crate) know no sockets, files or clock.

pub mod audit;
pub mod bind;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod identity;
pub mod in_force;
pub mod inbox;
pub mod metrics;
pub mod ring;
pub mod secret;
pub mod session;
pub mod time;
pub mod tls;
pub mod upstream;
pub mod wire;
