//! Long work of control that must not be felt on the cores.

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// A nice value of 9 in the crate's own scale: a tenth of a core's weight where both want the same CPU, and all of a CPU that
/// nobody else wants.
const BACKGROUND: u8 = 25;

/// Does the work on a thread of lower priority and waits for it. Only for what takes long anyhow: on a machine that is
/// driven to its end it takes several times as long.
///
/// A thread of its own, since an unprivileged process cannot take a lowered priority back.
pub fn in_background<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let lowered = || {
        lower();
        work()
    };
    std::thread::scope(|scope| match scope.spawn(lowered).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn lower() {
    let lowered = ThreadPriorityValue::try_from(BACKGROUND).and_then(|value| {
        set_current_thread_priority(ThreadPriority::Crossplatform(value)).map_err(|error| error.to_string())
    });
    if let Err(error) = lowered {
        tracing::debug!(error, "no lower priority: the cores may feel it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 19th field of /proc/thread-self/stat (proc(5)).
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[16].parse().unwrap()
    }

    #[test]
    fn the_work_is_nicer_and_its_caller_is_not() {
        let before = nice();
        let within = in_background(nice);
        assert!((before + 5..=19).contains(&within), "{within}");
        assert_eq!(nice(), before);
    }
}
