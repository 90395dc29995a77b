//! Sealed memory for a policy snapshot: copied first, then immutable for good.
//!
//! A file that was dropped into the policy directory can still be written to or truncated by whoever dropped it. So its
//! bytes are copied into an anonymous file, the kernel is told to refuse every further change of it, and only then is it
//! mapped and checked. What was checked is what is used. The only unsafe code of this room.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use postern_policy::snapshot::SnapshotBytes;

/// Upper bound on a snapshot, bytes: relative pointers of the archive reach 2 GiB.
pub const MAX_SNAPSHOT: u64 = 2 * 1024 * 1024 * 1024 - 1;

/// As it is shown in `/proc/self/maps`.
const NAME: &std::ffi::CStr = c"postern-snapshot";

/// Read-only memory that nothing, this process included, can change or shorten.
#[derive(Debug)]
pub struct Sealed {
    start: NonNull<u8>,
    length: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the snapshot is empty")]
    Empty,
    #[error("the snapshot is larger than {MAX_SNAPSHOT} bytes")]
    TooLarge,
    #[error("copying the snapshot into sealed memory: {0}")]
    Io(#[from] io::Error),
}

impl Sealed {
    /// Copies everything that `source` yields until its end. The length is what was read, never what a file's metadata said.
    pub fn copy_of(source: impl Read) -> Result<Self, SealError> {
        let (file, length) = sealed_file(source)?;
        let start = map(&file, length)?;
        Ok(Self {
            start,
            length: length.get(),
        })
    }

    /// The bytes, page-aligned.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is a readable private mapping of `length` bytes (`map`), alive until `drop`. The file under it is
        // sealed against writing and shrinking (`seal`, before the mapping was made), so the bytes never change and no page
        // can vanish; nothing hands out a mutable reference.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` returned; every borrow of it ended with the borrow of `self`.
        let unmapped = unsafe { munmap(self.start.cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}

// SAFETY: the mapping is immutable (see `bytes`) and owned by this value alone, so any thread may read or drop it.
unsafe impl Send for Sealed {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Sealed {}

// SAFETY: `bytes` answers with the same mapping for as long as the value lives, and nothing can change a byte of it: the
// file is sealed against writing and shrinking, and the mapping is private, read-only and never handed out mutably.
unsafe impl SnapshotBytes for Sealed {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }
}

fn sealed_file(source: impl Read) -> Result<(File, NonZeroUsize), SealError> {
    let mut file = anonymous_file()?;
    let copied = io::copy(&mut source.take(MAX_SNAPSHOT + 1), &mut file)?;
    if copied > MAX_SNAPSHOT {
        return Err(SealError::TooLarge);
    }
    let length = usize::try_from(copied)
        .ok()
        .and_then(NonZeroUsize::new)
        .ok_or(SealError::Empty)?;
    seal(&file)?;
    Ok((file, length))
}

/// Never executable where the kernel can promise that (6.3); there `vm.memfd_noexec` may even demand it.
fn anonymous_file() -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let made: nix::Result<OwnedFd> = match memfd_create(NAME, flags | no_exec) {
        Err(Errno::EINVAL) => memfd_create(NAME, flags),
        made => made,
    };
    Ok(File::from(made.map_err(io::Error::from)?))
}

fn seal(file: &File) -> io::Result<()> {
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map_err(io::Error::from)?;
    Ok(())
}

fn map(file: &File, length: NonZeroUsize) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh private read-only mapping at an address of the kernel's choice: it replaces nothing.
    let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, file, 0) };
    Ok(start.map_err(io::Error::from)?.cast())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    #[test]
    fn holds_what_was_copied_even_when_the_source_is_truncated_afterwards() {
        let mut source = tempfile();
        source.write_all(b"policy bytes").unwrap();
        source.seek(SeekFrom::Start(0)).unwrap();
        let sealed = Sealed::copy_of(&source).unwrap();
        source.set_len(0).unwrap();
        assert_eq!(sealed.bytes(), b"policy bytes");
    }

    #[test]
    fn refuses_every_change_after_sealing() {
        let (mut file, length) = sealed_file(&b"policy"[..]).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(file.write_all(b"x").is_err(), "write");
        assert!(file.set_len(1).is_err(), "shrink");
        assert!(file.set_len(1 << 20).is_err(), "grow");
        assert_eq!(length.get(), 6);
    }

    #[test]
    fn an_empty_source_is_refused() {
        assert!(matches!(Sealed::copy_of(&b""[..]), Err(SealError::Empty)));
    }

    #[test]
    fn is_page_aligned_for_the_archive() {
        let sealed = Sealed::copy_of(&[7u8; 5000][..]).unwrap();
        assert_eq!(sealed.bytes().as_ptr() as usize % 4096, 0);
        assert_eq!(sealed.bytes().len(), 5000);
    }

    fn tempfile() -> File {
        anonymous_file().unwrap()
    }
}
