//! A file that is there as a whole or not at all, whoever watches its directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What happens to a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Replace,
    /// It stays, and nothing is written.
    Keep,
}

/// Writes beside the file, to the disk, and moves it into place.
///
/// # Errors
/// `AlreadyExists` where what is there is kept; and what the system says.
pub fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    // Hidden, so that a gate that watches the directory does not take it for a policy.
    let fresh = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = write_synced(&fresh, bytes, mode).and_then(|()| match existing {
        Existing::Replace => fs::rename(&fresh, path),
        // A link to a name that is taken fails, however late somebody took it.
        Existing::Keep => fs::hard_link(&fresh, path),
    });
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && written.is_ok() => Err(error),
        Ok(()) | Err(_) => written,
    }
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
