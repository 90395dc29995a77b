//! Anonymous memory straight from the kernel: page-aligned, zeroed, and not there until it is touched.
#![allow(unsafe_code)]

use crate::ring::errno::Errno;
use crate::ring::start_error::StartError;
use std::io;
use std::ptr::NonNull;

/// Unmapped on drop. Knows no owner of its parts: that is the pool's business.
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(super) fn new(len: usize) -> Result<Self, StartError> {
        let failed = |errno| StartError::Memory { bytes: len, errno };
        if len == 0 || len > isize::MAX as usize {
            return Err(failed(Errno::NO_MEMORY));
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(failed(Errno::of(&io::Error::last_os_error())));
        }
        let start = NonNull::new(start.cast()).ok_or(failed(Errno::NO_MEMORY))?;
        Ok(Self { start, len })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are of a mapping made in `new` and not unmapped before; whoever holds a pointer into
        // it keeps the mapping alive (segments count a reference of the pool, the ring drops its mappings last).
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(result, 0);
    }
}
