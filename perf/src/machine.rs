//! What the figures were measured on.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Failure;

#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// One line of each program.
    pub versions: Vec<String>,
}

impl Machine {
    /// This one; `versions` of the programs that took part.
    pub fn describe(versions: Vec<String>) -> Result<Self, Failure> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
        let meminfo = std::fs::read_to_string("/proc/meminfo")?;
        let kib = value(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Ok(Self {
            cpu: value(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            memory_mib: kib.unwrap_or_default() / 1024,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            versions,
        })
    }
}

/// Writes results as `<date>-<name>.json`.
pub fn write(directory: &Path, date: &str, name: &str, results: &impl Serialize) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(format!("{date}-{name}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    Ok(path)
}

/// `2026-11-23`, UTC.
pub fn date() -> Result<String, Failure> {
    first_line(Path::new("date"), &["-u", "+%F"])
}

/// Short; with `-dirty` where the tree is not what was committed. `BENCH_COMMIT` says it where the program runs without its
/// repository.
pub fn commit() -> Result<String, Failure> {
    if let Ok(commit) = std::env::var("BENCH_COMMIT") {
        return Ok(commit);
    }
    first_line(
        Path::new("git"),
        &["describe", "--always", "--dirty", "--exclude=*", "--abbrev=7"],
    )
}

pub fn first_line(program: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Of the program that runs as this process.
pub fn version_of_process(pid: u32) -> Result<String, Failure> {
    first_line(&std::fs::read_link(format!("/proc/{pid}/exe"))?, &["--version"])
}

/// `name : value` of a file in /proc.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
