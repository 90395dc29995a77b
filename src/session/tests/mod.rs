//! Whole conversations through a gate, without a socket: a client, a server and a clock that the test turns.

mod chaos;
mod conversation;
mod driven;
mod expiry;
mod failures;
mod in_flight;
mod login;
mod proofs;
mod refusals;
mod server;
mod standing;
mod tokens;
mod transcripts;
