//! The link against OpenSSL's own command, over sockets of this machine: `s_client` at our listener's end and
//! `s_server` at our upstream end.

mod tls_talk;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use postern::secret::Secret;
use postern::tls::{
    Alert, ClientCertificate, Handshake, ListenerOptions, ListenerTls, ServerCertificateFault, TlsError, UpstreamTls,
    Version,
};
use postern_policy::model::{ServerTls, ServerTlsMode};
use tls_talk::openssl::{Identity, Scratch, Server, openssl};
use tls_talk::{Talk, connect};

const SUITES: [[&str; 4]; 6] = [
    [
        "-tls1_3",
        "-ciphersuites",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
    ],
    [
        "-tls1_3",
        "-ciphersuites",
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
    ],
    [
        "-tls1_3",
        "-ciphersuites",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ],
    [
        "-tls1_2",
        "-cipher",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ],
    [
        "-tls1_2",
        "-cipher",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ],
    [
        "-tls1_2",
        "-cipher",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ],
];

fn listener_tls(identity: &Identity) -> Arc<ListenerTls> {
    let (chain, key) = (identity.certificate_pem(), identity.key_pem());
    Arc::new(ListenerTls::new(&chain, &key, &ListenerOptions::default()).unwrap())
}

/// `s_client` towards our listener, which is asked to talk in `serve`. What it said on standard output comes back.
fn s_client(tls: &Arc<ListenerTls>, arguments: &[&str], serve: impl FnOnce(Talk, &mut dyn Write)) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut client = openssl()
        .args(["s_client", "-connect", &address])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).map(|_| text)
    });
    let (stream, _) = socket.accept().unwrap();
    let talk = Talk::establish(stream, Handshake::server(tls, true).unwrap(), Vec::new()).unwrap();
    serve(talk, &mut stdin);
    drop(stdin);
    let text = said.join().unwrap().unwrap();
    client.wait().unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| b"abcdefghijklmnopqrstuvwxyz012345"[i * 7 % 31 + i / 4096 % 2])
        .collect()
}

#[test]
fn s_client_sends_and_hears_100_kb_in_every_suite() {
    let scratch = Scratch::new("suites");
    let tls = listener_tls(&scratch.ec_identity("server", "/CN=db.example"));
    for [version, option, suite, name] in SUITES {
        let data = pattern(100_000);
        let echoed = s_client(
            &tls,
            &["-quiet", "-alpn", "postgresql", version, option, suite],
            |mut talk, stdin| {
                assert_eq!(talk.facts.cipher, name);
                assert!(talk.facts.alpn);
                stdin.write_all(&data).unwrap();
                assert!(talk.read_exactly(data.len()) == data);
                talk.write(&data);
                talk.close();
            },
        );
        assert!(echoed.as_bytes() == data, "{suite}: {} bytes", echoed.len());
    }
}

#[test]
fn s_client_changes_its_key_and_asks_for_ours() {
    let scratch = Scratch::new("key-update");
    let tls = listener_tls(&scratch.ec_identity("server", "/CN=db.example"));
    let heard = s_client(&tls, &["-tls1_3"], |mut talk, stdin| {
        for round in 0..3 {
            // The letter alone at the beginning of a read is a command: KeyUpdate with update_requested.
            stdin.write_all(b"K\n").unwrap();
            std::thread::sleep(Duration::from_millis(200));
            let line = format!("round {round} after\n");
            stdin.write_all(line.as_bytes()).unwrap();
            assert_eq!(talk.read_exactly(line.len()), line.as_bytes());
            talk.write(format!("echo {line}").as_bytes());
        }
        assert_eq!(talk.answers, 3, "each request is answered");
        talk.close();
    });
    assert!(heard.contains("echo round 2 after"), "{heard}");
}

