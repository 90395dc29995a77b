//! The real `postern`, started with a configuration of a test's own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use postern::cli::{Terminal, run};

use super::authority::{Authority, Card};
use super::clients::ConnectionString;
use super::place::{Place, free_port, text_of, wait_for};
use super::policy::Policy;
use super::record::Reader;
use super::servers::Database;

/// A gate in front of one database. Ends with SIGKILL when dropped; [`Gate::stop`] is the polite way.
pub struct Gate {
    process: Process,
    pub ports: Ports,
    pub record: Reader,
    pub policy: Policy,
    pub database: Database,
    /// Who has signed the gate's own certificate, PEM.
    pub ca: PathBuf,
    pub place: Place,
}

/// Where the gate runs.
enum Process {
    Child(Child),
    /// On threads of the test's own process, until that ends.
    #[allow(dead_code, reason = "only the test that counts allocations needs it")]
    Here,
}

impl Process {
    fn child(&mut self) -> &mut Child {
        match self {
            Self::Child(child) => child,
            Self::Here => panic!("the gate runs in the test's own process"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// `tls = "require"`, client certificates.
    pub certificates: u16,
    /// `tls = "allow"`, passwords.
    pub passwords: u16,
    /// PROXY protocol before anything else, passwords.
    pub balanced: u16,
    pub admin: u16,
}

impl Gate {
    pub fn before(database: Database) -> Self {
        Self::with(database, "")
    }

    /// `server` are further keys of `[server]`.
    pub fn with(database: Database, server: &str) -> Self {
        Self::in_place(Place::new(), database, server, "")
    }

    /// `audit` are further keys of `[audit]`, and tables behind it; without `[failures]` none are counted, and without a budget
    /// of their own strangers have a large one.
    #[allow(
        dead_code,
        reason = "one of the binaries that share it needs no place of another kind"
    )]
    pub fn in_place(place: Place, database: Database, server: &str, audit: &str) -> Self {
        Self::started(place, database, [server, audit], |place| Process::Child(start(place)))
    }

    /// The same program on a thread of this process, where its allocations can be counted.
    #[allow(dead_code, reason = "only the test that counts allocations needs it")]
    pub fn in_this_process(database: Database) -> Self {
        Self::started(Place::new(), database, ["", ""], |place| {
            let arguments = ["postern".into(), "serve".into(), "--config".into()];
            let arguments = arguments
                .into_iter()
                .chain([place.path("postern.toml").into_os_string()]);
            let serve = move || {
                let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
                let mut terminal = Terminal {
                    out: &mut out,
                    err: &mut err,
                };
                let exit = run(arguments, &mut terminal);
                panic!("postern ended: {exit:?}");
            };
            std::thread::spawn(serve);
            Process::Here
        })
    }

    fn started(place: Place, database: Database, further: [&str; 2], start: impl FnOnce(&Place) -> Process) -> Self {
        let policy = Policy::new(&place, &database);
        let authority = Authority::new("demo gate");
        let card = authority.server(&place, "gate");
        let ca = place.write("gate-ca.pem", authority.pem());
        std::fs::create_dir(place.path("run")).expect("a directory for the socket");
        let ports = Ports {
            certificates: free_port(),
            passwords: free_port(),
            balanced: free_port(),
            admin: free_port(),
        };
        place.write("postern.toml", configuration(&place, &card, ports, further));
        let process = start(&place);
        let mut gate = Self {
            process,
            ports,
            record: Reader(place.path("audit.jsonl")),
            policy,
            database,
            ca,
            place,
        };
        gate.wait_until_ready();
        // Written behind the first policy's line, so that whoever counts loads from here on counts those to come.
        gate.record.wait_for_event("process.started");
        gate
    }

    fn wait_until_ready(&mut self) {
        wait_for("the gate is ready", Duration::from_secs(20), || {
            if let Process::Child(child) = &mut self.process
                && let Some(status) = child.try_wait().expect("its state")
            {
                panic!("postern ended: {status}\n{}", self.log());
            }
            self.page("/readyz").filter(|page| page.starts_with("HTTP/1.1 200"))
        });
    }

    /// Starts it again after [`Gate::kill`].
    pub fn restart(&mut self) {
        self.process = Process::Child(start(&self.place));
        self.wait_until_ready();
    }

    /// Waits until the policy that `change` leaves behind is in force.
    pub fn takes(&self, change: impl FnOnce(&Self)) {
        let loads = || self.record.events("policy.loaded").len();
        let before = loads();
        change(self);
        wait_for("the policy is in force", Duration::from_secs(10), || {
            (loads() > before).then_some(())
        });
    }

    pub fn log(&self) -> String {
        text_of(&self.place.path("log"))
    }

    /// An answer of the admin address, head and all.
    pub fn page(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.admin)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Child(child) => child.id(),
            Process::Here => std::process::id(),
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    pub fn kill(&mut self) {
        self.process.child().kill().expect("it was alive");
        self.process.child().wait().expect("its status");
    }

    /// SIGTERM, and its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        wait_for("the gate ends", Duration::from_secs(20), || {
            self.process.child().try_wait().expect("its state")
        })
    }

    /// `user` by password, in clear.
    pub fn plain(&self, user: &str) -> ConnectionString {
        self.connection(self.ports.passwords)
            .with("user", user)
            .with("sslmode", "disable")
    }

    /// `user` by password, over TLS.
    pub fn tls(&self, user: &str) -> ConnectionString {
        self.verified(self.ports.passwords).with("user", user)
    }

    /// By certificate.
    pub fn by_card(&self, user: &str, card: &Card) -> ConnectionString {
        self.verified(self.ports.certificates)
            .with("user", user)
            .with("sslcert", card.certificate.display())
            .with("sslkey", card.key.display())
    }

    pub fn local(&self, user: &str) -> ConnectionString {
        self.connection(6432)
            .with("host", self.place.path("run").display())
            .with("user", user)
    }

    fn verified(&self, port: u16) -> ConnectionString {
        self.connection(port)
            .with("sslmode", "verify-full")
            .with("sslrootcert", self.ca.display())
    }

    fn connection(&self, port: u16) -> ConnectionString {
        ConnectionString::default()
            .with("host", "127.0.0.1")
            .with("port", port)
            .with("dbname", &self.database.name)
            .with("connect_timeout", 20)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "-- log of the gate\n{}-- record\n{}",
                self.log(),
                text_of(&self.record.0)
            );
        }
        if let Process::Child(child) = &mut self.process {
            let _ended_already = child.kill();
            let _status = child.wait();
        }
    }
}

