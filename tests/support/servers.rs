//! The PostgreSQL servers that `scripts/test` has started, and a database with roles of a test's own on one of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use super::place::unique;

/// What every demonstration password ends in: none of them may show up in a log or a record.
pub const MARKER: &str = "mArKeRpAsSwOrD";

#[derive(Debug, Clone)]
pub struct Server {
    pub port: u16,
    pub ca: PathBuf,
    superuser: String,
    password: String,
}

impl Server {
    pub fn of_version(version: u32) -> Self {
        let name = format!("POSTERN_TEST_PG{version}");
        let text = std::env::var(&name)
            .unwrap_or_else(|_| panic!("{name} is not set: these tests need PostgreSQL, run scripts/test"));
        Self::told_by(&text)
    }

    /// `text` is what `scripts/postgres start` prints.
    pub fn told_by(text: &str) -> Self {
        let values: BTreeMap<&str, &str> = text
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .collect();
        Self {
            port: values["port"].parse().expect("a port"),
            ca: values["ca"].into(),
            superuser: values["superuser"].to_owned(),
            password: values["password"].to_owned(),
        }
    }

    pub fn both() -> [Self; 2] {
        [Self::of_version(15), Self::of_version(18)]
    }

    /// Runs SQL as superuser, straight at the server, and gives the rows, fields separated by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.direct(database))
            .output()
            .expect("psql runs");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A connection string that goes past the gate.
    pub fn direct(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} dbname={database} user={} password={}",
            self.port, self.superuser, self.password
        )
    }

    pub fn database(&self) -> Database {
        Database::new(self)
    }
}

/// A database with one role that owns it; both are dropped in the end.
pub struct Database {
    pub server: Server,
    /// Of the database and of the role.
    pub name: String,
    pub password: String,
}

impl Database {
    fn new(server: &Server) -> Self {
        let database = Self {
            server: server.clone(),
            name: format!("t_{}", unique()),
            password: format!("upstream-{MARKER}"),
        };
        let Self { name, password, .. } = &database;
        server.sql("postgres", &format!("create role {name} login password '{password}'"));
        server.sql("postgres", &format!("create database {name} owner {name}"));
        database
    }

    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }

    /// Server processes of the role: one for each session that the gate has open.
    pub fn sessions(&self) -> u32 {
        let sql = format!("select count(*) from pg_stat_activity where usename = '{}'", self.name);
        self.server.sql("postgres", &sql).parse().expect("a count")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let name = &self.name;
            self.server
                .sql("postgres", &format!("drop database {name} with (force)"));
            self.server.sql("postgres", &format!("drop role {name}"));
        }
    }
}
