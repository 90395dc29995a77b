//! The clients that wait: processes of the load generator.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use postern_perf::Failure;
use postern_perf::processes::Running;

use crate::Arguments;
use crate::gate::WAITING;

/// Each has at most as many sockets as it may have descriptors.
const PROCESSES: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(25);

pub struct Herd {
    parts: Vec<Part>,
    gathered_in: Duration,
}

struct Part {
    _process: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Herd {
    /// Returns once all have sent what they have to show.
    pub fn gather(arguments: &Arguments, port: u16) -> Result<Self, Failure> {
        let began = Instant::now();
        let share = arguments.herd / PROCESSES;
        let parts = (0..PROCESSES).map(|nth| Part::start(arguments, port, nth * share, share));
        let mut parts = parts.collect::<Result<Vec<_>, _>>()?;
        for part in &mut parts {
            part.wait_for(share)?;
        }
        let gathered_in = began.elapsed();
        if gathered_in > PATIENCE {
            return Err(format!("the herd took {gathered_in:?} to gather: its first questions are over by now").into());
        }
        Ok(Self { parts, gathered_in })
    }

    /// Waits until all have been told something: how long they took to gather, and what they were told.
    pub fn disperse(self) -> Result<(f64, Vec<String>), Failure> {
        let mut told = Vec::new();
        for part in self.parts {
            for line in part.lines {
                told.push(line?);
            }
        }
        Ok((self.gathered_in.as_secs_f64(), told))
    }
}

impl Part {
    fn start(arguments: &Arguments, port: u16, first: u32, sessions: u32) -> Result<Self, Failure> {
        let mut child = Command::new(&arguments.loadtest)
            .args(["waiting", &format!("127.0.0.1:{port}"), "--user", WAITING])
            .args(["--database", "bench"])
            .args(["--sessions", &sessions.to_string(), "--first", &first.to_string()])
            .arg("--root")
            .arg(&arguments.certificate)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        Ok(Self {
            _process: Running::from(child),
            lines: BufReader::new(output).lines(),
        })
    }

    fn wait_for(&mut self, sessions: u32) -> Result<(), Failure> {
        let line = self.lines.next().ok_or("the herd ended early")??;
        if line.starts_with(&format!("waiting {sessions} ")) {
            Ok(())
        } else {
            let rest: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
            Err(format!("not all of the {sessions} sessions wait: {line}; {}", rest.join("; ")).into())
        }
    }
}
