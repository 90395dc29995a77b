//! Black-box tests: real clients, the real `postern`, real PostgreSQL 15 and 18 (`scripts/test` brings them).

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod admission;
mod cancels;
mod certificates;
mod clients;
mod errors;
mod exhaustion;
mod failures;
mod jdbc;
mod large_messages;
mod oauthbearer;
mod policy_changes;
mod record;
mod secrets;
mod server_methods;
mod servers;
mod stopping;
mod storms;
mod tokens;
mod transports;
mod turned_away;
