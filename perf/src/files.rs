//! Files that nobody else can read, as the gate wants them.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::Failure;

/// With the directories above it; nothing happens where there is one.
pub fn private_directory(path: &Path) -> Result<(), Failure> {
    Ok(std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

/// Instead of what stood there.
pub fn private_file(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_ref())?)
}
