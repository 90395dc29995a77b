//! Several pgbench at once: clients that stay, and clients that log in for each transaction. Every transaction is logged, and
//! one that fails fails the run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Failure;

pub struct Load {
    pub port: u16,
    pub user: String,
    /// Or a token.
    pub password: String,
    /// Certificate and key, PEM, where clients come over TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub seconds: u64,
    /// Transactions a second of the clients that stay, and of those that come: a machine that is driven to its end shows
    /// queues of its own.
    pub rate: u32,
    pub logins: u32,
    /// Who logs in for each transaction beside `user`, as often.
    pub others: Vec<Other>,
    pub logs: PathBuf,
}

pub struct Other {
    pub user: String,
    pub password: String,
}

#[derive(Serialize)]
pub struct Figures {
    pub transactions: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub most_ms: f64,
}

pub struct Running {
    staying: Client,
    coming: Client,
    others: Vec<Client>,
    logs: PathBuf,
}

/// What a run has shown.
pub struct Finished {
    pub staying: Figures,
    pub coming: Figures,
    /// In the order of [`Load::others`].
    pub others: Vec<Figures>,
}

struct Client {
    name: String,
    child: Child,
}

impl Load {
    pub fn start(&self) -> Result<Running, Failure> {
        for entry in std::fs::read_dir(&self.logs)? {
            std::fs::remove_file(entry?.path())?;
        }
        let own = (self.user.as_str(), self.password.as_str());
        let coming = &["-C", "-c", "2"];
        let others = self.others.iter().map(|other| {
            let who = (other.user.as_str(), other.password.as_str());
            self.client(&other.user, who, self.logins, coming)
        });
        Ok(Running {
            staying: self.client("staying", own, self.rate, &["-M", "prepared", "-c", "16"])?,
            coming: self.client("coming", own, self.logins, coming)?,
            others: others.collect::<Result<_, _>>()?,
            logs: self.logs.clone(),
        })
    }

    fn client(
        &self,
        name: &str,
        (user, password): (&str, &str),
        rate: u32,
        arguments: &[&str],
    ) -> Result<Client, Failure> {
        let mut command = Command::new("pgbench");
        command
            .args([
                "-n",
                "-S",
                "-T",
                &self.seconds.to_string(),
                "-R",
                &rate.to_string(),
                "--log",
            ])
            .arg(format!("--log-prefix={}", self.logs.join(name).display()))
            .args(arguments)
            .arg("bench")
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", user)
            .env("PGPASSWORD", password)
            .env("PGGSSENCMODE", "disable")
            .env("PGSSLMODE", "disable")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some((certificate, key)) = &self.certificate {
            command
                .env("PGSSLMODE", "require")
                .env("PGSSLCERT", certificate)
                .env("PGSSLKEY", key);
        }
        Ok(Client {
            name: name.to_owned(),
            child: command.spawn()?,
        })
    }
}

impl Running {
    pub fn finish(self) -> Result<Finished, Failure> {
        // All are waited for, whatever the first has to say.
        let logs = &self.logs;
        let (staying, coming) = (self.staying.finish(logs), self.coming.finish(logs));
        let others: Vec<_> = self.others.into_iter().map(|other| other.finish(logs)).collect();
        Ok(Finished {
            staying: staying?,
            coming: coming?,
            others: others.into_iter().collect::<Result<_, _>>()?,
        })
    }
}

impl Client {
    fn finish(self, logs: &Path) -> Result<Figures, Failure> {
        let output = self.child.wait_with_output()?;
        let complaints = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = said
            .lines()
            .find_map(|line| line.strip_prefix("number of failed transactions:"));
        let none_failed = failed.is_some_and(|rest| rest.trim_start().starts_with("0 "));
        let lost = complaints.contains("aborted") || complaints.contains("error:");
        if !output.status.success() || !none_failed || lost {
            return Err(format!(
                "{}: transactions or connections were lost\n{said}{complaints}",
                self.name
            )
            .into());
        }
        figures(logs, &self.name)
    }
}

/// Of pgbench's transaction logs: the third field of each line is the latency in microseconds.
fn figures(logs: &Path, name: &str) -> Result<Figures, Failure> {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3)?;
    for entry in std::fs::read_dir(logs)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(name) {
            continue;
        }
        for line in std::fs::read_to_string(entry.path())?.lines() {
            let micros = line.split(' ').nth(2).and_then(|field| field.parse().ok());
            latencies.saturating_record(micros.ok_or_else(|| format!("pgbench logged {line}"))?);
        }
    }
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Figures {
        transactions: latencies.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        most_ms: latencies.max() as f64 / 1e3,
    })
}
