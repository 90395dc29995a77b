//! The name by which other threads' rings know a ring.
#![allow(unsafe_code)]

use super::errno::Errno;
use io_uring::IoUring;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Where [`super::Ring::hand_over`] sends to. Keeps the ring's descriptor, so that its number never names another file.
#[derive(Debug, Clone)]
pub struct RingHandle(Arc<OwnedFd>);

impl RingHandle {
    pub(super) fn of(ring: &IoUring) -> Result<Self, Errno> {
        // SAFETY: the ring's descriptor is open as long as `ring` is borrowed.
        let fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
        let duplicate = fd.try_clone_to_owned().map_err(|error| Errno::of(&error))?;
        Ok(Self(Arc::new(duplicate)))
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
