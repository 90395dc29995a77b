//! The gate's own secret: 32 random bytes in a file, made at the first start.
//!
//! The salts of SCRAM answers for unknown names are derived from it, so every gate of a fleet, and every restart, must
//! have the same, or a stranger could tell an unknown name from a known one.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::control::secret_file::{SecretFault, read_secret};

use super::whole_file::{Existing, write};

const LENGTH: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum GateSecretFault {
    #[error("gate secret: {0}")]
    Read(#[from] SecretFault),
    #[error("gate secret: {path}: has {got} bytes instead of {LENGTH}")]
    Length { path: String, got: usize },
    #[error("gate secret: {path} cannot be made: {error}")]
    Make { path: String, error: io::Error },
}

/// Reads it, or makes it where there is none.
pub fn read_or_make(path: &Path) -> Result<Zeroizing<[u8; LENGTH]>, GateSecretFault> {
    let make = |error| GateSecretFault::Make {
        path: path.display().to_string(),
        error,
    };
    match make_new(path) {
        Ok(()) => tracing::info!(path = %path.display(), "gate secret made; give every gate of the fleet the same"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(make(error)),
    }
    let bytes = read_secret(path)?;
    let exact: [u8; LENGTH] = bytes.expose().try_into().map_err(|_| GateSecretFault::Length {
        path: path.display().to_string(),
        got: bytes.expose().len(),
    })?;
    Ok(Zeroizing::new(exact))
}

/// Written whole beside its place and linked into it: there is never a short one, and of two starts at once one wins.
fn make_new(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut secret = Zeroizing::new([0; LENGTH]);
    aws_lc_rs::rand::fill(&mut *secret).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    write(path, &*secret, 0o600, Existing::Keep)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::scratch::Scratch;

    #[test]
    fn the_second_start_has_the_secret_of_the_first() {
        let dir = Scratch::new();
        let path = dir.path().join("gate.secret");
        let made = read_or_make(&path).unwrap();
        assert_eq!(*made, *read_or_make(&path).unwrap());
        assert_ne!(*made, [0; LENGTH]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_short_or_open_file_is_refused_and_not_replaced() {
        let dir = Scratch::new();
        let short = dir.write_mode("short", "123", 0o600);
        assert!(matches!(
            read_or_make(&short),
            Err(GateSecretFault::Length { got: 3, .. })
        ));
        let open = dir.write_mode("open", [7; LENGTH], 0o644);
        assert!(matches!(
            read_or_make(&open),
            Err(GateSecretFault::Read(SecretFault::TooOpen { .. }))
        ));
    }
}
