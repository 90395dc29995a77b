//! What can be asked of a ring, and how the answers are read.
//!
//! Every function here pushes one entry and returns at once; its completion comes in a later turn. None fails: what
//! cannot be done is told by the completion.
#![allow(unsafe_code)]

use super::buffers::{Provided, Segment};
use super::completion::{Completion, Outcome, Received};
use super::errno::Errno;
use super::event::EventFd;
use super::features::Features;
use super::flight::Flight;
use super::handle::RingHandle;
use super::limits;
use super::ring::Ring;
use super::slots::{Aim, Slot};
use super::socket::Address;
use super::start_error::StartError;
use super::tag::{Kind, Tag, tag_of};
use io_uring::types::CancelBuilder;
use io_uring::{Probe, cqueue, opcode, squeue, types};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

/// Which provided buffers a receive fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Small,
    Bulk,
}

/// Which half of a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The peer sees the end of the stream; it may still send.
    Write,
    Both,
}

/// A send is one system call's worth in the kernel: it waits until all bytes are taken, and never raises SIGPIPE.
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// No descriptor: the kernel answers EBADF.
const NOWHERE: i32 = -1;

impl Ring {
    /// Accepts connections until cancelled or until descriptors run out: [`Outcome::Accepted`], many times.
    pub fn accept_multishot(&mut self, listener: Slot, tag: Tag) {
        let (fd, flags) = self.slots.aim(listener).entry();
        let entry = opcode::AcceptMulti::new(fd)
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .flags(flags);
        // SAFETY: the entry points to nothing.
        unsafe { self.push(entry.user_data(Kind::Accept.with_tag(tag))) };
    }

    /// Receives into buffers of the group until the end, an error or a cancel: [`Outcome::Received`], many times. A waiting
    /// receive holds no buffer. `bundle` lets one completion fill several buffers, where the kernel can.
    ///
    /// On a Unix socket every completion is the last (`more` is false): there a multishot receive can sleep through the end
    /// of the stream, when the peer's shutdown falls together with its last bytes and with sends of ours. Seen on 6.18,
    /// and without our sends on everything before the fix of liburing issue 1549.
    pub fn receive_multishot(&mut self, slot: Slot, group: Group, bundle: bool, tag: Tag) {
        let (fd, flags) = self.slots.aim(slot).entry();
        let number = group.number();
        let bundle = bundle && self.features().contains(Features::RECEIVE_BUNDLES);
        let entry = match (self.slots.is_unix(slot), bundle) {
            (false, false) => opcode::RecvMulti::new(fd, number).build(),
            (false, true) => opcode::RecvMultiBundle::new(fd, number).build(),
            (true, false) => {
                let receive = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(number).build();
                receive.flags(squeue::Flags::BUFFER_SELECT)
            }
            (true, true) => opcode::RecvBundle::new(fd, number).build(),
        };
        // SAFETY: the kernel writes to buffers of the group only, which have no owner but it, and whose mapping lives as long as
        // the ring.
        unsafe { self.push(entry.flags(flags).user_data(group.kind().with_tag(tag))) };
    }

