//! Postern, PgBouncer and HAProxy before one PostgreSQL, each configured for its best and for the same work: clients log
//! in with SCRAM everywhere, connections to the server are plain, Postern keeps its record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_perf::files::{private_directory, private_file};
use postern_perf::processes::{Running, confine, free_port, server, unprivileged_server};
use postern_perf::proofs::{PROVEN, Proofs, SPIFFE_ID};

use crate::scenario::{Scenario, Target, Transport, Width};
use crate::{Failure, Run};

/// PostgreSQL as `scripts/bench` has started it, with a database and a role `bench` in it.
#[derive(clap::Args)]
pub struct Server {
    #[arg(long)]
    pub server_port: u16,
    #[arg(long)]
    pub server_pid: u32,
    #[arg(long)]
    pub password_file: PathBuf,
    /// `rolpassword` of the role, which Postern and PgBouncer check clients against.
    #[arg(long)]
    pub verifier: String,
    /// PEM, of the proxies' TLS.
    #[arg(long)]
    pub certificate: PathBuf,
    #[arg(long)]
    pub key: PathBuf,
    /// Who runs PgBouncer where we are root.
    #[arg(long)]
    pub user: Option<String>,
}

/// Running proxies; ended when dropped.
pub struct Gates {
    server_port: u16,
    server_pid: u32,
    pub password: String,
    pub proofs: Proofs,
    running: BTreeMap<(usize, Width), Gate>,
    /// PgBouncer before 1.21 loses prepared statements in transaction mode.
    transaction_mode_prepares: bool,
}

struct Gate {
    process: Running,
    port: u16,
}

impl Gates {
    pub fn start(run: &Run) -> Result<Self, Failure> {
        std::fs::create_dir_all(&run.work)?;
        let version = crate::machine::first_line(&run.pgbouncer, &["--version"])?;
        let transaction_mode_prepares = knows_prepared_statements(&version);
        let proofs = Proofs::make(&run.work)?;
        let mut running = BTreeMap::new();
        let mut add = |target: Target, width, gate| running.insert((place(target), width), gate);
        for (width, threads) in [(Width::OneCpu, 1), (Width::Wide, run.threads)] {
            add(Target::Postern, width, postern(run, &proofs, width, threads)?);
            add(Target::Haproxy, width, haproxy(run, width, threads)?);
        }
        let prepares = if transaction_mode_prepares {
            "max_prepared_statements = 200"
        } else {
            ""
        };
        for (target, mode, further) in [
            (Target::PgbouncerSession, "session", ""),
            (Target::PgbouncerTransaction, "transaction", prepares),
            (Target::PgbouncerFresh, "session", "server_lifetime = 0"),
        ] {
            add(target, Width::Wide, pgbouncer(run, target, mode, further)?);
        }
        Ok(Self {
            server_port: run.server.server_port,
            server_pid: run.server.server_pid,
            password: std::fs::read_to_string(&run.server.password_file)?.trim().to_owned(),
            proofs,
            running,
            transaction_mode_prepares,
        })
    }

    /// Why a scenario makes no sense for a target.
    pub fn missing(&self, scenario: &Scenario, target: Target) -> Option<String> {
        let why = match (target, scenario.transport) {
            (Target::Haproxy, Transport::Tls) => "in TCP mode TLS is the server's",
            (Target::PgbouncerTransaction, Transport::Plain | Transport::Tls)
                if scenario.prepared && !self.transaction_mode_prepares =>
            {
                "prepared statements in transaction mode need 1.21"
            }
            (
                Target::Direct
                | Target::Postern
                | Target::PgbouncerSession
                | Target::PgbouncerTransaction
                | Target::PgbouncerFresh
                | Target::Haproxy,
                _,
            ) => return None,
        };
        Some(why.to_owned())
    }

    pub fn port(&self, target: Target, width: Width) -> u16 {
        self.gate(target, width).map_or(self.server_port, |gate| gate.port)
    }

    /// None for direct connections.
    pub fn pid(&self, target: Target, width: Width) -> Option<u32> {
        self.gate(target, width).map(|gate| gate.process.pid())
    }

    /// Puts the server and one proxy on one CPU, or gives them all of them.
    pub fn confine(&self, target: Target, width: Width, cpus: &str) -> Result<(), Failure> {
        confine(self.server_pid, cpus)?;
        self.pid(target, width).map_or(Ok(()), |pid| confine(pid, cpus))
    }

    /// PgBouncer has one thread and serves both widths.
    fn gate(&self, target: Target, width: Width) -> Option<&Gate> {
        let exact = self.running.get(&(place(target), width));
        exact.or_else(|| self.running.get(&(place(target), Width::Wide)))
    }
}

