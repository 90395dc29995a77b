//! The ring against the real kernel, over real sockets.

mod echo;
mod ends;
mod limits;
mod support;
