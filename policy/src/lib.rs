//! Policy of Postern: text -> model -> snapshot -> decision. Pure: no sockets, no files, no clock, no randomness.

pub mod model;
pub mod time;
