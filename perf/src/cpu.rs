//! CPU time of a process, from /proc.

use crate::Failure;

/// What all threads of the process have run so far, in seconds: nanoseconds that the scheduler counts, where
/// /proc/PID/stat has hundredths of a second. A thread that ends takes its time with it; proxies keep theirs.
pub fn seconds(pid: u32) -> Result<f64, Failure> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if has_ended(&error) => continue,
            text => text?,
        };
        nanoseconds += running(&text).ok_or_else(|| format!("{} cannot be read: {text}", path.display()))?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Whether the thread ended between the listing of the threads and the reading of its file: the file is gone
/// (ENOENT), or was open already and has nobody behind it (ESRCH).
fn has_ended(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The first field of schedstat: time on a CPU, nanoseconds.
fn running(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_is_the_time_on_a_cpu() {
        assert_eq!(running("83749214 2011 55\n"), Some(83_749_214));
        assert_eq!(running(""), None);
    }

    #[test]
    fn a_process_that_works_is_seen_to() {
        let own = std::process::id();
        let before = seconds(own).expect("this process is there");
        let mut sum = 0u64;
        while seconds(own).expect("still there") - before < 0.001 {
            sum = std::hint::black_box(sum + 1);
        }
    }

    #[test]
    fn threads_that_end_meanwhile_are_passed_over() {
        let own = std::process::id();
        let ending = std::thread::spawn(|| {
            for _ in 0..2000 {
                std::thread::spawn(|| {}).join().expect("an empty thread ends");
            }
        });
        while !ending.is_finished() {
            seconds(own).expect("this process is there");
        }
        ending.join().expect("the threads ended");
    }
}
