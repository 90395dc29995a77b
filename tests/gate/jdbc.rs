//! PostgreSQL's JDBC driver through the gate: by password in clear and over TLS, by certificate with its key as PKCS#8.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::support::clients::{ConnectionString, Said, java};
use crate::support::gate::Gate;
use crate::support::place::unique;
use crate::support::record::at;
use crate::support::servers::Server;

const EXPECTED: &str = "sum 380\nnamed 1\ncopied 10000 true\ncanceled 57014\nfailed 23505";

#[test]
fn by_password_in_clear_and_over_tls() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        for connection in [gate.plain("alice"), gate.tls("alice")] {
            assert_eq!(work(&connection.and_password()).well(), EXPECTED);
        }
    }
}

#[test]
fn by_certificate() {
    for server in Server::both() {
        let gate = Gate::before(server.database());
        let card = &gate.policy.cards.billing;
        let key = PrivateKeyDer::from_pem_file(&card.key).expect("a key");
        assert!(matches!(key, PrivateKeyDer::Pkcs8(_)), "what the driver reads");
        let file = gate.place.write_secret("billing.pk8", key.secret_der());
        let connection = gate.by_card("billing", card).with("sslkey", file.display());
        assert_eq!(work(&connection).well(), EXPECTED);
        let attempt = gate.record.attempt_with("identity", "svc:billing");
        assert_eq!(at(&attempt, "outcome"), "permitted", "{attempt}");
    }
}

/// The driver looks at the gate's certificate, else the tests above would show less than they say.
#[test]
fn the_gates_certificate_counts() {
    let gate = Gate::before(Server::of_version(15).database());
    let other = gate.place.write("other-ca.pem", gate.policy.corp.pem());
    let connection = gate.tls("alice").and_password().with("sslrootcert", other.display());
    let complaint = work(&connection).ill();
    assert!(complaint.contains("SSL error"), "{complaint}");
}

fn work(connection: &ConnectionString) -> Said {
    java(
        &url(connection),
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gate/Jdbc.java"),
    )
}

/// The driver's form of a connection string. It has the names of libpq for all that the tests set.
pub fn url(connection: &ConnectionString) -> String {
    let mut url = format!(
        "jdbc:postgresql://127.0.0.1:{}/{}?ApplicationName={}",
        connection.get("port"),
        connection.get("dbname"),
        unique()
    );
    for key in ["user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey"] {
        let value = connection.get(key);
        if !value.is_empty() {
            url.push_str(&format!("&{key}={value}"));
        }
    }
    url
}
