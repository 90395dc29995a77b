//! Two PostgreSQL servers whose processes have the same small numbers: each runs in a PID namespace of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::place::Place;
use super::servers::Server;

/// A server that ends with its namespace.
pub struct Twin {
    namespace: Child,
    pub server: Server,
    _place: Place,
}

/// None where the machine does not permit PID namespaces.
pub fn twins(version: u32) -> Option<[Twin; 2]> {
    let permitted = unshare().arg("true").status().is_ok_and(|status| status.success());
    permitted.then(|| [Twin::start(version), Twin::start(version)])
}

impl Twin {
    fn start(version: u32) -> Self {
        let place = Place::new();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        // The namespace lives until its input ends.
        let mut namespace = unshare()
            .args(["bash", "-c", "\"$0\" start \"$1\" \"$2\" && echo && read -r _"])
            .arg(script)
            .arg(version.to_string())
            .arg(place.path("server"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a namespace");
        let lines = BufReader::new(namespace.stdout.take().expect("a pipe")).lines();
        let told: Vec<String> = lines
            .map(|line| line.expect("text"))
            .take_while(|line| !line.is_empty())
            .collect();
        Self {
            namespace,
            server: Server::told_by(&told.join(" ")),
            _place: place,
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        drop(self.namespace.stdin.take());
        let _status = self.namespace.wait();
    }
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    command
}
