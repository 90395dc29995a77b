//! One run of one scenario against one target.

use std::process::{Command, Stdio};
use std::time::Instant;

use postern_perf::proofs::PROVEN;

use crate::Failure;
use crate::cpu;
use crate::gates::Gates;
use crate::results::Sample;
use crate::scenario::{Load, Proof, Scenario, Target, Transport, Width};

pub struct Measure<'a> {
    pub gates: &'a Gates,
    /// Of each pgbench run.
    pub seconds: u32,
    /// Arguments of pgbench that win over a scenario's, between blanks.
    pub further: &'a str,
    pub copy_rows: u64,
}

/// A row of COPY's text form: 1,000 characters and the line's end.
const ROW_BYTES: u64 = 1_001;

impl Measure<'_> {
    /// A short run that is not counted; what is wrong will show in the rounds.
    pub fn warm_up(&self, scenario: &Scenario, target: Target) {
        let short = Measure {
            seconds: 1,
            copy_rows: self.copy_rows / 10,
            ..*self
        };
        if let Err(error) = short.run(scenario, target) {
            eprintln!("\nwarm-up of {} through {}: {error}", scenario.name, target.title());
        }
    }

    pub fn run(&self, scenario: &Scenario, target: Target) -> Result<Sample, Failure> {
        if scenario.width == Width::OneCpu {
            self.gates.confine(target, scenario.width, "0")?;
        }
        let outcome = self.measured(scenario, target);
        if scenario.width == Width::OneCpu {
            let all = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
            self.gates.confine(target, scenario.width, all.trim())?;
        }
        outcome
    }

    fn measured(&self, scenario: &Scenario, target: Target) -> Result<Sample, Failure> {
        let pid = self.gates.pid(target, scenario.width);
        let before = pid.map(cpu::seconds).transpose()?;
        let mut sample = match scenario.load {
            Load::Pgbench(arguments) => self.pgbench(scenario, target, arguments)?,
            Load::CopyOut => self.copy_out(scenario, target)?,
        };
        let after = pid.map(cpu::seconds).transpose()?;
        sample.cpu_seconds = after.zip(before).map(|(after, before)| after - before);
        Ok(sample)
    }

    fn pgbench(&self, scenario: &Scenario, target: Target, arguments: &[&str]) -> Result<Sample, Failure> {
        let mut command = self.client("pgbench", scenario, target);
        command
            .args(["-n", "-T", &self.seconds.to_string()])
            .args(arguments)
            .args(self.further.split_ascii_whitespace());
        let output = command.arg("bench").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(first_complaint(&complaints).into());
        }
        let report = PgbenchReport::read(&said).ok_or_else(|| format!("pgbench said\n{said}"))?;
        if report.failed > 0 {
            return Err(format!("{} transactions failed", report.failed).into());
        }
        Ok(Sample {
            per_second: report.tps,
            latency_ms: report.latency_ms,
            work: report.transactions as f64,
            cpu_seconds: None,
        })
    }

    fn copy_out(&self, scenario: &Scenario, target: Target) -> Result<Sample, Failure> {
        let rows = self.copy_rows;
        let copy = format!("COPY (SELECT repeat('x', 1000) FROM generate_series(1, {rows})) TO STDOUT");
        let mut command = self.client("psql", scenario, target);
        command
            .args(["--no-psqlrc", "--quiet", "-d", "bench", "-c", &copy])
            .stdout(Stdio::null());
        let began = Instant::now();
        let output = command.output()?;
        let seconds = began.elapsed().as_secs_f64();
        if !output.status.success() {
            return Err(first_complaint(&String::from_utf8_lossy(&output.stderr)).into());
        }
        let gigabytes = (rows * ROW_BYTES) as f64 / 1e9;
        Ok(Sample {
            per_second: gigabytes / seconds,
            latency_ms: seconds * 1e3,
            work: gigabytes,
            cpu_seconds: None,
        })
    }

    fn client(&self, program: &str, scenario: &Scenario, target: Target) -> Command {
        let mut command = match scenario.width {
            Width::OneCpu => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", "0", program]);
                command
            }
            Width::Wide => Command::new(program),
        };
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.gates.port(target, scenario.width).to_string())
            .env("PGUSER", "bench")
            .env("PGPASSWORD", &self.gates.password)
            .env("PGGSSENCMODE", "disable")
            .env(
                "PGSSLMODE",
                match scenario.transport {
                    Transport::Plain => "disable",
                    Transport::Tls => "require",
                },
            )
            .stdin(Stdio::null());
        if (scenario.proof, target) == (Proof::CertificateAndToken, Target::Postern) {
            let proofs = &self.gates.proofs;
            command
                .env("PGUSER", PROVEN)
                .env("PGPASSWORD", &proofs.token)
                .env("PGSSLCERT", &proofs.certificate)
                .env("PGSSLKEY", &proofs.key);
        }
        command
    }
}

/// The first line that says what went wrong.
fn first_complaint(stderr: &str) -> String {
    let wrong = |line: &&str| line.contains("error") || line.contains("ERROR") || line.contains("FATAL");
    let line = stderr.lines().find(wrong).or_else(|| stderr.lines().next());
    line.unwrap_or("it failed without a word").to_owned()
}

struct PgbenchReport {
    tps: f64,
    latency_ms: f64,
    transactions: u64,
    failed: u64,
}

impl PgbenchReport {
    fn read(text: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let number = line.trim_start_matches([' ', ':', '=']);
            let end = number
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(number.len());
            number[..end].parse::<f64>().ok()
        };
        Some(Self {
            tps: number("tps")?,
            latency_ms: number("latency average")?,
            transactions: number("number of transactions actually processed")? as u64,
            // Older than 15: a failed transaction ends its client and pgbench says so.
            failed: number("number of failed transactions").unwrap_or_default() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pgbench_prints() {
        let text = "transaction type: <builtin: select only>\n\
                    number of transactions actually processed: 47921\n\
                    number of failed transactions: 3 (0.006%)\n\
                    latency average = 0.104 ms\n\
                    initial connection time = 3.311 ms\n\
                    tps = 9590.123456 (without initial connection time)\n";
        let report = PgbenchReport::read(text).unwrap();
        assert_eq!((report.transactions, report.failed), (47_921, 3));
        assert_eq!((report.tps, report.latency_ms), (9590.123456, 0.104));
        assert!(PgbenchReport::read("tps = x").is_none());
    }

    #[test]
    fn errors_are_found_among_notices() {
        let stderr = "pgbench (15.18)\npgbench: error: connection failed: FATAL:  no\nmore\n";
        assert_eq!(first_complaint(stderr), "pgbench: error: connection failed: FATAL:  no");
        assert_eq!(first_complaint(""), "it failed without a word");
    }
}