    /// Sends segments in order, at most [`super::MOST_SEGMENTS`] of them, and answers how many bytes are on their way: one
    /// [`Outcome::Sent`] will tell how many of these have gone. The ring holds the bytes until then, so the caller may drop
    /// its segments; it cannot change them. Empty segments are passed over; with nothing to send the answer is 0 and no
    /// completion comes.
    pub fn send<'a>(&mut self, slot: Slot, segments: impl IntoIterator<Item = &'a mut Segment>, tag: Tag) -> usize {
        let mut segments = segments.into_iter().filter(|segment| !segment.is_empty());
        let Some(first) = segments.next() else {
            return 0;
        };
        match segments.next() {
            None => self.send_one(slot, first, tag),
            Some(second) => self.send_batch(slot, [first, second].into_iter().chain(segments), tag),
        }
    }

    /// Connects the socket in the slot: one [`Outcome::Connected`]. Bound it in time by [`Ring::cancel_slot`].
    pub fn connect(&mut self, slot: Slot, address: Address, tag: Tag) {
        let (fd, flags) = self.slots.aim(slot).entry();
        let address = Box::new(address);
        let (pointer, len) = (address.0.as_ptr(), address.0.len());
        let number = self.flights.insert(Flight::Connect { tag, address });
        let entry = opcode::Connect::new(fd, pointer.cast(), len).build().flags(flags);
        // SAFETY: the address lies in a box that the flight owns until the completion.
        unsafe { self.push(entry.user_data(Kind::Flight.with_number(number))) };
    }

    /// Ends one or both directions: one [`Outcome::ShutDown`].
    pub fn shut_down(&mut self, slot: Slot, half: Half, tag: Tag) {
        let (fd, flags) = self.slots.aim(slot).entry();
        let how = match half {
            Half::Write => libc::SHUT_WR,
            Half::Both => libc::SHUT_RDWR,
        };
        let entry = opcode::Shutdown::new(fd, how).build().flags(flags);
        // SAFETY: the entry points to nothing.
        unsafe { self.push(entry.user_data(Kind::ShutDown.with_tag(tag))) };
    }

    /// Empties the slot: one [`Outcome::Closed`], after which it can be filled again. Operations that are under way keep the
    /// connection open until they end, so cancel them or shut down first. An error: the slot is not in use, and no
    /// completion comes.
    pub fn close(&mut self, slot: Slot, tag: Tag) -> Result<(), Errno> {
        let entry = match self.slots.begin_close(slot)? {
            None => opcode::Close::new(types::Fixed(slot.0)).build(),
            Some(fd) => opcode::Close::new(types::Fd(fd.into_raw_fd())).build(),
        };
        let number = self.flights.insert(Flight::Close { tag, slot });
        // SAFETY: the entry points to nothing; an ordinary descriptor has been given up to this operation.
        unsafe { self.push(entry.user_data(Kind::Flight.with_number(number))) };
        Ok(())
    }

    /// Cancels the accept that was armed with `target`.
    pub fn cancel_accept(&mut self, target: Tag, tag: Tag) {
        self.cancel(
            CancelBuilder::user_data(Kind::Accept.with_tag(target)),
            Kind::Cancel.with_tag(tag),
        );
    }

    /// Cancels the receive that was armed with `target`. Bytes that had been taken from the socket are still delivered,
    /// before the receive's last completion; all others stay in the socket.
    pub fn cancel_receive(&mut self, group: Group, target: Tag, tag: Tag) {
        self.cancel(
            CancelBuilder::user_data(group.kind().with_tag(target)),
            Kind::Cancel.with_tag(tag),
        );
    }

    /// Cancels every operation under way on the slot.
    pub fn cancel_slot(&mut self, slot: Slot, tag: Tag) {
        let builder = match self.slots.aim(slot) {
            Aim::Direct(index) => CancelBuilder::fd(types::Fixed(index)),
            Aim::Ordinary(fd) => CancelBuilder::fd(types::Fd(fd)),
        };
        self.cancel(builder.all(), Kind::Cancel.with_tag(tag));
    }

    /// Gives a descriptor to another thread's ring: there it is an [`Outcome::Arrived`] with the tag `theirs`, here one
    /// [`Outcome::HandedOver`] with `ours`. `to` is not this ring (EINVAL). EBADF: the other ring has ended.
    pub fn hand_over(&mut self, to: &RingHandle, fd: OwnedFd, theirs: Tag, ours: Tag) {
        let passage = to.enter();
        let target = types::Fd(passage.target().unwrap_or(NOWHERE));
        let user_data = Kind::Arrived.with_tag(theirs);
        let entry = opcode::MsgRingData::new(target, fd.as_raw_fd(), user_data, None).build();
        let number = self.flights.insert(Flight::HandOver { tag: ours, fd, passage });
        // SAFETY: the entry points to nothing; the flight keeps both descriptors until the completion says who owns `fd`.
        unsafe { self.push(entry.user_data(Kind::Flight.with_number(number))) };
    }

    /// Tells of every signal: [`Outcome::Woken`], many times. Arm again when it says no `more`; a signal from before arming
    /// is told as well.
    pub fn watch(&mut self, event: &Arc<EventFd>, tag: Tag) {
        if !self.watched.iter().any(|watched| Arc::ptr_eq(watched, event)) {
            self.watched.push(Arc::clone(event));
        }
        let entry = opcode::PollAdd::new(types::Fd(event.raw()), libc::POLLIN as u32)
            .multi(true)
            .build();
        // SAFETY: the entry points to nothing; the ring keeps the event's descriptor open.
        unsafe { self.push(entry.user_data(Kind::Watch.with_tag(tag))) };
    }

    pub(super) fn cancel_everything(&mut self) {
        self.cancel(CancelBuilder::any(), Kind::Unheard.with_number(0));
    }

    fn cancel(&mut self, builder: CancelBuilder, user_data: u64) {
        let entry = opcode::AsyncCancel2::new(builder).build();
        // SAFETY: the entry points to nothing.
        unsafe { self.push(entry.user_data(user_data)) };
    }

    fn send_one(&mut self, slot: Slot, segment: &mut Segment, tag: Tag) -> usize {
        let pin = segment.share();
        let len = pin.len();
        let (fd, flags) = self.slots.aim(slot).entry();
        let entry = opcode::Send::new(fd, pin.address(), len as u32)
            .flags(SEND_FLAGS)
            .build()
            .flags(flags);
        let number = self.flights.insert(Flight::Send { tag, pin });
        // SAFETY: the flight holds a segment of these bytes until the completion, so they stay where they are and nobody changes
        // them: both handles are aliased.
        unsafe { self.push(entry.user_data(Kind::Flight.with_number(number))) };
        len
    }

    fn send_batch<'a>(&mut self, slot: Slot, segments: impl Iterator<Item = &'a mut Segment>, tag: Tag) -> usize {
        let mut batch = self.flights.batch();
        let mut len = 0;
        for segment in segments {
            if batch.is_full() {
                break;
            }
            len += segment.len();
            batch.push(segment.share());
        }
        let (fd, flags) = self.slots.aim(slot).entry();
        let entry = opcode::SendMsg::new(fd, batch.message())
            .flags(SEND_FLAGS as u32)
            .build()
            .flags(flags);
        let number = self.flights.insert(Flight::SendBatch { tag, batch });
        // SAFETY: as for a single send; header and vectors lie in the batch's box, which the flight owns until the completion.
        unsafe { self.push(entry.user_data(Kind::Flight.with_number(number))) };
        len
    }
}

