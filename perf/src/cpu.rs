//! CPU time of a process, from /proc.

use crate::Failure;

/// What `sysconf(_SC_CLK_TCK)` is on every Linux that Postern runs on (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of all threads of the process so far, in seconds.
pub fn seconds(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks(&stat)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .ok_or_else(|| format!("/proc/{pid}/stat cannot be read: {stat}").into())
}

/// utime and stime, fields 14 and 15 of proc(5). The name in parentheses may hold anything, so count from its end.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 101 0 3 0 250 31 7 8 20 0 3 0 99";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("42 (short) S 1"), None);
    }
}
