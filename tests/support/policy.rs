//! The policy of the tests: a few identities that are known by certificate or password, one cluster, and one file for
//! each grant, dropped in and taken out as an operator would.

use std::path::{Path, PathBuf};

use postern::identity::scram::verifier;

use super::authority::{Authority, Card};
use super::place::Place;
use super::servers::{Database, MARKER};

pub const REVOKED_SERIAL: u8 = 66;

/// Everybody's certificates.
pub struct Cards {
    /// `svc:billing`.
    pub billing: Card,
    /// Of the right authority; nobody's.
    pub nobody: Card,
    /// `svc:billing` as another authority says.
    pub impostor: Card,
    /// `svc:revoked`.
    pub revoked: Card,
}

pub struct Policy {
    pub directory: PathBuf,
    pub cards: Cards,
    pub corp: Authority,
}

/// A password that only the test's `alice` and `bob` have.
pub fn password_of(name: &str) -> String {
    format!("{name}-{MARKER}")
}

impl Policy {
    pub fn new(place: &Place, database: &Database) -> Self {
        let corp = Authority::new("corp clients");
        let foreign = Authority::new("foreign clients");
        let cards = Cards {
            billing: corp.client(place, "billing", "spiffe://corp/billing", 1),
            nobody: corp.client(place, "nobody", "spiffe://corp/nobody", 2),
            impostor: foreign.client(place, "impostor", "spiffe://corp/billing", 3),
            revoked: corp.client(place, "revoked", "spiffe://corp/revoked", REVOKED_SERIAL),
        };
        place.write("pki/corp.pem", corp.pem());
        place.write("pki/corp.crl", corp.crl(1, &[REVOKED_SERIAL]));
        place.write_secret("secrets/role", &database.password);
        let policy = Self {
            directory: place.path("policy"),
            cards,
            corp,
        };
        std::fs::create_dir(&policy.directory).expect("the policy's directory");
        policy.drop_in("base", &base(place, database));
        policy.drop_in(
            "grant",
            &grant("everybody", &["svc:billing", "alice", "svc:revoked"], database, ""),
        );
        policy
    }

    /// Puts a file in by rename, as a whole.
    pub fn drop_in(&self, name: &str, text: &str) {
        let hidden = self.directory.join(format!(".{name}.new"));
        std::fs::write(&hidden, text).expect("a file is written");
        std::fs::rename(&hidden, self.file(name)).expect("it is put in place");
    }

    pub fn take_out(&self, name: &str) {
        std::fs::remove_file(self.file(name)).expect("the file was there");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.toml"))
    }
}

/// A grant of the test's database as its role; `more` are further keys.
pub fn grant(name: &str, identities: &[&str], database: &Database, more: &str) -> String {
    let Database { name: role, .. } = database;
    format!(
        "[grant.{name}]\nidentities = {identities:?}\ndatabases = [\"{role}\"]\ncluster = \"main\"\nrole = \"{role}\"\n{more}\n"
    )
}

fn base(place: &Place, database: &Database) -> String {
    let path = |name: &str| shown(&place.path(name));
    let verifier = |name: &str| {
        let salt: [u8; 16] = std::array::from_fn(|index| index as u8 ^ name.as_bytes()[0]);
        verifier::format(&verifier::make(password_of(name).as_bytes(), &salt, 4096))
    };
    format!(
        r#"
[provider.corp]
kind = "certificates"
roots = [{roots}]
crls = [{crls}]
trust_domains = ["corp"]

[identity."svc:billing"]
keys = [{{ provider = "corp", spiffe = "spiffe://corp/billing" }}]
aliases = ["billing"]

[identity."svc:revoked"]
keys = [{{ provider = "corp", spiffe = "spiffe://corp/revoked" }}]
aliases = ["revoked"]

[identity.alice]
scram = "{alice}"

# Known, and granted nothing until a test drops something in.
[identity.bob]
scram = "{bob}"

[cluster.main]
endpoints = ["127.0.0.1:{port}"]
roots = [{ca}]

[cluster.main.role.{role}]
password_file = {secret}

[[authentication]]
name = "services"
listeners = ["certificates"]
transport = "tls"
method = "certificate"

[[authentication]]
name = "people"
listeners = ["passwords", "local", "balanced"]
method = "scram-sha-256"
"#,
        roots = path("pki/corp.pem"),
        crls = path("pki/corp.crl"),
        alice = verifier("alice"),
        bob = verifier("bob"),
        port = database.server.port,
        ca = shown(&database.server.ca),
        role = database.name,
        secret = path("secrets/role"),
    )
}

/// As a TOML string.
fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
