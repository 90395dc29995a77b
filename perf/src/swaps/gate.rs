//! The gate whose policy is swapped, by renames into its directory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postern_perf::files::{private_directory, private_file};
use postern_perf::processes::{Running, free_ports, server};
use postern_perf::{Failure, metrics};

pub struct Gate {
    process: Running,
    pub port: u16,
    admin: u16,
    directory: PathBuf,
    /// Which of the two snapshots comes next.
    next: usize,
}

const CORES: u64 = 2;
/// A swap that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

impl Gate {
    pub fn start(postern: &Path, work: &Path, snapshots: &[Vec<u8>; 2]) -> Result<Self, Failure> {
        let directory = work.join("gate");
        for part in ["", "policy", "record", "snapshots"] {
            private_directory(&directory.join(part))?;
        }
        for (number, bytes) in snapshots.iter().enumerate() {
            private_file(&directory.join(format!("snapshots/{number}")), bytes)?;
        }
        let [port, admin] = free_ports()?;
        private_file(&directory.join("postern.toml"), configuration(port, admin))?;
        drop_in(&directory, 0)?;
        let mut command = server(postern);
        command.arg("serve").arg("--config").arg(directory.join("postern.toml"));
        let process = Running::start(&mut command, &directory.join("log"), port)?;
        Ok(Self {
            process,
            port,
            admin,
            directory,
            next: 1,
        })
    }

    /// Drops the other snapshot in, and waits until every core has checked its sessions again.
    pub fn swap(&mut self) -> Result<Duration, Failure> {
        let before = self.adopted()?;
        let began = Instant::now();
        drop_in(&self.directory, self.next)?;
        self.next = 1 - self.next;
        while self.adopted()? < before + CORES {
            if began.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.directory.join("log"))?;
                return Err(format!("the policy was not taken up within {PATIENCE:?}:\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(began.elapsed())
    }

    /// Bytes.
    pub fn peak_resident(&self) -> Result<u64, Failure> {
        metrics::peak_resident(self.process.pid())
    }

    /// How often a core has finished looking at its sessions after a swap, all cores together.
    fn adopted(&self) -> Result<u64, Failure> {
        metrics::sum(self.admin, "postern_policy_adopted_total")
    }
}

/// A second name for the snapshot, renamed over the one in force: both are on one file system, and no byte is copied.
fn drop_in(directory: &Path, number: usize) -> Result<(), Failure> {
    let fresh = directory.join("snapshots/fresh");
    std::fs::hard_link(directory.join(format!("snapshots/{number}")), &fresh)?;
    Ok(std::fs::rename(&fresh, directory.join("policy/fleet.snapshot"))?)
}

fn configuration(port: u16, admin: u16) -> String {
    format!(
        "[server]\ncores = {CORES}\nsessions = 500\npolicy = \"policy\"\nsecret_file = \"gate.secret\"\n\n\
         [[listener]]\nname = \"passwords\"\naddress = \"127.0.0.1:{port}\"\ntls = \"off\"\n\n\
         [audit]\nfile = \"record/audit.jsonl\"\n\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\n[log]\nlevel = \"warn\"\n"
    )
}
