//! What a find leaves behind: the input in a file, and how to see it again.

use std::fs;
use std::path::PathBuf;

use crate::{REPLAY, SEED};

pub fn tell(body: &str, seed: u64, origin: &str, input: &[u8]) {
    let directory = target().join("fuzz-failures");
    let path = directory.join(format!("{body}-{seed}-{}", origin.replace(' ', "-")));
    match fs::create_dir_all(&directory).and_then(|()| fs::write(&path, input)) {
        Ok(()) => println!(
            "fuzz {body}: {origin} broke it. Again: {REPLAY}={} and this test",
            path.display()
        ),
        Err(error) => println!(
            "fuzz {body}: {origin} broke it: {}. ({}: {error})",
            input.escape_ascii(),
            path.display()
        ),
    }
    println!("fuzz {body}: the whole run again: {SEED}={seed} and this test");
}

/// The target directory: test programs are in `<target>/<profile>/deps`.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .nth(3)
        .map_or_else(std::env::temp_dir, PathBuf::from)
}