pub(super) enum Decoded {
    Completion(Completion),
    Unheard,
    Unknown,
}

impl Ring {
    pub(super) fn decode(&mut self, entry: &cqueue::Entry) -> Decoded {
        let Some((kind, rest)) = Kind::split(entry.user_data()) else {
            return Decoded::Unknown;
        };
        let more = cqueue::more(entry.flags());
        if !more && kind != Kind::Arrived {
            debug_assert!(self.live > 0);
            self.live = self.live.saturating_sub(1);
        }
        let result = Errno::check(entry.result());
        let outcome = match kind {
            Kind::Unheard => return Decoded::Unheard,
            Kind::Flight => return self.landed(rest as usize, result),
            Kind::Accept => Outcome::Accepted(result.map(new_descriptor)),
            Kind::ReceiveSmall => Outcome::Received(received(&self.small, entry)),
            Kind::ReceiveBulk => Outcome::Received(received(&self.bulk, entry)),
            Kind::ShutDown => Outcome::ShutDown(result.map(drop)),
            Kind::Cancel => Outcome::Cancelled(result),
            Kind::Watch => Outcome::Woken(result.map(drop)),
            Kind::Arrived => match result {
                Ok(number) => Outcome::Arrived(new_descriptor(number)),
                Err(_) => return Decoded::Unknown,
            },
        };
        Decoded::Completion(Completion {
            tag: tag_of(rest),
            more,
            outcome,
        })
    }

