//! Errors arrive as PostgreSQL words them: every statement and every login of the tables below fails once through the
//! gate and once straight at the server. Where the gate differs is a closed list, told in docs/protocol.md too.

use postern::identity::scram::verifier;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::support::gate::Gate;
use crate::support::policy::{grant, password_of};
use crate::support::servers::{Database, Server};
use crate::support::stranger::{Stranger, field, framed, startup};

/// Severity, SQLSTATE, message, detail, hint.
type Complaint = [String; 5];

const STATEMENTS: &[&str] = &[
    "selec 1",
    "select 1/0",
    "select * from missing",
    "select missing",
    "select missing(1)",
    "select 'x'::int",
    "select 2147483647 + 1",
    "select e'\\xff'",
    "insert into one values (1)",
    "insert into one values (null)",
    "insert into one values (-1)",
    "insert into two values (7)",
    "begin; selec 1",
    "begin; savepoint a; rollback to b",
    "set statement_timeout = '10ms'; select pg_sleep(10)",
    "set lock_timeout = 'x'",
    "set nonsense.too = on; show missing",
    "copy one from '/nonexistent'",
    "create role another",
    "create database another",
    "do $$ begin raise 'said' using detail = 'the detail', hint = 'the hint', errcode = 'ZZ001'; end $$",
    "select pg_terminate_backend(pg_backend_pid())",
    "select pg_cancel_backend(pg_backend_pid()), pg_sleep(10)",
];

#[tokio::test]
async fn of_statements() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let [through, straight] = ways(&gate);
        run(
            &straight,
            "create table one (number int primary key check (number > 0)); insert into one values (1)",
        )
        .await
        .expect("a table");
        run(&straight, "create table two (number int references one)")
            .await
            .expect("another");
        for sql in STATEMENTS {
            let expected = run(&straight, sql).await.expect_err(sql);
            assert_eq!(run(&through, sql).await.expect_err(sql), expected, "{sql}");
        }
    }
}

/// A login that fails: what is changed first as superuser and how it is put back (`{}` is the database and its role), and
/// what the client says.
struct Login {
    name: &'static str,
    first: &'static str,
    afterwards: &'static str,
    client: fn(&mut Config),
    /// Severity, SQLSTATE and message of the gate where they are its own, and why.
    exception: Option<([&'static str; 3], &'static str)>,
}

const LOGINS: &[Login] = &[
    Login {
        name: "wrong password",
        client: |config| {
            config.password("wrong");
        },
        ..SOUND
    },
    Login {
        name: "unknown user",
        client: |config| {
            config.user("nobody_at_all");
        },
        ..SOUND
    },
    Login {
        name: "unknown database",
        client: |config| {
            config.dbname("missing");
        },
        exception: Some((
            [
                "FATAL",
                "28000",
                "access to database \"missing\" is not granted to user \"{}\"",
            ],
            "every no of the policy is the same, so that nobody learns which databases there are",
        )),
        ..SOUND
    },
    Login {
        name: "unknown setting",
        client: |config| {
            config.options("-c nonsense=1");
        },
        ..SOUND
    },
    Login {
        name: "a setting with a bad value",
        client: |config| {
            config.options("-c work_mem=x");
        },
        ..SOUND
    },
    Login {
        name: "a setting that needs a superuser",
        client: |config| {
            config.options("-c log_statement=all");
        },
        ..SOUND
    },
    Login {
        name: "connections of the role",
        first: "alter role {} connection limit 0",
        afterwards: "alter role {} connection limit -1",
        ..SOUND
    },
    Login {
        name: "connections of the database",
        first: "alter database {} connection limit 0",
        afterwards: "alter database {} connection limit -1",
        ..SOUND
    },
    Login {
        name: "a database that takes nobody",
        first: "alter database {} allow_connections false",
        afterwards: "alter database {} allow_connections true",
        ..SOUND
    },
    Login {
        name: "no right to connect",
        first: "revoke connect on database {0} from public, {0}",
        afterwards: "grant connect on database {0} to public, {0}",
        ..SOUND
    },
    Login {
        name: "a role that may not log in",
        first: "alter role {} nologin",
        afterwards: "alter role {} login",
        exception: Some((
            ["FATAL", "08004", "the server rejected the connection"],
            "the role is the gate's, not the client's: what the server says of it is for the record",
        )),
        ..SOUND
    },
];

const SOUND: Login = Login {
    name: "",
    first: "",
    afterwards: "",
    client: |_| (),
    exception: None,
};

#[tokio::test]
async fn of_logins() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        for login in LOGINS {
            failing(&gate, login).await;
        }
        for config in ways(&gate) {
            run(&config, "select 1").await.expect("all is put back");
        }
    }
}

async fn failing(gate: &Gate, login: &Login) {
    let of_this = |text: &str| {
        text.replace("{0}", &gate.database.name)
            .replace("{}", &gate.database.name)
    };
    let superuser = |sql: &str| sql.is_empty() || gate.database.server.sql("postgres", &of_this(sql)).is_empty();
    superuser(login.first);
    let [through, straight] = ways(gate).map(|mut config| {
        (login.client)(&mut config);
        config
    });
    let straight = run(&straight, "select 1").await.expect_err(login.name);
    let through = run(&through, "select 1").await.expect_err(login.name);
    superuser(login.afterwards);
    match login.exception {
        None => assert_eq!(through, straight, "{}", login.name),
        Some((own, why)) => {
            assert_eq!(through[..3], own.map(of_this), "{}: {why}", login.name);
            assert_ne!(through[..3], straight[..3], "{}: no exception any more", login.name);
        }
    }
}

