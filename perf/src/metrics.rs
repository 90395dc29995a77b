//! Figures of a running gate: its metrics, and what the kernel says of its memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::Failure;

/// The sum of a series over its labels, from the page at the admin port.
pub fn sum(admin: u16, series: &str) -> Result<u64, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let is_of_it = |line: &&str| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    let values = page.lines().filter(is_of_it).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}

/// Resident set of a process, bytes (VmRSS of proc(5)).
pub fn resident(pid: u32) -> Result<u64, Failure> {
    status(pid, "VmRSS:")
}

/// Its greatest one so far (VmHWM).
pub fn peak_resident(pid: u32) -> Result<u64, Failure> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("no {name}"))? * 1_024)
}
