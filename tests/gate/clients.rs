//! Clients and what they do all day, through the gate, plain and over TLS, against both PostgreSQL versions.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::support::clients::{ConnectionString, node, pgbench, psql, psql_script, python};
use crate::support::gate::Gate;
use crate::support::policy::password_of;
use crate::support::servers::Server;

/// Runs a check plain and over TLS against each server.
fn everywhere(check: impl Fn(&Gate, &ConnectionString)) {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        check(&gate, &gate.plain("alice").and_password());
        check(&gate, &gate.tls("alice").and_password());
    }
}

#[test]
fn pgbench_in_each_protocol_mode() {
    everywhere(|gate, connection| {
        pgbench(connection, &["-i", "-q", "-s", "1"]).well();
        for mode in ["simple", "extended", "prepared"] {
            let common = ["-n", "-M", mode, "-c", "4", "-j", "2"];
            pgbench(connection, &[&common[..], &["-S", "-t", "200"]].concat()).well();
            pgbench(connection, &[&common[..], &["-t", "50"]].concat()).well();
        }
        pgbench(connection, &["-n", "-S", "-C", "-c", "4", "-t", "10"]).well();
        assert_eq!(gate.database.sql("select count(*) from pgbench_history"), "600");
        gate.database
            .sql("drop table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    });
}

/// 50 MB out through psql's \copy and in again; the checksum is the server's.
#[test]
fn copy_both_ways() {
    everywhere(|gate, connection| {
        let file = gate.place.path("copied");
        let file = file.display();
        let checksum = |table: &str| format!("select count(*), sum(hashtextextended(t, 0)) from {table};\n");
        let script = format!(
            "create table a as select repeat(md5(i::text), 32) as t from generate_series(1, 50000) i;\n\
             create table b (t text);\n\\copy a to '{file}'\n\\copy b from '{file}'\n{}{}drop table a, b;\n",
            checksum("a"),
            checksum("b"),
        );
        let said = psql_script(connection, &script).well();
        let mut lines = said.lines();
        let (out, back) = (lines.next(), lines.next());
        assert!(out.is_some_and(|line| line.starts_with("50000|")), "{said}");
        assert_eq!(out, back);
    });
}

#[test]
fn listen_and_notify() {
    everywhere(|_gate, connection| {
        let said = psql_script(connection, "listen news;\nnotify news, 'it rains';\nselect 1;\n").well();
        assert!(
            said.contains("Asynchronous notification \"news\" with payload \"it rains\""),
            "{said}"
        );
    });
}

#[test]
fn large_objects() {
    everywhere(|gate, connection| {
        let content: Vec<u8> = (0..3_000_000_u32).map(|index| (index * 7 % 251) as u8).collect();
        let original = gate.place.write("object", &content);
        let copy = gate.place.path("object-again");
        let script = format!(
            "\\lo_import '{}'\n\\lo_export :LASTOID '{}'\n\\lo_unlink :LASTOID\n",
            original.display(),
            copy.display()
        );
        psql_script(connection, &script).well();
        assert!(std::fs::read(copy).expect("the copy") == content);
    });
}

/// `\d` of psql and a few statements whose errors must come through as PostgreSQL words them.
#[test]
fn errors_of_the_server_arrive_word_for_word() {
    let server = Server::of_version(18);
    let gate = Gate::before(server.database());
    let direct = ConnectionString::default()
        .with("host", "127.0.0.1")
        .with("port", server.port)
        .with("dbname", &gate.database.name)
        .with("user", &gate.database.name)
        .with("password", &gate.database.password);
    for sql in [
        "select",
        "select 1/0",
        "selec 1",
        "select * from missing",
        "do $$ begin raise notice 'n'; raise 'x'; end $$",
    ] {
        let through = psql(&gate.plain("alice").and_password(), sql);
        let straight = psql(&direct, sql);
        assert_eq!((through.out, through.err), (straight.out, straight.err), "{sql}");
    }
}

#[test]
fn psycopg_pipelines_and_waits_asynchronously() {
    everywhere(|_gate, connection| {
        assert_eq!(python(connection, PIPELINE).well(), "500 124750");
        assert_eq!(python(connection, ASYNCHRONOUS).well(), "45");
    });
}

const PIPELINE: &str = r#"
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection, connection.pipeline():
    cursors = [connection.execute("select %s::int", [i]) for i in range(500)]
    values = [cursor.fetchone()[0] for cursor in cursors]
    print(len(values), sum(values))
"#;

const ASYNCHRONOUS: &str = r#"
import asyncio, sys, psycopg
async def one(i):
    async with await psycopg.AsyncConnection.connect(sys.argv[1]) as connection:
        cursor = await connection.execute("select %s::int, pg_sleep(0.05)", [i])
        return (await cursor.fetchone())[0]
async def main():
    print(sum(await asyncio.gather(*[one(i) for i in range(10)])))
asyncio.run(main())
"#;

/// libpq 18: protocol 3.2, TLS from the first byte, channel binding that may not be left out.
#[test]
fn libpq_18_with_all_it_has() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let base = gate.tls("alice").and_password();
        for connection in [
            base.clone()
                .with("min_protocol_version", "3.0")
                .with("max_protocol_version", "3.2"),
            base.clone().with("channel_binding", "require"),
            base.clone()
                .with("sslnegotiation", "direct")
                .with("channel_binding", "require"),
            base.clone()
                .with("ssl_max_protocol_version", "TLSv1.2")
                .with("channel_binding", "require"),
            base.clone().with("require_auth", "scram-sha-256"),
        ] {
            assert_eq!(
                python(
                    &connection,
                    "import sys, psycopg\nprint(psycopg.connect(sys.argv[1]).execute('select 1').fetchone()[0])"
                )
                .well(),
                "1",
                "{connection}"
            );
        }
        let attempt = gate.record.attempt_with("tls.direct", "true");
        assert_eq!(attempt["proofs"][0], "scram_sha_256_plus");
    }
}

#[tokio::test]
async fn tokio_postgres() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let connection = gate.plain("alice").and_password().to_string();
        let (client, driver) = tokio_postgres::connect(&connection, tokio_postgres::NoTls)
            .await
            .expect("let in");
        add_numbers(client, driver).await;

        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(gate.ports.passwords)
            .user("alice")
            .password(password_of("alice"))
            .dbname(&gate.database.name)
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .channel_binding(tokio_postgres::config::ChannelBinding::Require);
        let tls = MakeRustlsConnect::new(trusting(&gate));
        let (client, driver) = config.connect(tls).await.expect("let in over TLS");
        add_numbers(client, driver).await;
        let attempt = gate.record.attempt_with("tls.version", "1.3");
        assert_eq!(attempt["proofs"][0], "scram_sha_256_plus");
    }
}

