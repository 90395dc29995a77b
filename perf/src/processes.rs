//! Processes that the harness starts, and ends by number.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// A server in the foreground; ended when dropped.
pub struct Running(Child);

impl Running {
    /// Starts it with its output in `log` and waits until somebody listens on `port`.
    pub fn start(command: &mut Command, log: &Path, port: u16) -> Result<Self, Failure> {
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut running = Self(child);
        let deadline = Instant::now() + Duration::from_secs(15);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = running.0.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{command:?} ended with {status}:\n{said}").into());
            }
            if Instant::now() > deadline {
                return Err(format!("{command:?} does not listen on {port}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

/// One that was started in another way.
impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("process {} cannot be ended: {error}", self.0.id());
        }
    }
}

/// Of this process and of what it starts from now on: each socket needs a descriptor, and the soft limit is often 1,024.
pub fn raise_descriptor_limit() -> Result<(), Failure> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// The program, ended with the harness even where that is killed.
pub fn server(program: &Path) -> Command {
    unprivileged_server(program, None)
}

/// As the user that PostgreSQL runs as: PgBouncer refuses root.
pub fn unprivileged_server(program: &Path, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// A TCP port of 127.0.0.1 that nobody has right now.
pub fn free_port() -> Result<u16, Failure> {
    free_ports().map(|[port]| port)
}

/// So many of them, no two alike.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Failure> {
    // Each is held until the last has been found: a port let go of may be given out again.
    let held = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(held) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

/// Lets all threads of the process, those of its children, and what it forks from now on, run on these CPUs only (`0` or
/// `0-1`). PgBouncer keeps its server connections, so backends of earlier runs are among those children.
pub fn confine(pid: u32, cpus: &str) -> Result<(), Failure> {
    taskset(pid, cpus)?;
    for child in children(pid)? {
        // It may have ended by now.
        if taskset(child, cpus).is_err() && Path::new(&format!("/proc/{child}")).exists() {
            return Err(format!("process {child} cannot be put on CPU {cpus}").into());
        }
    }
    Ok(())
}

fn taskset(pid: u32, cpus: &str) -> Result<(), Failure> {
    let done = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", cpus, &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    done.success()
        .then_some(())
        .ok_or_else(|| format!("taskset of process {pid}: {done}").into())
}

fn children(pid: u32) -> Result<Vec<u32>, Failure> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        // It may have ended by now.
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if parent(&stat) == Some(pid) {
            children.push(process);
        }
    }
    Ok(children)
}

/// Field 4 of proc(5)'s stat. The name in parentheses may hold anything, so count from its end.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_fields() {
        assert_eq!(parent("42 (a) b (c)) S 17 42 42 0 -1"), Some(17));
        assert_eq!(parent("42 (short"), None);
    }

    #[test]
    fn a_child_is_found() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let found = children(std::process::id()).expect("/proc can be read");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(found.contains(&child.id()));
    }
}