fn start(place: &Place) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(place.path("log"))
        .expect("a log");
    Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["serve", "--config"])
        .arg(place.path("postern.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log again"))
        .stderr(log)
        .spawn()
        .expect("postern starts")
}

fn configuration(place: &Place, card: &Card, ports: Ports, [server, audit]: [&str; 2]) -> String {
    let certificate = card.certificate.display();
    let key = card.key.display();
    let Ports {
        certificates,
        passwords,
        balanced,
        admin,
    } = ports;
    let socket = place.path("run/.s.PGSQL.6432");
    let socket = socket.display();
    // All of a suite comes from one network, and much of it fails on purpose.
    let failures = match audit.contains("[failures]") {
        true => "",
        false => "[failures]\nenabled = false",
    };
    // A suite looks for the line of each attempt.
    let budget = match audit.contains("pre_proof_bytes_per_second") {
        true => "",
        false => "pre_proof_bytes_per_second = \"16MiB\"",
    };
    format!(
        r#"
[server]
cores = 2
pin = false
policy = "policy"
secret_file = "gate.secret"
{server}

[[listener]]
name = "certificates"
address = "127.0.0.1:{certificates}"
tls = "require"
certificate = "{certificate}"
key = "{key}"

[[listener]]
name = "passwords"
address = "127.0.0.1:{passwords}"
tls = "allow"
certificate = "{certificate}"
key = "{key}"

[[listener]]
name = "balanced"
address = "127.0.0.1:{balanced}"
tls = "off"
proxy_protocol = true
trusted = ["127.0.0.0/8"]

[[listener]]
name = "local"
address = "unix:{socket}"

[audit]
file = "audit.jsonl"
{budget}
{audit}

[admin]
address = "127.0.0.1:{admin}"

{failures}
"#
    )
}