fn place(target: Target) -> usize {
    Target::ALL.iter().position(|each| *each == target).unwrap_or_default()
}

fn knows_prepared_statements(version: &str) -> bool {
    let numbers = version.split_ascii_whitespace().nth(1).unwrap_or_default();
    let mut numbers = numbers.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(1), Some(21))
}

fn postern(run: &Run, proofs: &Proofs, width: Width, cores: u32) -> Result<Gate, Failure> {
    let directory = run.work.join(format!("postern-{}", width.name()));
    private_directory(&directory)?;
    private_directory(&directory.join("policy"))?;
    private_directory(&directory.join("record"))?;
    let password = std::fs::read_to_string(&run.server.password_file)?;
    private_file(&directory.join("bench.password"), password.trim())?;
    private_file(&directory.join("policy/bench.toml"), policy(run, proofs, &directory))?;
    let port = free_port()?;
    let config = format!(
        r#"[server]
cores = {cores}
pin = {pin}
sessions = 500
policy = "policy"
secret_file = "gate.secret"

[[listener]]
name = "clients"
address = "127.0.0.1:{port}"
tls = "allow"
certificate = "{certificate}"
key = "{key}"

[audit]
file = "record/audit.jsonl"

[log]
level = "warn"
"#,
        pin = width == Width::Wide,
        certificate = run.server.certificate.display(),
        key = run.server.key.display(),
    );
    let path = directory.join("postern.toml");
    private_file(&path, config)?;
    let mut command = server(&run.postern);
    command.arg("serve").arg("--config").arg(&path);
    start(&mut command, &directory.join("log"), port)
}

fn policy(run: &Run, proofs: &Proofs, directory: &Path) -> String {
    format!(
        r#"[identity.bench]
scram = "{verifier}"
aliases = ["{PROVEN}"]
keys = [
    {{ provider = "corp", spiffe = "{SPIFFE_ID}" }},
    {{ provider = "login", subject = "client" }},
]

[cluster.main]
endpoints = ["127.0.0.1:{server}"]
tls = "disable"

[cluster.main.role.bench]
password_file = "{directory}/bench.password"

[grant.bench]
identities = ["bench"]
databases = ["bench"]
cluster = "main"
role = "bench"

{proofs}
[[authentication]]
name = "clients"
method = "scram-sha-256"
"#,
        proofs = proofs.policy(),
        verifier = run.server.verifier,
        server = run.server.server_port,
        directory = directory.display(),
    )
}

/// With the verifier in its user list PgBouncer logs in to the server with the key that the client's proof revealed.
fn pgbouncer(run: &Run, target: Target, mode: &str, further: &str) -> Result<Gate, Failure> {
    let directory = run.work.join(format!("pgbouncer-{}", place(target)));
    std::fs::create_dir_all(&directory)?;
    let users = directory.join("users.txt");
    std::fs::write(&users, format!("\"bench\" \"{}\"\n", run.server.verifier))?;
    let port = free_port()?;
    let config = format!(
        r#"[databases]
bench = host=127.0.0.1 port={server} dbname=bench

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = 64
max_client_conn = 1000
server_tls_sslmode = disable
client_tls_sslmode = allow
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
log_connections = 0
log_disconnections = 0
{further}
"#,
        server = run.server.server_port,
        users = users.display(),
        certificate = run.server.certificate.display(),
        key = run.server.key.display(),
    );
    let path = directory.join("pgbouncer.ini");
    std::fs::write(&path, config)?;
    let mut command = unprivileged_server(&run.pgbouncer, run.server.user.as_deref());
    start(command.arg(&path), &directory.join("log"), port)
}

fn haproxy(run: &Run, width: Width, threads: u32) -> Result<Gate, Failure> {
    let port = free_port()?;
    let config = format!(
        "global\n    nbthread {threads}\n    maxconn 1000\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
         listen bench\n    bind 127.0.0.1:{port}\n    server postgres 127.0.0.1:{}\n",
        run.server.server_port
    );
    let path = run.work.join(format!("haproxy-{}.cfg", width.name()));
    std::fs::write(&path, config)?;
    let log = run.work.join(format!("haproxy-{}.log", width.name()));
    start(server(&run.haproxy).arg("-db").arg("-f").arg(&path), &log, port)
}

fn start(command: &mut Command, log: &Path, port: u16) -> Result<Gate, Failure> {
    Ok(Gate {
        process: Running::start(command, log, port)?,
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_statements_come_with_pgbouncer_1_21() {
        assert!(!knows_prepared_statements("PgBouncer 1.18.0"));
        assert!(knows_prepared_statements("PgBouncer 1.21.0"));
        assert!(knows_prepared_statements("PgBouncer 2.0.1"));
        assert!(!knows_prepared_statements("something else"));
    }
}
