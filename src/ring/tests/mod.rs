//! The ring against the real kernel, over real sockets.

mod cancels;
mod echo;
mod ends;
mod limits;
mod sends;
mod support;
mod threads;
