//! What the kernel answered, typed by what was asked.

use super::buffers::Segments;
use super::errno::Errno;
use super::tag::Tag;
use std::os::fd::OwnedFd;

/// One completion. Dropping it drops what it brought: descriptors are closed, buffers return.
#[derive(Debug)]
pub struct Completion {
    /// As given with the operation; for [`Outcome::Arrived`] as given by the sender.
    pub tag: Tag,
    /// The operation goes on and will complete again. Without it a multishot operation is over and wants to be armed
    /// again, if it is still needed.
    pub more: bool,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// `accept_multishot`: an ordinary, blocking descriptor. Errors: descriptors are out (EMFILE, ENFILE; arm again later),
    /// the peer went away (ECONNABORTED), or the listener's slot was closed (ECANCELED).
    Accepted(Result<OwnedFd, Errno>),
    /// Another ring handed this descriptor over.
    Arrived(OwnedFd),
    /// `hand_over`: the target has it, or it comes back with the reason.
    HandedOver(Result<(), (Errno, OwnedFd)>),
    /// `receive_multishot`.
    Received(Received),
    /// `send`: bytes that the kernel has taken, from the front. Fewer than asked for means that the connection broke or the
    /// send was cancelled on the way; sending the rest tells which.
    Sent(Result<u32, Errno>),
    /// `connect`.
    Connected(Result<(), Errno>),
    /// `shut_down`.
    ShutDown(Result<(), Errno>),
    /// `close`: the slot is free again, whatever the result.
    Closed(Result<(), Errno>),
    /// `cancel_*`: how many operations were cancelled. Each of them completes by itself.
    Cancelled(Result<u32, Errno>),
    /// `watch`: the event was signalled (or an error ended the watch).
    Woken(Result<(), Errno>),
}

#[derive(Debug)]
pub enum Received {
    /// At least one byte. `socket_nonempty`: the socket had more when this was taken.
    Bytes { segments: Segments, socket_nonempty: bool },
    /// The peer will send no more.
    End,
    /// The group was empty. Nothing is lost: the bytes wait in the socket. Arm again when buffers are back.
    NoBuffers,
    /// ECANCELED after a cancel, else the connection is broken.
    Failed(Errno),
}