pub async fn add_numbers<S, T>(client: tokio_postgres::Client, driver: tokio_postgres::Connection<S, T>)
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    let driver = tokio::spawn(driver);
    let statement = client.prepare("select $1::int + 1").await.expect("prepared");
    for number in 0..100_i32 {
        let row = client.query_one(&statement, &[&number]).await.expect("a row");
        assert_eq!(row.get::<_, i32>(0), number + 1);
    }
    drop(client);
    driver.await.expect("it ends").expect("well");
}

/// A client that trusts who has signed the gate's certificate, and nobody else.
pub fn trusting(gate: &Gate) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_file(&gate.ca).expect("PEM");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[test]
fn node_pg() {
    everywhere(|gate, connection| {
        let ca = gate.ca.display().to_string();
        let tls = connection.get("sslmode") == "verify-full";
        let arguments = [
            connection.get("port"),
            connection.get("dbname"),
            connection.get("user"),
            connection.get("password"),
            if tls { ca.as_str() } else { "" },
        ];
        assert_eq!(node(&arguments, NODE).well(), "42 x");
    });
}

pub const NODE: &str = r#"
const [port, database, user, password, ca] = process.argv.slice(1);
const ssl = ca ? { ca: require("fs").readFileSync(ca), servername: "localhost" } : false;
const { Client } = require("pg");
(async () => {
    const client = new Client({ host: "127.0.0.1", port, database, user, password, ssl });
    await client.connect();
    const { rows } = await client.query("select $1::int as a, $2::text as b", [42, "x"]);
    console.log(rows[0].a, rows[0].b);
    await client.end();
})().catch((error) => { console.error(error); process.exit(1); });
"#;
