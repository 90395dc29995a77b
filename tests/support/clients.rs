//! Real clients: psql, pgbench, and small programs in Python, for Node and in Java.

use std::fmt::Display;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use super::policy::password_of;

/// libpq's `key='value'` form.
#[derive(Debug, Clone, Default)]
pub struct ConnectionString(Vec<(&'static str, String)>);

impl ConnectionString {
    /// Sets a key, instead of what it was.
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        self.0.retain(|(name, _)| *name != key);
        self.0.push((key, value.to_string()));
        self
    }

    pub fn get(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value)
    }

    /// With the test password of the user.
    pub fn and_password(self) -> Self {
        let password = password_of(self.get("user"));
        self.with("password", password)
    }
}

impl Display for ConnectionString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(key, value)| write!(f, "{key}='{value}' "))
    }
}

/// What a client said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self {
            ok: output.status.success(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

impl Said {
    /// Its output; fails the test where the client did.
    #[track_caller]
    pub fn well(self) -> String {
        assert!(self.ok, "{}\n{}", self.out, self.err);
        self.out
    }

    /// What it complained of; fails the test where it did not.
    #[track_caller]
    pub fn ill(self) -> String {
        assert!(!self.ok, "should have failed: {}", self.out);
        self.err
    }
}

/// psql, plain output: fields by `|`, errors with their SQLSTATE.
pub fn psql(connection: &ConnectionString, sql: &str) -> Said {
    psql_script(connection, &format!("{sql}\n"))
}

/// psql with a script on its standard input; stops at the first error.
pub fn psql_script(connection: &ConnectionString, script: &str) -> Said {
    let mut child = spawn_psql(connection);
    let mut input = child.stdin.take().expect("a pipe");
    // Where it was turned away it reads nothing.
    let _broken_pipe = input.write_all(script.as_bytes());
    drop(input);
    child.wait_with_output().expect("psql ends").into()
}

pub fn spawn_psql(connection: &ConnectionString) -> Child {
    client("psql")
        .args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-v",
            "VERBOSITY=verbose",
            "-d",
        ])
        .arg(connection.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts")
}

pub fn pgbench(connection: &ConnectionString, arguments: &[&str]) -> Said {
    client("pgbench")
        .args(arguments)
        .arg(connection.to_string())
        .output()
        .expect("pgbench runs")
        .into()
}

/// A program with psycopg 3 at hand; the connection string is `sys.argv[1]`.
pub fn python(connection: &ConnectionString, program: &str) -> Said {
    let python = from_environment("POSTERN_TEST_PYTHON");
    client(&python)
        .args(["-c", program])
        .arg(connection.to_string())
        .output()
        .expect("python runs")
        .into()
}

/// libpq 18 with a token at hand; `options` come before the connection string.
pub fn oauthbearer(options: &[&str], connection: &ConnectionString, token: &str) -> Said {
    let python = from_environment("POSTERN_TEST_PYTHON");
    client(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/oauthbearer.py"))
        .args(options)
        .arg(connection.to_string())
        .arg(token)
        .output()
        .expect("python runs")
        .into()
}

/// A program with `pg` at hand; `process.argv[1]` is the first of `arguments`.
pub fn node(arguments: &[&str], program: &str) -> Said {
    let modules = from_environment("POSTERN_TEST_NODE_MODULES");
    client("node")
        .env("NODE_PATH", modules)
        .args(["-e", program, "--"])
        .args(arguments)
        .output()
        .expect("node runs")
        .into()
}

/// A Java program in one file with the JDBC driver at hand; `url` is its argument.
pub fn java(url: &str, file: &str) -> Said {
    client("java")
        .args([
            "-XX:TieredStopAtLevel=1",
            "-cp",
            "/usr/share/java/postgresql.jar",
            file,
            url,
        ])
        .output()
        .expect("java runs")
        .into()
}

fn from_environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

/// Nothing of the caller's own settings reaches a client.
fn client(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
        command.env_remove(name);
    }
    // libpq would find certificates in a home.
    command
        .env("HOME", "/nonexistent")
        .env("PGPASSFILE", "/nonexistent")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