    fn landed(&mut self, number: usize, result: Result<u32, Errno>) -> Decoded {
        let Some(flight) = self.flights.land(number) else {
            return Decoded::Unknown;
        };
        let (tag, outcome) = match flight {
            Flight::Send { tag, pin } => {
                drop(pin);
                (tag, Outcome::Sent(result))
            }
            Flight::SendBatch { tag, batch } => {
                self.flights.recycle(batch);
                (tag, Outcome::Sent(result))
            }
            Flight::Connect { tag, address } => {
                drop(address);
                (tag, Outcome::Connected(result.map(drop)))
            }
            Flight::Close { tag, slot } => {
                self.slots.end_close(slot);
                (tag, Outcome::Closed(result.map(drop)))
            }
            Flight::HandOver { tag, fd, passage } => {
                drop(passage);
                (tag, Outcome::HandedOver(settle(fd, result)))
            }
        };
        Decoded::Completion(Completion {
            tag,
            more: false,
            outcome,
        })
    }
}

impl Group {
    fn number(self) -> u16 {
        match self {
            Self::Small => super::ring::SMALL_GROUP,
            Self::Bulk => super::ring::BULK_GROUP,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Small => Kind::ReceiveSmall,
            Self::Bulk => Kind::ReceiveBulk,
        }
    }
}

/// The kernel must have all of these; they are older than the floor, but can be missing where it is restricted.
pub(super) fn check_needed(probe: &Probe) -> Result<(), StartError> {
    let needed = [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::Shutdown::CODE, "IORING_OP_SHUTDOWN"),
        (opcode::Close::CODE, "IORING_OP_CLOSE"),
        (opcode::AsyncCancel2::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::MsgRingData::CODE, "IORING_OP_MSG_RING"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        None => Ok(()),
        Some((_, missing)) => Err(StartError::KernelTooOld {
            release: limits::surroundings().release,
            missing,
        }),
    }
}

fn received(group: &Provided, entry: &cqueue::Entry) -> Received {
    let socket_nonempty = cqueue::sock_nonempty(entry.flags());
    match (Errno::check(entry.result()), cqueue::buffer_select(entry.flags())) {
        (Ok(len @ 1..), Some(buffer)) => Received::Bytes {
            segments: group.received(buffer, len),
            socket_nonempty,
        },
        // Bytes without a buffer: the kernel never does that.
        (Ok(1..), None) => Received::Failed(Errno(libc::EIO)),
        (result, unused) => {
            // The end and errors may come with a buffer that was picked for nothing.
            unused.into_iter().for_each(|buffer| group.unused(buffer));
            match result {
                Ok(_) => Received::End,
                Err(Errno::NO_BUFFERS) => {
                    group.pool().count_starvation();
                    Received::NoBuffers
                }
                Err(errno) => Received::Failed(errno),
            }
        }
    }
}

/// A handed-over descriptor is the target's if the message was taken, else it is still ours.
fn settle(fd: OwnedFd, result: Result<u32, Errno>) -> Result<(), (Errno, OwnedFd)> {
    match result {
        Ok(_) => {
            // The target has made its own owner of the number: forget ours.
            let _number = fd.into_raw_fd();
            Ok(())
        }
        Err(errno) => Err((errno, fd)),
    }
}

fn new_descriptor(number: u32) -> OwnedFd {
    // SAFETY: the kernel has just opened this descriptor for us (accept), or a ring of this process has given its ownership
    // up to us with the message (`hand_over`); both tell it exactly once.
    unsafe { OwnedFd::from_raw_fd(number as i32) }
}
