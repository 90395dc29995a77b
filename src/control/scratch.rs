//! What tests need: a directory of their own, 0755 and gone with the value, and a record in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::audit::Writer;
use crate::config;

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postern-control-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Mode 0644, whatever the umask.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        self.write_mode(name, text, 0o644)
    }

    pub fn write_mode(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    /// As a careful operator does it: a new file beside the old one, renamed over it.
    pub fn replace(&self, name: &str, text: impl AsRef<[u8]>) {
        let (directory, file) = name.rsplit_once('/').unwrap_or((".", name));
        let fresh = self.write(&format!("{directory}/.{file}.new"), text);
        fs::rename(fresh, self.0.join(name)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// A record that is written into the scratch directory.
pub fn recorder(dir: &Scratch) -> Writer {
    let settings = config::Audit {
        file: dir.path().join("record.jsonl"),
        on_failure: config::OnFailure::Deny,
        durability: config::Durability::Written,
        rotate_size: 1 << 30,
        keep: 1,
        queue: 1024,
        pre_proof_bytes_per_second: 1 << 20,
    };
    Writer::start(&settings, Box::new(|_, _| ())).unwrap()
}
