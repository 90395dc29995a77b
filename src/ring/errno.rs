//! The kernel's answer when an operation failed.

use std::fmt;
use std::io;

/// An error number of errno(3), always positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The operation was cancelled before it did anything.
    pub const CANCELLED: Self = Self(libc::ECANCELED);
    /// What was to be cancelled is not there (it has completed).
    pub const NOT_FOUND: Self = Self(libc::ENOENT);
    /// What was to be cancelled is being executed and completes by itself.
    pub const ALREADY: Self = Self(libc::EALREADY);
    /// The slot is empty or out of range.
    pub const BAD_DESCRIPTOR: Self = Self(libc::EBADF);
    /// The buffer group was empty.
    pub const NO_BUFFERS: Self = Self(libc::ENOBUFS);
    /// The process is out of descriptors.
    pub const TOO_MANY_FILES: Self = Self(libc::EMFILE);
    /// The machine is out of descriptors.
    pub const FILE_TABLE_FULL: Self = Self(libc::ENFILE);
    pub const NO_MEMORY: Self = Self(libc::ENOMEM);
    pub const BROKEN_PIPE: Self = Self(libc::EPIPE);
    pub const CONNECTION_RESET: Self = Self(libc::ECONNRESET);
    pub const CONNECTION_REFUSED: Self = Self(libc::ECONNREFUSED);
    pub const CONNECTION_ABORTED: Self = Self(libc::ECONNABORTED);
    pub const TIMED_OUT: Self = Self(libc::ETIMEDOUT);
    /// The slot of `install` still holds a descriptor, or one that is being closed.
    pub const BUSY: Self = Self(libc::EBUSY);

    /// Did the process or the machine run out of something, so that trying again later can help?
    pub fn is_exhaustion(self) -> bool {
        matches!(
            self,
            Self::TOO_MANY_FILES | Self::FILE_TABLE_FULL | Self::NO_MEMORY | Self::NO_BUFFERS
        )
    }

    pub(super) fn of(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }

    /// The result field of a completion: a count, or a negated error number.
    pub(super) fn check(result: i32) -> Result<u32, Self> {
        u32::try_from(result).map_err(|_| Self(result.wrapping_neg()))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_a_count_or_an_error() {
        assert_eq!(Errno::check(0), Ok(0));
        assert_eq!(Errno::check(i32::MAX), Ok(i32::MAX as u32));
        assert_eq!(Errno::check(-libc::ENOBUFS), Err(Errno::NO_BUFFERS));
        assert!(Errno::NO_BUFFERS.is_exhaustion());
        assert!(!Errno::CONNECTION_RESET.is_exhaustion());
        assert!(Errno::CONNECTION_RESET.to_string().contains("reset"));
    }
}
