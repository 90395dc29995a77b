//! What the figures were measured on.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{Failure, Run};

#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// One line of each program.
    pub versions: Vec<String>,
}

pub fn describe(run: &Run) -> Result<Machine, Failure> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let kib = value(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    Ok(Machine {
        cpu: value(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
        cpus: std::thread::available_parallelism()?.get(),
        memory_mib: kib.unwrap_or_default() / 1024,
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        versions: vec![
            first_line(&run.postern, &["--version"])?,
            server_version(run)?,
            first_line(Path::new("pgbench"), &["--version"])?,
            first_line(&run.pgbouncer, &["--version"])?,
            first_line(&run.haproxy, &["-v"])?,
        ],
    })
}

/// `2026-11-23`, UTC.
pub fn date() -> Result<String, Failure> {
    first_line(Path::new("date"), &["-u", "+%F"])
}

/// Short; with `-dirty` where the tree is not what was committed.
pub fn commit() -> Result<String, Failure> {
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

fn server_version(run: &Run) -> Result<String, Failure> {
    let executable = std::fs::read_link(format!("/proc/{}/exe", run.server.server_pid))?;
    first_line(&executable, &["--version"])
}

/// `name : value` of a file in /proc.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
