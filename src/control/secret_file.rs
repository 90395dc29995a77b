//! Files that hold secrets: read whole, under conditions, into memory that is zeroed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// PostgreSQL's own bound on a password message, bytes.
pub const MAX_SECRET: u64 = 64 * 1024;
/// Mode bits a secret must not have: anything for others, writing for the group.
const TOO_OPEN: u32 = 0o027;
/// Mode bits a certificate must not have.
const WRITABLE: u32 = 0o022;

#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: others may read or write it (mode {mode:04o}); chmod 0600 or 0640 it", path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{}: group or others may write to it (mode {mode:04o}); chmod go-w it", path.display())]
    Writable { path: PathBuf, mode: u32 },
    #[error("{}: empty", path.display())]
    Empty { path: PathBuf },
    #[error("{}: larger than {MAX_SECRET} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: holds a NUL byte, which no PostgreSQL password can", path.display())]
    Nul { path: PathBuf },
}

/// A password: the file's content without one trailing line end.
pub fn read_password(path: &Path) -> Result<Secret, SecretFault> {
    let mut bytes = read_private(path)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let secret = Secret::new(bytes);
    match secret.expose() {
        [] => Err(SecretFault::Empty { path: path.to_owned() }),
        bytes if bytes.contains(&0) => Err(SecretFault::Nul { path: path.to_owned() }),
        _ => Ok(secret),
    }
}

/// A private key or another secret, unchanged.
pub fn read_secret(path: &Path) -> Result<Secret, SecretFault> {
    let secret = Secret::new(read_private(path)?);
    if secret.expose().is_empty() {
        return Err(SecretFault::Empty { path: path.to_owned() });
    }
    Ok(secret)
}

/// A certificate chain: no secret, but nobody else may write it.
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, SecretFault> {
    read_bytes(path, |mode| match mode & WRITABLE {
        0 => Ok(()),
        _ => Err(SecretFault::Writable {
            path: path.to_owned(),
            mode: mode & 0o7777,
        }),
    })
}

fn read_private(path: &Path) -> Result<Vec<u8>, SecretFault> {
    read_bytes(path, |mode| match mode & TOO_OPEN {
        0 => Ok(()),
        _ => Err(SecretFault::TooOpen {
            path: path.to_owned(),
            mode: mode & 0o7777,
        }),
    })
}

fn read_bytes(path: &Path, judge: impl FnOnce(u32) -> Result<(), SecretFault>) -> Result<Vec<u8>, SecretFault> {
    let io_fault = |error| SecretFault::Io {
        path: path.to_owned(),
        error,
    };
    if !std::fs::metadata(path).map_err(io_fault)?.is_file() {
        return Err(SecretFault::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(io_fault)?;
    judge(file.metadata().map_err(io_fault)?.mode())?;
    // Room for everything at once: a buffer that grows would leave unzeroed copies behind.
    let mut bytes = Vec::with_capacity(MAX_SECRET as usize + 1);
    let read = file.take(MAX_SECRET + 1).read_to_end(&mut bytes).map_err(io_fault)?;
    if read as u64 > MAX_SECRET {
        drop(Secret::new(bytes));
        return Err(SecretFault::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_a_password() {
        let dir = Scratch::new();
        for (text, password) in [
            ("pw", "pw"),
            ("pw\n", "pw"),
            ("pw\r\n", "pw"),
            ("pw\n\n", "pw\n"),
            (" pw ", " pw "),
        ] {
            let path = dir.write_mode("pw", text, 0o600);
            assert_eq!(read_password(&path).unwrap().expose(), password.as_bytes());
        }
    }

    #[test]
    fn files_that_others_may_touch_are_refused() {
        let dir = Scratch::new();
        for mode in [0o644, 0o604, 0o602, 0o620, 0o666] {
            let path = dir.write_mode("pw", "secret", mode);
            assert!(
                matches!(read_password(&path), Err(SecretFault::TooOpen { .. })),
                "{mode:o}"
            );
        }
        for mode in [0o600, 0o400, 0o640, 0o440] {
            let path = dir.write_mode("pw", "secret", mode);
            assert!(read_password(&path).is_ok(), "{mode:o}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn empty_oversized_and_nul_are_told_apart() {
        let dir = Scratch::new();
        let read = |text: Vec<u8>| read_password(&dir.write_mode("pw", text, 0o600)).err();
        assert!(matches!(read(b"\n".to_vec()), Some(SecretFault::Empty { .. })));
        assert!(matches!(read(vec![b'x'; 65_537]), Some(SecretFault::TooLarge { .. })));
        assert!(matches!(read(b"a\0b".to_vec()), Some(SecretFault::Nul { .. })));
        assert!(matches!(
            read_password(&dir.path().join("no")),
            Err(SecretFault::Io { .. })
        ));
        assert!(matches!(read_password(dir.path()), Err(SecretFault::NotAFile { .. })));
    }
}
