//! The ring against the real kernel, over real sockets.

mod echo;
mod limits;
mod support;