/// The gate speaks 3.2 to clients whatever the server does, hence PostgreSQL 18 is the measure.
#[test]
fn of_bytes_before_the_proof() {
    let gate = Gate::before(Server::of_version(18).database());
    let name = gate.database.name.as_str();
    let good = startup(&[("user", name), ("database", name)]);
    let newer = of_version(&good, 0x0004_0000);
    let behind = framed(&[&good[4..], b"more\0"].concat());
    let message = |letter: u8, body: &[u8]| [&[letter][..], &framed(body)].concat();
    let sasl = |mechanism: &str, first: &[u8]| {
        let length = u32::try_from(first.len()).expect("short").to_be_bytes();
        message(b'p', &[mechanism.as_bytes(), b"\0", &length, first].concat())
    };
    for (case, bytes) in [
        ("protocol 4", newer),
        ("no user", startup(&[("database", name)])),
        ("bytes behind the terminator", behind),
        (
            "a query for a proof",
            [good.clone(), message(b'Q', b"select 1\0")].concat(),
        ),
        ("an unknown mechanism", [good.clone(), sasl("SCRAM-MD5", b"")].concat()),
        ("not SCRAM", [good.clone(), sasl("SCRAM-SHA-256", b"hello")].concat()),
        (
            "an authorization identity",
            [good.clone(), sasl("SCRAM-SHA-256", b"n,a=x,n=,r=abc")].concat(),
        ),
        (
            "an extension",
            [good.clone(), sasl("SCRAM-SHA-256", b"n,,m=x,n=,r=abc")].concat(),
        ),
        (
            "channel binding in clear",
            [good.clone(), sasl("SCRAM-SHA-256", b"p=tls-server-end-point,,n=,r=abc")].concat(),
        ),
    ] {
        let [through, straight] = [gate.ports.passwords, gate.database.server.port].map(|port| refusal(port, &bytes));
        assert_eq!(through, straight, "{case}");
    }
}

/// PostgreSQL answers the protocol of 2003 with a line of text, the gate with a message of protocol 3 that says the same.
#[test]
fn of_protocol_2() {
    let gate = Gate::before(Server::of_version(18).database());
    let old = of_version(&startup(&[("user", "alice")]), 0x0002_0000);
    let [_, _, message, ..] = refusal(gate.ports.passwords, &old);
    let mut stranger = Stranger::at(gate.database.server.port);
    stranger.say(&old);
    let straight = String::from_utf8(stranger.hear_to_the_end()).expect("text");
    assert_eq!(straight, format!("EFATAL:  {message}\n\0"));
}

fn of_version(startup: &[u8], version: u32) -> Vec<u8> {
    [&startup[..4], &version.to_be_bytes(), &startup[8..]].concat()
}

fn refusal(port: u16, bytes: &[u8]) -> Complaint {
    let mut stranger = Stranger::at(port);
    stranger.say(bytes);
    let answer = stranger.hear_to_the_end();
    // Behind the request for a proof, if there was one.
    let request = match answer.first() {
        Some(b'R') => 1 + u32::from_be_bytes(answer[1..5].try_into().expect("a length")) as usize,
        _ => 0,
    };
    [b'S', b'C', b'M', b'D', b'H'].map(|letter| field(&answer[request..], letter))
}

/// Through the gate and straight, as a user of the same name, so that messages with the name in them are comparable.
fn ways(gate: &Gate) -> [Config; 2] {
    let Database { name, password, server } = &gate.database;
    if gate.record.events("policy.loaded").len() < 2 {
        introduce_namesake(gate);
    }
    let login = |port: u16, password: &str| {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(port)
            .user(name)
            .dbname(name)
            .password(password);
        config
    };
    [
        login(gate.ports.passwords, &password_of(name)),
        login(server.port, password),
    ]
}

fn introduce_namesake(gate: &Gate) {
    let name = gate.database.name.as_str();
    let verifier = verifier::format(&verifier::make(password_of(name).as_bytes(), &[7; 16], 4096));
    let namesake = format!("[identity.{name}]\nscram = \"{verifier}\"\n");
    let introduced = namesake + &grant("namesake", &[name], &gate.database, "");
    gate.takes(|gate| gate.policy.drop_in("namesake", &introduced));
}

/// Each on a session of its own.
async fn run(config: &Config, sql: &str) -> Result<Vec<SimpleQueryMessage>, Complaint> {
    let (client, driver) = config.connect(NoTls).await.map_err(|error| complaint(&error))?;
    let driver = tokio::spawn(driver);
    let answer = client.simple_query(sql).await.map_err(|error| complaint(&error));
    drop(client);
    // After a FATAL it ends with the connection's error, which is no matter here.
    let _ended = driver.await.expect("no panic");
    answer
}

#[track_caller]
fn complaint(error: &tokio_postgres::Error) -> Complaint {
    let told = error
        .as_db_error()
        .unwrap_or_else(|| panic!("not of a server: {error}"));
    [
        told.severity(),
        told.code().code(),
        told.message(),
        told.detail().unwrap_or_default(),
        told.hint().unwrap_or_default(),
    ]
    .map(str::to_owned)
}