#[test]
fn s_client_is_refused_a_renegotiation() {
    let scratch = Scratch::new("renegotiation");
    let tls = listener_tls(&scratch.ec_identity("server", "/CN=db.example"));
    s_client(&tls, &["-tls1_2"], |mut talk, stdin| {
        stdin.write_all(b"R\n").unwrap();
        // OpenSSL takes the warning for an end (handshake_failure).
        assert_eq!(talk.read_error(), TlsError::AlertReceived(Alert(40)));
        assert_eq!(talk.answers, 1, "no_renegotiation");
    });
}

#[test]
fn s_client_resumes_and_shows_its_certificate_again() {
    let scratch = Scratch::new("resumption");
    let tls = listener_tls(&scratch.ec_identity("server", "/CN=db.example"));
    let client = scratch.ec_identity("client", "/CN=alice");
    let session = scratch.path("session");
    for version in ["-tls1_2", "-tls1_3"] {
        for resumed in [false, true] {
            let option = if resumed { "-sess_in" } else { "-sess_out" };
            let (certificate, key) = (client.certificate_path(), client.key_path());
            let arguments = ["-quiet", version, "-cert", &certificate, "-key", &key, option, &session];
            s_client(&tls, &arguments, |mut talk, stdin| {
                stdin.write_all(b"hello\n").unwrap();
                assert_eq!(talk.read_exactly(6), b"hello\n");
                assert_eq!(talk.facts.resumed, resumed, "{version}");
                assert_eq!(talk.facts.peer_chain[0].as_ref(), client.certificate_der());
                talk.write(b"bye\n");
                talk.close();
            });
        }
    }
}

#[test]
fn a_version_1_client_certificate_can_show_that_it_holds_its_key() {
    let scratch = Scratch::new("v1-client");
    let tls = listener_tls(&scratch.ec_identity("server", "/CN=db.example"));
    let client = scratch.version_1_identity("client", "/CN=alice");
    for version in ["-tls1_2", "-tls1_3"] {
        let (certificate, key) = (client.certificate_path(), client.key_path());
        s_client(
            &tls,
            &["-quiet", version, "-cert", &certificate, "-key", &key],
            |mut talk, _| {
                assert_eq!(talk.facts.peer_chain[0].as_ref(), client.certificate_der());
                talk.close();
            },
        );
    }
}

#[test]
fn the_end_point_is_the_fingerprint_that_openssl_computes() {
    let scratch = Scratch::new("end-point");
    let plain = scratch.identity("plain", &["-newkey", "rsa:2048", "-sha256"]);
    let sha1 = scratch.identity("sha1", &["-newkey", "rsa:2048", "-sha1"]);
    let sha512 = scratch.identity("sha512", &["-newkey", "rsa:2048", "-sha512"]);
    let pss = [
        "-newkey",
        "rsa:2048",
        "-sha384",
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:48",
    ];
    let pss = scratch.identity("pss", &pss);
    for (identity, hash) in [
        (plain, "-sha256"),
        (sha1, "-sha256"),
        (sha512, "-sha512"),
        (pss, "-sha384"),
    ] {
        let expected = identity.fingerprint(hash);
        assert_eq!(listener_tls(&identity).end_point(), Some(expected.as_slice()), "{hash}");
    }
    assert_eq!(
        listener_tls(&scratch.identity("ed25519", &["-newkey", "ed25519"])).end_point(),
        None
    );
}

#[test]
fn s_server_talks_with_our_client_end_in_every_suite() {
    let scratch = Scratch::new("s-server");
    let server = scratch.ec_identity("server", "/CN=db.example");
    let upstream = UpstreamTls::new(&require(), None).unwrap();
    for [version, option, suite, name] in SUITES {
        let process = Server::start(&server, &["-rev", version, option, suite]);
        let mut talk = connect(process.address(), &upstream, "db.example").unwrap();
        assert_eq!(talk.facts.cipher, name);
        assert_eq!(talk.facts.end_point, Some(server.fingerprint("-sha256")));
        for line in ["hello", "postern", "a line of its own"] {
            talk.write(format!("{line}\n").as_bytes());
            let reversed: String = line.chars().rev().collect();
            assert_eq!(talk.read_exactly(line.len() + 1), format!("{reversed}\n").as_bytes());
        }
    }
}

