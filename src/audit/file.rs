//! The file on the disk: opening it behind a torn tail, renaming it away when it is large, finding it again by its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::output::Sink;

/// Mode of a new file, before the umask: the record is for its owner and for those that collect it.
const MODE: u32 = 0o640;

/// A record file held open for appending, and locked against a second writer.
///
/// Anything that is no regular file (a pipe, `/dev/stdout`) is written to as well; it is never cut, locked or renamed.
pub struct RecordFile {
    path: PathBuf,
    file: File,
    regular: bool,
}

/// How a file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Bytes in it now.
    pub length: u64,
    /// Those of them that are a torn last line.
    pub torn: u64,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Name of the file that was current.
    pub previous: PathBuf,
    /// The oldest one, if it had to go.
    pub deleted: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open {path}: {error}")]
    Open { path: PathBuf, error: io::Error },
    #[error("cannot read the end of {path}: {error}")]
    ReadTail { path: PathBuf, error: io::Error },
    #[error("{path} is held by another process that writes its record there")]
    Locked { path: PathBuf },
    #[error("{path} is no regular file, so it cannot be synced: use durability = \"written\"")]
    CannotSync { path: PathBuf },
}

impl RecordFile {
    /// Opens or creates the file, and measures a torn last line.
    ///
    /// # Errors
    /// Where it cannot be opened, is written to by another process, or can never satisfy `synced`.
    pub fn open(path: &Path, synced: bool) -> Result<(Self, Found), OpenError> {
        let at = || path.to_path_buf();
        let open_error = |error| OpenError::Open { path: at(), error };
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .open(path)
            .map_err(open_error)?;
        let metadata = file.metadata().map_err(open_error)?;
        if !metadata.is_file() {
            return match synced {
                true => Err(OpenError::CannotSync { path: at() }),
                false => Ok((
                    Self {
                        path: at(),
                        file,
                        regular: false,
                    },
                    Found { length: 0, torn: 0 },
                )),
            };
        }
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => OpenError::Locked { path: at() },
            fs::TryLockError::Error(error) => open_error(error),
        })?;
        let torn = torn_tail(path).map_err(|error| OpenError::ReadTail { path: at(), error })?;
        let length = metadata.len();
        if synced {
            sync_directory(path).map_err(open_error)?;
        }
        Ok((
            Self {
                path: at(),
                file,
                regular: true,
            },
            Found { length, torn },
        ))
    }

    pub fn is_regular(&self) -> bool {
        self.regular
    }

    /// Whether the file's name still leads to this file.
    pub fn is_in_place(&self) -> bool {
        match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(mine), Ok(named)) => mine.dev() == named.dev() && mine.ino() == named.ino(),
            (Ok(_) | Err(_), _) => false,
        }
    }

    /// Renames the file to `name.1`, what was `name.1` to `name.2` and so on; what would come behind `name.keep` is deleted.
    /// The file stays open: the caller opens the new one. `keep` is at least 1.
    ///
    /// # Errors
    /// Where a name cannot be changed. Every file is still there then, under its old name or its new one.
    pub fn rename_away(&self, keep: u32) -> io::Result<Rotation> {
        let free = (1..=keep).find(|number| !self.numbered(*number).exists());
        let deleted = free.is_none().then(|| self.numbered(keep));
        for number in (1..free.unwrap_or(keep)).rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        let previous = self.numbered(1);
        fs::rename(&self.path, &previous)?;
        Ok(Rotation { previous, deleted })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

impl Sink for RecordFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.regular { self.file.sync_data() } else { Ok(()) }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        match self.regular {
            true => self.file.set_len(length),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Makes the file's name durable: a synced file that no name leads to is lost.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Bytes behind the last line feed.
fn torn_tail(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut chunk = [0; 64 * 1024];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        let Some(part) = chunk.get_mut(..(end - start) as usize) else {
            break;
        };
        file.read_exact_at(part, start)?;
        if let Some(last) = memchr::memrchr(b'\n', part) {
            return Ok(length - (start + last as u64 + 1));
        }
        end = start;
    }
    Ok(length)
}

#[cfg(test)]
#[path = "file_tests.rs"]
pub mod tests;
