//! The name by which other threads' rings know a ring, and who may still send to it.
#![allow(unsafe_code)]

use super::errno::Errno;
use io_uring::IoUring;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Where [`super::Ring::hand_over`] sends to. Keeps the ring's descriptor, so that its number never names another file.
#[derive(Debug, Clone)]
pub struct RingHandle(Arc<Door>);

/// The kernel takes messages for a ring whose thread is gone, and what they carry is lost. So a ring that ends closes
/// its door first and then waits for those who are in it.
#[derive(Debug)]
struct Door {
    fd: OwnedFd,
    open: AtomicBool,
    under_way: AtomicU32,
}

/// One message on its way; it has arrived, or failed, when this is dropped.
pub(super) struct Passage(RingHandle);

impl RingHandle {
    pub(super) fn of(ring: &IoUring) -> Result<Self, Errno> {
        // SAFETY: the ring's descriptor is open as long as `ring` is borrowed.
        let fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
        let fd = fd.try_clone_to_owned().map_err(|error| Errno::of(&error))?;
        Ok(Self(Arc::new(Door {
            fd,
            open: AtomicBool::new(true),
            under_way: AtomicU32::new(0),
        })))
    }

    /// Counted first and asked after: either the sender sees the closed door, or the closing ring sees the sender.
    pub(super) fn enter(&self) -> Passage {
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        Passage(self.clone())
    }

    pub(super) fn close(&self) {
        self.0.open.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.0.under_way.load(Ordering::SeqCst) == 0
    }
}

impl Passage {
    /// `None`: the ring takes no more messages.
    pub(super) fn target(&self) -> Option<RawFd> {
        let door = &self.0.0;
        door.open.load(Ordering::SeqCst).then(|| door.fd.as_raw_fd())
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
