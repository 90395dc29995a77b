//! Policy of Postern: text -> model -> snapshot -> decision. Pure: no sockets, no files, no clock, no randomness.

mod archive;
pub mod attributes;
pub mod authenticate;
pub mod check;
pub mod compile;
mod conditions;
pub mod decide;
pub mod explain;
pub mod fault;
pub mod id;
pub mod identity;
pub mod model;
#[cfg(test)]
mod sample;
pub mod snapshot;
pub mod template;
pub mod text;
pub mod time;
pub mod view;
pub mod words;