#[test]
fn s_server_sees_the_roles_certificate() {
    let scratch = Scratch::new("s-server-client");
    let server = scratch.ec_identity("server", "/CN=db.example");
    let role = scratch.ec_identity("role", "/CN=postern");
    let key = Secret::new(role.key_pem());
    let chain = role.certificate_pem();
    let certificate = ClientCertificate {
        chain: &chain,
        key: &key,
    };
    let upstream = UpstreamTls::new(&require(), Some(certificate)).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let root = role.certificate_path();
        let process = Server::start(&server, &["-rev", version, "-Verify", "1", "-CAfile", &root]);
        let mut talk = connect(process.address(), &upstream, "db.example").unwrap();
        talk.write(b"in\n");
        assert_eq!(talk.read_exactly(3), b"ni\n");
        let process = Server::start(&server, &["-rev", version, "-Verify", "1", "-verify_return_error"]);
        let error = match connect(process.address(), &upstream, "db.example") {
            Err(error) => error,
            Ok(mut talk) => talk.read_error(),
        };
        assert!(matches!(error, TlsError::AlertReceived(_)), "{error}");
    }
}

#[test]
fn a_version_1_server_passes_with_a_pin_and_the_refusal_says_so() {
    let scratch = Scratch::new("v1-server");
    let server = scratch.version_1_identity("server", "/CN=db1");
    let other = scratch.ec_identity("root", "/CN=root");
    for version in ["-tls1_2", "-tls1_3"] {
        let pinned_key = Some(server.key_hash());
        let pinned = ServerTls {
            mode: ServerTlsMode::VerifyFull,
            pinned_key,
            ..ServerTls::default()
        };
        let process = Server::start(&server, &["-rev", version]);
        let mut talk = connect(process.address(), &UpstreamTls::new(&pinned, None).unwrap(), "db1").unwrap();
        talk.write(b"in\n");
        assert_eq!(talk.read_exactly(3), b"ni\n");
        drop(talk);

        let roots = vec![other.certificate_der()];
        let by_path = ServerTls {
            mode: ServerTlsMode::VerifyCa,
            roots,
            ..ServerTls::default()
        };
        let process = Server::start(&server, &["-rev", version]);
        let error = connect(process.address(), &UpstreamTls::new(&by_path, None).unwrap(), "db1")
            .err()
            .unwrap();
        let TlsError::ServerCertificate(ServerCertificateFault::Version1(hash)) = &error else {
            panic!("{error}")
        };
        assert_eq!(
            *hash,
            server
                .key_hash()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        );
        assert!(error.to_string().contains("pin its key with `pinned_key`"), "{error}");

        // As its own root it needs no path, and its common name counts where the policy names it.
        let roots = vec![server.certificate_der()];
        let own = ServerTls {
            roots,
            common_name: Some("db1".to_owned()),
            ..ServerTls::default()
        };
        let process = Server::start(&server, &["-rev", version]);
        assert!(connect(process.address(), &UpstreamTls::new(&own, None).unwrap(), "10.0.0.1").is_ok());
    }
}

#[test]
fn the_version_is_openssls_too() {
    let scratch = Scratch::new("version");
    let tls = listener_tls(&scratch.ec_identity("server", "/CN=db.example"));
    for (option, version) in [("-tls1_2", Version::Tls12), ("-tls1_3", Version::Tls13)] {
        let said = s_client(&tls, &[option], |mut talk, _| {
            assert_eq!(talk.facts.version, version);
            talk.close();
        });
        assert!(said.contains(version.as_str()), "{said}");
    }
}

fn require() -> ServerTls {
    ServerTls {
        mode: ServerTlsMode::Require,
        ..ServerTls::default()
    }
}
