//! How servers ask for a role's proof, and what the gate takes for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::authority::{Authority, Card};
use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::place::{Place, wait_for};
use crate::support::record::at;
use crate::support::servers::{Database, Server};

/// A PostgreSQL of the test's own, whose pg_hba.conf it may write.
struct Own {
    server: Server,
    place: Place,
}

impl Own {
    fn start(version: u32) -> Self {
        let place = Place::new();
        let output = script()
            .arg("start")
            .arg(version.to_string())
            .arg(place.path("server"))
            .output();
        let output = output.expect("the script runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self {
            server: Server::told_by(&String::from_utf8_lossy(&output.stdout)),
            place,
        }
    }

    fn data(&self) -> PathBuf {
        self.place.path("server/data")
    }

    /// Puts a line before all others.
    fn admit(&self, line: &str) {
        let file = self.data().join("pg_hba.conf");
        let before = fs::read_to_string(&file).expect("pg_hba.conf");
        fs::write(&file, format!("{line}\n{before}")).expect("pg_hba.conf is written");
        self.reload();
    }

    /// Makes the server ask for client certificates.
    fn ask_for_certificates(&self, authority: &Authority) {
        let file = self.data().join("clients.pem");
        fs::write(&file, authority.pem()).expect("a file is written");
        let setting = format!("alter system set ssl_ca_file = '{}'", file.display());
        self.server.sql("postgres", &setting);
        self.reload();
        wait_for("the setting", Duration::from_secs(5), || {
            (self.server.sql("postgres", "show ssl_ca_file") == file.display().to_string()).then_some(())
        });
    }

    fn reload(&self) {
        self.server.sql("postgres", "select pg_reload_conf()");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let stopped = script().arg("stop").arg(self.place.path("server")).status();
        assert!(std::thread::panicking() || stopped.is_ok_and(|status| status.success()));
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres"))
}

/// A cluster `main` like the tests' own, whose role has this certificate and nothing else.
fn cluster(database: &Database, card: &Card) -> String {
    let Database { name, server, .. } = database;
    format!(
        "[cluster.main]\nendpoints = [\"127.0.0.1:{port}\"]\nroots = [{ca:?}]\n\n[cluster.main.role.{name}]\n\
         certificate_file = {certificate:?}\nkey_file = {key:?}\n",
        port = server.port,
        ca = server.ca,
        certificate = card.certificate,
        key = card.key,
    )
}

/// The policy of [`Gate`] with the cluster exchanged.
fn exchange_cluster(gate: &Gate, card: &Card) {
    let file = gate.policy.directory.join("base.toml");
    let text = fs::read_to_string(file).expect("the policy");
    let (before, rest) = text.split_once("[cluster.main]").expect("a cluster");
    let (_, after) = rest.split_once("[[authentication]]").expect("rules");
    let cluster = cluster(&gate.database, card);
    let exchanged = format!("{before}{cluster}\n[[authentication]]{after}");
    gate.takes(|gate| gate.policy.drop_in("base", &exchanged));
}

#[test]
fn a_certificate_counts_where_the_server_has_asked_for_it() {
    for version in [15, 18] {
        let own = Own::start(version);
        let clients = Authority::new("roles");
        let gate = Gate::before(own.server.database());
        let card = clients.client(&gate.place, &gate.database.name, "spiffe://gate/role", 7);
        exchange_cluster(&gate, &card);
        let alice = gate.plain("alice").and_password();

        // The server trusts whoever comes as the role, and asks for nothing, least of all a certificate.
        own.admit(&format!("hostssl all {} 127.0.0.1/32 trust", gate.database.name));
        let refused = psql(&alice, "select 1").ill();
        assert!(refused.contains("the server rejected the connection"), "{refused}");
        let attempt = gate.record.attempt_with("asked.user", "alice");
        let end = gate.record.end_of(&at(&attempt, "session"));
        assert_eq!(at(&end, "how"), "upstream_credentials", "{end}");
        let why = "the server asks for no proof at all, which the credential does not allow";
        assert_eq!(at(&end, "detail"), why);

        own.ask_for_certificates(&clients);
        own.admit(&format!("hostssl all {} 127.0.0.1/32 cert", gate.database.name));
        assert_eq!(psql(&alice, "select current_user").well(), gate.database.name);
    }
}
