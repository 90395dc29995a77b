//! Policy of Postern: text -> model -> snapshot -> decision. Pure: no sockets, no files, no clock, no randomness.

pub mod check;
pub mod fault;
pub mod model;
pub mod time;
pub mod words;
