//! A file that is there as a whole or not at all, whoever watches its directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
    write_by_way_of(&fresh_name(path)?, path, bytes, mode, existing)
}

/// Hidden, so that a gate that watches the directory does not take it for a policy; and random, so that nobody has made it
/// beforehand, neither somebody else nor a run that was killed (in a container they all have the same process id).
fn fresh_name(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let random = u64::from_ne_bytes(random);
    Ok(path.with_file_name(format!(".{}.{random:016x}", name.to_string_lossy())))
}

fn write_by_way_of(fresh: &Path, path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    // Made here and now, or else a link would be followed, and a file would keep the mode that it has.
    let file = File::options().write(true).create_new(true).mode(mode).open(fresh)?;
    let written = write_synced(file, bytes).and_then(|()| match existing {
        Existing::Replace => fs::rename(fresh, path),
        // A link to a name that is taken fails, however late somebody took it.
        Existing::Keep => fs::hard_link(fresh, path),
    });
    match fs::remove_file(fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && written.is_ok() => return Err(error),
        Ok(()) | Err(_) => written?,
    }
    sync_directory_of(path)
}

fn write_synced(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without it the name could be gone after a loss of power, and the file with it.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::control::scratch::Scratch;

    fn names(dir: &Scratch) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_there_as_a_whole_with_its_mode_and_nothing_beside_it() {
        let dir = Scratch::new();
        let path = dir.path().join("p.snapshot");
        write(&path, b"one", 0o600, Existing::Keep).unwrap();
        let again = write(&path, b"two", 0o600, Existing::Keep).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"three", 0o640, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(&dir), ["p.snapshot"]);
    }

    #[test]
    fn a_link_at_the_name_between_is_not_followed() {
        let dir = Scratch::new();
        let (path, fresh) = (dir.path().join("policy"), dir.path().join(".policy.1"));
        let precious = dir.write_mode("precious", "precious", 0o600);
        symlink(&precious, &fresh).unwrap();
        for existing in [Existing::Replace, Existing::Keep] {
            let error = write_by_way_of(&fresh, &path, b"new", 0o600, existing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert_eq!(names(&dir), [".policy.1", "precious"], "what is somebody else's stays");
    }

    #[test]
    fn a_leftover_lends_its_mode_to_nothing() {
        let dir = Scratch::new();
        let (path, fresh) = (dir.path().join("secret"), dir.path().join(".secret.1"));
        dir.write_mode(".secret.1", "old and much longer", 0o666);
        write_by_way_of(&fresh, &path, b"new", 0o600, Existing::Replace).unwrap_err();
        assert!(!path.exists());
        // Another run takes another name.
        assert_ne!(fresh_name(&path).unwrap(), fresh_name(&path).unwrap());
        write(&path, b"new", 0o600, Existing::Replace).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
