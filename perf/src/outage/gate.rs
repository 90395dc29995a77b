//! The gate, with a webhook that never answers, one that does, and an issuer whose keys are fetched.

use postern_issuer::Issuer;
use postern_perf::files::{private_directory, private_file};
use postern_perf::processes::{Running, free_ports, server};
use postern_perf::proofs::{PROVEN, Proofs, SPIFFE_ID};
use postern_perf::{Failure, metrics};

use crate::Arguments;

/// What clients call themselves for whom the webhook is asked.
pub const WAITING: &str = "waiting";
/// The same for the webhook that answers.
pub const ANSWERED: &str = "answered";
/// Of the gate's answers to the webhook's askers: a deadline is 30 s at most, and four times as many wait as are asked at once.
const SHARE_ASKED: u32 = 5;
/// Sessions beside the herd's.
const OTHERS: u32 = 500;

pub struct Gate {
    process: Running,
    pub port: u16,
    admin: u16,
}

impl Gate {
    pub fn start(arguments: &Arguments, proofs: &Proofs, hanging: &Issuer, other: &Issuer) -> Result<Self, Failure> {
        let directory = arguments.work.join("gate");
        private_directory(&directory.join("policy"))?;
        private_directory(&directory.join("record"))?;
        for (name, issuer) in [(HANGING_ROOT, hanging), (OTHER_ROOT, other)] {
            private_file(&directory.join("policy").join(name), issuer.root_pem())?;
        }
        let policy = policy(arguments, proofs, hanging, other)?;
        private_file(&directory.join("policy/bench.toml"), policy)?;
        let [port, admin] = free_ports()?;
        private_file(&directory.join("postern.toml"), configuration(arguments, port, admin))?;
        let mut command = server(&arguments.postern);
        command.arg("serve").arg("--config").arg(directory.join("postern.toml"));
        let process = Running::start(&mut command, &directory.join("log"), port)?;
        Ok(Self { process, port, admin })
    }

    /// Questions to the webhook, under way or waiting for their turn.
    pub fn in_flight(&self) -> Result<u64, Failure> {
        metrics::sum(self.admin, "postern_provider_in_flight_count")
    }

    /// Bytes.
    pub fn resident(&self) -> Result<u64, Failure> {
        metrics::resident(self.process.pid())
    }
}

const HANGING_ROOT: &str = "hanging.pem";
const OTHER_ROOT: &str = "other.pem";

fn policy(arguments: &Arguments, proofs: &Proofs, hanging: &Issuer, other: &Issuer) -> Result<String, Failure> {
    let password = std::fs::canonicalize(&arguments.password_file)?;
    Ok(format!(
        r#"[identity.bench]
aliases = ["{PROVEN}", "{WAITING}", "{ANSWERED}"]
keys = [
    {{ provider = "corp", spiffe = "{SPIFFE_ID}" }},
    {{ provider = "login", subject = "client" }},
    {{ provider = "desk", subject = "client" }},
    {{ provider = "quick", subject = "client" }},
]

[cluster.main]
endpoints = ["127.0.0.1:{server}"]
tls = "disable"

[cluster.main.role.bench]
password_file = "{password}"

[grant.bench]
identities = ["bench"]
databases = ["bench"]
cluster = "main"
role = "bench"

[provider.desk]
kind = "webhook"
url = "{url}"
roots = ["{HANGING_ROOT}"]
deadline = "30s"
concurrency = {concurrency}

[provider.quick]
kind = "webhook"
url = "{quick}"
roots = ["{OTHER_ROOT}"]

[[authentication]]
name = "answered"
users = ["{ANSWERED}"]
transport = "tls"
method = "webhook"
providers = ["quick"]

[[authentication]]
name = "waiting"
users = ["{WAITING}"]
transport = "tls"
method = "webhook"
providers = ["desk"]

{proofs}"#,
        server = arguments.server_port,
        password = password.display(),
        url = hanging.url_of("webhook"),
        quick = other.url_of("webhook"),
        concurrency = arguments.herd.div_ceil(SHARE_ASKED),
        proofs = proofs.policy_of(&format!(
            "issuer = \"{}\"\nroots = [\"{OTHER_ROOT}\"]\nrefresh = \"1m\"",
            other.url()
        )),
    ))
}

fn configuration(arguments: &Arguments, port: u16, admin: u16) -> String {
    format!(
        r#"[server]
cores = 2
sessions = {sessions}
policy = "policy"
secret_file = "gate.secret"

[[listener]]
name = "clients"
address = "127.0.0.1:{port}"
tls = "require"
certificate = "{certificate}"
key = "{key}"

[audit]
file = "record/audit.jsonl"

[admin]
address = "127.0.0.1:{admin}"

[log]
level = "warn"
"#,
        sessions = arguments.herd + OTHERS,
        certificate = arguments.certificate.display(),
        key = arguments.key.display(),
    )
}
