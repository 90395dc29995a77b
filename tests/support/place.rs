//! A directory of a test's own, free ports, and waiting.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Removed with its content when the test ends; kept where it fails, so that log and record can be read.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        let path = PathBuf::from(format!("/tmp/postern-test-{}", unique()));
        std::fs::create_dir(&path).expect("a directory of the test's own");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, content).expect("a file is written");
        path
    }

    /// For passwords and keys: mode 0600.
    pub fn write_secret(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode 0600");
        path
    }
}

/// A [`Place`] with a disk of its own, which a test may fill.
#[allow(dead_code, reason = "one of the binaries that share it fills no disk")]
pub struct SmallDisk(PathBuf);

#[allow(dead_code, reason = "one of the binaries that share it fills no disk")]
impl SmallDisk {
    /// None where the machine does not permit to mount one.
    pub fn at(place: &Place) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0755", "none"])
            .arg(&place.0)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(place.0.clone()))
    }

    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).expect("a file");
        let error = std::io::copy(&mut std::io::repeat(b'x'), &mut file).expect_err("the disk ends");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it was there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the gate may still have its record open.
        let _gone_with_the_machine = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _gone_already = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A name that no other test of this machine has, fit for a database.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port that nobody has right now and that no other test of this process gets.
///
/// Below the range out of which Linux serves `bind` to port 0 and the near end of connections: a port of that range may be
/// taken by any of them until the gate binds it.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 10_000..32_768;
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let width = u32::from(PORTS.end - PORTS.start);
    // Another run beside this one begins somewhere else.
    let begin = std::process::id().wrapping_mul(997) % width;
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let offset = (begin + u32::from(count)) % width;
        let port = PORTS.start + u16::try_from(offset).expect("less than the width");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
