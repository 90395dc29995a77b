//! What an idle session costs in user memory: RSS of one Postern before and with a herd, over the number of sessions.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use postern::identity::scram::verifier;
use postern_perf::files::{private_directory, private_file};
use postern_perf::metrics::resident;
use postern_perf::processes::{Running, free_ports, server};

use crate::Failure;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 15_000)]
    sessions: u32,
    #[arg(long, default_value = "target/release/postern")]
    postern: PathBuf,
    #[arg(long, default_value_t = 2)]
    cores: u32,
    /// Measure this process instead, which already lets `load` with password `load` in at this address.
    #[arg(long, requires = "address")]
    pid: Option<u32>,
    #[arg(long)]
    address: Option<String>,
}

/// Before the first look: pools of buffers are of fixed size and are filled from end to end by traffic, whoever causes it.
/// Their memory is not a session's. Few logins, since each leaves a port of the fake server's address in TIME_WAIT.
const WARM_UP: [&str; 6] = ["--at-once", "64", "--queries", "2500", "--seconds", "5"];

/// Places beyond the herd's, for the warm-up's sessions that are not quite gone.
const SPARE_SESSIONS: u32 = 200;

pub fn measure(options: &Options) -> Result<(), Failure> {
    let directory = std::env::temp_dir().join(format!("postern-memory-{}", std::process::id()));
    let outcome = match (options.pid, &options.address) {
        (Some(pid), Some(address)) => compare(pid, address, options.sessions),
        (_, _) => with_own_gate(options, &directory),
    };
    if directory.is_dir() {
        std::fs::remove_dir_all(&directory)?;
    }
    outcome
}

fn with_own_gate(options: &Options, directory: &Path) -> Result<(), Failure> {
    // Huge pages would bring two megabytes of a table with its first entry, and hide the others' memory in RSS at 0.
    nix::sys::prctl::set_thp_disable(true)?;
    let [fake_port, gate_port] = free_ports()?;
    write_configuration(options, directory, fake_port, gate_port)?;
    let mut fake = server(&std::env::current_exe()?);
    fake.args(["fake-postgres", "--port", &fake_port.to_string()]);
    let _fake = Running::start(&mut fake, &directory.join("fake.log"), fake_port)?;
    let mut postern = server(&options.postern);
    postern.arg("serve").arg("--config").arg(directory.join("postern.toml"));
    let postern = Running::start(&mut postern, &directory.join("postern.log"), gate_port)?;
    compare(postern.pid(), &format!("127.0.0.1:{gate_port}"), options.sessions)
}

fn compare(pid: u32, address: &str, sessions: u32) -> Result<(), Failure> {
    let started = resident(pid)?;
    warm_up(address)?;
    std::thread::sleep(Duration::from_secs(2));
    let before = resident(pid)?;
    let herd = herd(address, sessions)?;
    std::thread::sleep(Duration::from_secs(2));
    let with = resident(pid)?;
    drop(herd);
    let bytes = (with as f64 - before as f64) / f64::from(sessions);
    println!("RSS {started} bytes at the start");
    println!("RSS {before} bytes at 0 sessions: pools and queues have been used from end to end");
    println!("RSS {with} bytes at {sessions} sessions");
    println!("{bytes:.0} bytes of user memory for each idle session");
    Ok(())
}

fn warm_up(address: &str) -> Result<(), Failure> {
    let done = Command::new(std::env::current_exe()?)
        .args(["churn", address])
        .args(WARM_UP)
        .status()?;
    done.success()
        .then_some(())
        .ok_or_else(|| format!("the warm-up ended with {done}").into())
}

/// Starts `idle` and waits until all its sessions are open.
fn herd(address: &str, sessions: u32) -> Result<Running, Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["idle", address, "--seconds", "600", "--sessions", &sessions.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take();
    let herd = Running::from(child);
    for line in BufReader::new(output.ok_or("no output")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some(held) = line.strip_prefix("holding ") {
            return if held == sessions.to_string() {
                Ok(herd)
            } else {
                Err(format!("only {held} of {sessions} sessions came about").into())
            };
        }
    }
    Err("the herd ended early".into())
}

fn write_configuration(options: &Options, directory: &Path, server: u16, gate: u16) -> Result<(), Failure> {
    let secret = verifier::format(&verifier::make(b"load", b"salt of the herd", 4_096));
    let policy = format!(
        "[identity.load]\nscram = \"{secret}\"\n\n\
         [cluster.fake]\nendpoints = [\"127.0.0.1:{server}\"]\ntls = \"disable\"\n\n\
         [cluster.fake.role.load]\nmethods = [\"trust\"]\n\n\
         [grant.load]\nidentities = [\"load\"]\ndatabases = [\"load\"]\ncluster = \"fake\"\nrole = \"load\"\n\n\
         [[authentication]]\nname = \"all\"\nmethod = \"scram-sha-256\"\n"
    );
    let (cores, sessions) = (options.cores, options.sessions + SPARE_SESSIONS);
    let config = format!(
        "[server]\ncores = {cores}\nsessions = {sessions}\npolicy = \"policy\"\nsecret_file = \"gate.secret\"\n\n\
         [[listener]]\nname = \"clients\"\naddress = \"127.0.0.1:{gate}\"\ntls = \"off\"\n\n\
         [audit]\nfile = \"audit.jsonl\"\n\n[log]\nlevel = \"warn\"\n"
    );
    private_directory(&directory.join("policy"))?;
    private_file(&directory.join("policy/load.toml"), policy)?;
    private_file(&directory.join("postern.toml"), config)
}
