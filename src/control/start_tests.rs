use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::super::directory;
use super::super::load::Secrets;
use super::super::messages::Request;
use super::super::scratch::{Scratch, recorder};
use super::*;
use crate::audit::{Ticket, Writer};
use crate::metrics::{ReloadResult, WorkResult};

const BASE: &str = r#"
[identity.alice]
scram = "SCRAM-SHA-256$4096:AQEBAQEBAQEBAQEBAQEBAQ==$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="

[cluster.main]
endpoints = ["db.test:5432", "127.0.0.1:5433"]
tls = "disable"

[cluster.main.role.app]
password_file = "../secrets/app"

[[authentication]]
name = "people"
method = "scram-sha-256"
"#;

const GRANT: &str = r#"
[grant.orders]
identities = ["alice"]
databases = ["orders"]
cluster = "main"
role = "app"
"#;

struct House {
    dir: Scratch,
    control: Option<Control>,
    metrics: Arc<Metrics>,
    notices: Receiver<Notice>,
    writer: Option<Writer>,
}

/// Directories of a gate: policy, secrets, certificates.
fn laid_out() -> Scratch {
    let dir = Scratch::new();
    for name in ["policy", "secrets", "tls"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    dir.write("policy/base.toml", BASE);
    dir.write_mode("secrets/app", "one\n", 0o600);
    write_certificate(&dir);
    dir
}

fn write_certificate(dir: &Scratch) {
    let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()]).unwrap();
    dir.write_mode("tls/key.pem", made.signing_key.serialize_pem(), 0o600);
    dir.write("tls/cert.pem", made.cert.pem());
}

fn config(root: &Path) -> Config {
    let text = r#"
[server]
policy = "policy"
secret_file = "gate.secret"
[[listener]]
name = "clients"
address = "127.0.0.1:6432"
certificate = "tls/cert.pem"
key = "tls/key.pem"
[audit]
file = "record.jsonl"
"#;
    crate::config::parse("postern.toml", text, root).unwrap_or_else(|faults| panic!("{faults}"))
}

fn start_in(dir: Scratch) -> (Result<Control, StartFault>, House) {
    let writer = recorder(&dir);
    let metrics = Arc::new(Metrics::new(1));
    let (sender, notices) = channel();
    let setup = Setup {
        config: config(dir.path()),
        cores: Cores::new(
            1,
            Box::new(move |_, notice| sender.send(notice).map_err(|error| error.0)),
        ),
        recorder: writer.recorder(),
        metrics: metrics.clone(),
    };
    let lookup: Lookup = Box::new(|host| match host {
        "db.test" => Ok(vec!["192.0.2.1".parse().unwrap()]),
        _ => Err(io::Error::other("no such host")),
    });
    let control = Control::start_with(setup, lookup);
    (
        control,
        House {
            dir,
            control: None,
            metrics,
            notices,
            writer: Some(writer),
        },
    )
}

fn house() -> House {
    let (control, house) = start_in(laid_out());
    House {
        control: Some(control.unwrap_or_else(|fault| panic!("{fault}"))),
        ..house
    }
}

impl House {
    fn control(&self) -> &Control {
        self.control.as_ref().unwrap()
    }

    fn generation(&self) -> u64 {
        self.control().published.policy.load().snapshot.generation()
    }

    fn grants(&self) -> Vec<String> {
        let policy = self.control().published.policy.load();
        policy.snapshot.grants().map(|grant| grant.name().to_owned()).collect()
    }

    fn password(&self) -> Option<Vec<u8>> {
        let credentials = self.control().published.credentials.load();
        let found = credentials.find("main", "app").ok()?;
        found.password().map(|password| password.expose().to_vec())
    }

    fn reloads(&self, result: ReloadResult) -> u64 {
        self.metrics.control.policy_reloads.get(result)
    }

    /// The events of the record, in order, after everything was written.
    fn record(mut self) -> String {
        self.control = None;
        self.writer.take().unwrap().finish().unwrap();
        fs::read_to_string(self.dir.path().join("record.jsonl")).unwrap()
    }
}

/// Waits for something that another thread does; far longer than it may take.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn starts_with_policy_credentials_addresses_and_certificates() {
    let house = house();
    let published = &house.control().published;
    assert_eq!(house.generation(), 1);
    assert_eq!(house.password().unwrap(), b"one");
    assert_eq!(
        published.addresses.load().of("db.test"),
        ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(published.addresses.load().of("127.0.0.1").len(), 1);
    assert!(published.listeners[0].load().is_some());
    let record = house.record();
    assert!(record.contains("\"policy.loaded\""), "{record}");
}

