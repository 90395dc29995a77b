//! Processes that the harness starts, and ends by number.

use std::fs::File;
use std::net::TcpStream;
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
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let mut running = Self(child);
        let deadline = Instant::now() + Duration::from_secs(15);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = running.0.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{} ended with {status}:\n{said}", command.get_program().display()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("{} does not listen on {port}", command.get_program().display()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("process {} cannot be ended: {error}", self.0.id());
        }
    }
}

/// The program as the user that PostgreSQL runs as: PgBouncer refuses root.
pub fn unprivileged(program: &Path, user: Option<&str>) -> Command {
    match user {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", user, "--regid", user, "--clear-groups", "--"])
                .arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A TCP port of 127.0.0.1 that nobody has right now.
pub fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Lets all threads of the process, and what it forks from now on, run on these CPUs only (`0` or `0-1`).
pub fn confine(pid: u32, cpus: &str) -> Result<(), Failure> {
    let done = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", cpus, &pid.to_string()])
        .stdout(Stdio::null())
        .status()?;
    done.success()
        .then_some(())
        .ok_or_else(|| format!("taskset of process {pid}: {done}").into())
}