#[test]
fn a_file_renamed_into_the_directory_is_in_force_within_a_second() {
    let house = house();
    let start = Instant::now();
    house.dir.replace("policy/orders.toml", GRANT);
    eventually("the grant is in force", || house.grants() == ["orders"]);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(house.generation(), 2);
    assert!(matches!(
        house.notices.recv_timeout(Duration::from_secs(5)),
        Ok(Notice::PolicyChanged)
    ));
    fs::remove_file(house.dir.path().join("policy/orders.toml")).unwrap();
    eventually("the grant is gone", || house.grants().is_empty());
    assert_eq!(house.generation(), 3);
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let house = house();
    house.dir.replace(
        "policy/orders.toml",
        GRANT.replace("role = \"app\"", "role = \"nobody\""),
    );
    eventually("the bad policy is rejected", || {
        house.reloads(ReloadResult::Rejected) > 0
    });
    assert_eq!((house.generation(), house.grants().len()), (1, 0));
    house.dir.replace("policy/orders.toml", GRANT);
    eventually("the good one is taken", || house.generation() == 2);
    let record = house.record();
    let rejected = record
        .lines()
        .find(|line| line.contains("\"policy.rejected\""))
        .unwrap();
    assert!(
        rejected.contains("orders.toml") && rejected.contains("nobody"),
        "{rejected}"
    );
}

#[test]
fn a_kubernetes_volume_is_swapped_as_a_whole() {
    let dir = laid_out();
    let policy = dir.path().join("policy");
    fs::remove_file(policy.join("base.toml")).unwrap();
    for (version, grant) in [("..1", ""), ("..2", GRANT)] {
        fs::create_dir(policy.join(version)).unwrap();
        dir.write(&format!("policy/{version}/base.toml"), format!("{BASE}{grant}"));
    }
    symlink("..1", policy.join("..data")).unwrap();
    symlink("..data/base.toml", policy.join("base.toml")).unwrap();
    let (control, house) = start_in(dir);
    let house = House {
        control: Some(control.unwrap_or_else(|fault| panic!("{fault}"))),
        ..house
    };
    assert!(house.grants().is_empty());
    symlink("..2", policy.join("..data.new")).unwrap();
    fs::rename(policy.join("..data.new"), policy.join("..data")).unwrap();
    eventually("the other version is in force", || house.grants() == ["orders"]);
}

#[test]
fn a_snapshot_stands_for_the_whole_policy() {
    let house = house();
    let other = Scratch::new();
    other.write("all.toml", format!("{BASE}{GRANT}"));
    let model = load::model(other.path(), Secrets::Later).unwrap();
    let bytes = postern_policy::compile::compile(&model).unwrap();
    house.dir.replace("policy/all.snapshot", &bytes);
    eventually("beside text it is a fault", || {
        house.reloads(ReloadResult::Rejected) > 0
    });
    fs::remove_file(house.dir.path().join("policy/base.toml")).unwrap();
    eventually("alone it is the policy", || house.grants() == ["orders"]);
    fs::OpenOptions::new()
        .write(true)
        .open(house.dir.path().join("policy/all.snapshot"))
        .unwrap()
        .set_len(100)
        .unwrap();
    let rejected = house.reloads(ReloadResult::Rejected);
    eventually("cut short it is a fault", || {
        house.reloads(ReloadResult::Rejected) > rejected
    });
    assert_eq!(house.grants(), ["orders"], "what was read before is untouched");
    fs::remove_file(house.dir.path().join("policy/all.snapshot")).unwrap();
    let rejected = house.reloads(ReloadResult::Rejected);
    eventually("an empty directory is a fault", || {
        house.reloads(ReloadResult::Rejected) > rejected
    });
    assert_eq!(house.grants(), ["orders"]);
}

#[test]
fn a_rotated_password_is_taken_without_a_new_policy() {
    let house = house();
    let before = house.control().published.policy.load_full();
    house.dir.write_mode("secrets/.app.new", "two\n", 0o600);
    fs::rename(
        house.dir.path().join("secrets/.app.new"),
        house.dir.path().join("secrets/app"),
    )
    .unwrap();
    eventually("the new password is read", || {
        house.password().is_some_and(|password| password == b"two")
    });
    assert!(Arc::ptr_eq(&before, &house.control().published.policy.load_full()));
    fs::remove_file(house.dir.path().join("secrets/app")).unwrap();
    eventually("the role is unusable", || {
        house.metrics.control.roles_unusable.get() == 1
    });
    assert!(house.password().is_none());
}

#[test]
fn a_listener_certificate_is_replaced_and_a_bad_one_is_not() {
    let house = house();
    let slot = house.control().published.listeners[0].clone();
    let before = slot.load_full().unwrap();
    write_certificate(&house.dir);
    eventually("the new certificate is used", || {
        slot.load_full().unwrap().leaf() != before.leaf()
    });
    let good = slot.load_full().unwrap();
    house.dir.replace("tls/cert.pem", "garbage");
    eventually("the bad one is refused", || {
        house.metrics.control.tls_reloads.get(ReloadResult::Rejected) > 0
    });
    assert!(Arc::ptr_eq(&good, &slot.load_full().unwrap()));
    let record = house.record();
    assert!(record.contains("certificate file holds no PEM certificate"), "{record}");
}

#[test]
fn an_old_policy_is_freed_by_control_once_nobody_reads_it() {
    let house = house();
    let old = house.control().published.policy.load_full();
    house.dir.replace("policy/orders.toml", GRANT);
    eventually("the grant is in force", || house.generation() == 2);
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(house.metrics.control.policies_retired.get(), 1, "a core still reads it");
    let weak = Arc::downgrade(&old);
    assert!(
        Arc::strong_count(&old) > 1,
        "control holds it as well, so no core frees it"
    );
    drop(old);
    eventually("control frees it", || weak.upgrade().is_none());
    eventually("and says so", || house.metrics.control.policies_retired.get() == 0);
}

#[test]
fn cores_get_derived_keys_and_current_credentials() {
    let house = house();
    let credential = house
        .control()
        .published
        .credentials
        .load()
        .find("main", "app")
        .ok()
        .unwrap()
        .clone();
    let ticket = |session| Ticket { core: 0, session };
    for session in 0..100 {
        let request = Request::DeriveClientKeys {
            credential: credential.clone(),
            salt: Box::from(*b"salt"),
            iterations: 4096,
            ticket: ticket(session),
        };
        house.control().requests.ask(request).unwrap();
    }
    let mut told = 0;
    while told < 100 {
        match house.notices.recv_timeout(Duration::from_secs(10)).unwrap() {
            Notice::ClientKeys { keys: Ok(_), .. } => told += 1,
            _ => panic!("keys expected"),
        }
    }
    assert_eq!(house.metrics.control.keys_derived.get(WorkResult::Ok), 1);
    let reread = |refused| Request::ReadCredential {
        cluster: "main".into(),
        role: "app".into(),
        refused,
        ticket: ticket(7),
    };
    house.control().requests.ask(reread(credential.version())).ok().unwrap();
    let answer = house.notices.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(answer, Notice::CredentialRead { changed: false, .. }));
    house.dir.write_mode("secrets/app", "two", 0o600);
    eventually("the new password is read", || {
        house.password().is_some_and(|password| password == b"two")
    });
    house.control().requests.ask(reread(credential.version())).ok().unwrap();
    let answer = house.notices.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(answer, Notice::CredentialRead { changed: true, .. }));
}

#[test]
fn a_forced_reload_reads_everything_again() {
    let house = house();
    house.control().reload();
    eventually("nothing had changed", || house.reloads(ReloadResult::Unchanged) == 1);
    assert_eq!(house.generation(), 1);
}

#[test]
fn a_bad_policy_at_start_is_refused_and_recorded() {
    let dir = laid_out();
    dir.write("policy/orders.toml", "nonsense = true");
    let (control, house) = start_in(dir);
    let Err(StartFault::Policy(faults)) = control else {
        panic!("refused expected")
    };
    assert!(faults.to_string().contains("orders.toml:1:1"), "{faults}");
    let record = house.record();
    assert!(record.contains("\"policy.rejected\""), "{record}");
}

#[test]
fn a_bad_certificate_at_start_is_refused() {
    let dir = laid_out();
    dir.write("tls/cert.pem", "garbage");
    let (control, _house) = start_in(dir);
    assert!(matches!(control, Err(StartFault::Listeners(_))));
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let dir = laid_out();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(dir.path().join("policy"), mode).unwrap();
    assert!(matches!(
        directory::read(&dir.path().join("policy")),
        Err(directory::DirectoryFault::Writable { .. })
    ));
    let (control, _house) = start_in(dir);
    let Err(StartFault::Policy(faults)) = control else {
        panic!("refused expected")
    };
    assert!(faults.to_string().contains("chmod go-w"), "{faults}");
}
