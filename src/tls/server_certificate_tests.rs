//! Each TLS mode of a cluster against servers that satisfy it and servers that do not.

use postern_policy::model::{ServerTls, ServerTlsMode};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite;

use super::fixtures::{Authority, Leaf, require};
use super::peer::{Peer, connect, server_config};
use super::{ClientCertificate, Fault, TlsError, UpstreamTls, UpstreamTlsError};
use crate::secret::Secret;

const BOTH: [SupportedCipherSuite; 2] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
];

/// The name of the error that connecting to `host` ends in, in both versions; "" for none.
fn outcome(tls: &ServerTls, host: &str, leaf: &Leaf) -> &'static str {
    let upstream = UpstreamTls::new(tls, None).unwrap();
    let [one, two] = BOTH.map(|suite| {
        let mut peer = Peer::server(server_config(suite, leaf, None));
        match connect(&upstream, host, &mut peer) {
            Ok(_) => "",
            Err(error) => {
                assert!(
                    error == TlsError::KeyNotHeld || error.fault() == Fault::Operator,
                    "{error}"
                );
                error.as_str()
            }
        }
    });
    assert_eq!(one, two);
    one
}

fn verify(mode: ServerTlsMode, authority: &Authority) -> ServerTls {
    ServerTls {
        mode,
        roots: vec![authority.root()],
        ..ServerTls::default()
    }
}

#[test]
fn require_takes_any_certificate() {
    let leaf = Authority::new("anyone").leaf(&["elsewhere.example"]);
    assert_eq!(outcome(&require(), "db.example", &leaf), "");
}

#[test]
fn verify_ca_wants_a_path_and_no_name() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let leaf = ours.leaf(&["elsewhere.example"]);
    assert_eq!(
        outcome(&verify(ServerTlsMode::VerifyCa, &ours), "db.example", &leaf),
        ""
    );
    assert_eq!(
        outcome(&verify(ServerTlsMode::VerifyCa, &other), "db.example", &leaf),
        "tls_server_unknown_issuer"
    );
    let same_name = Authority::new("ours");
    assert_eq!(
        outcome(&verify(ServerTlsMode::VerifyCa, &same_name), "db.example", &leaf),
        "tls_server_unknown_issuer"
    );
}

#[test]
fn verify_full_wants_the_name_or_address_too() {
    let authority = Authority::new("ours");
    let leaf = authority.leaf(&["db.example", "*.pool.example", "192.0.2.7", "2001:db8::7"]);
    let tls = verify(ServerTlsMode::VerifyFull, &authority);
    for good in ["db.example", "DB.example", "a.pool.example", "192.0.2.7", "2001:db8::7"] {
        assert_eq!(outcome(&tls, good, &leaf), "", "{good}");
    }
    for bad in ["other.example", "a.b.pool.example", "192.0.2.8", "pool.example"] {
        assert_eq!(outcome(&tls, bad, &leaf), "tls_server_name_mismatch", "{bad}");
    }
    let renamed = ServerTls {
        server_name: Some("db.example".to_owned()),
        ..tls
    };
    assert_eq!(outcome(&renamed, "10.0.0.1", &leaf), "");
}

#[test]
fn a_mismatch_says_what_the_certificate_is_for_and_what_to_set() {
    let authority = Authority::new("ours");
    let leaf = authority.leaf(&["db.example", "192.0.2.7"]);
    let upstream = UpstreamTls::new(&verify(ServerTlsMode::VerifyFull, &authority), None).unwrap();
    let mut peer = Peer::server(server_config(BOTH[0], &leaf, None));
    let error = connect(&upstream, "other.example", &mut peer).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the server's certificate is refused: it is for db.example, 192.0.2.7, not for other.example; set \
         `server_name` if that is right"
    );
    assert!(peer.0.process_new_packets().is_err(), "the server hears of it");
}

#[test]
fn a_certificate_with_only_a_common_name_passes_where_the_policy_names_it() {
    let authority = Authority::new("ours");
    let leaf = authority.leaf_with(&[], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.distinguished_name.push(DnType::CommonName, "db1.corp");
    });
    let tls = verify(ServerTlsMode::VerifyFull, &authority);
    assert_eq!(outcome(&tls, "db1.corp", &leaf), "tls_server_only_common_name");
    let with = |name: &str| ServerTls {
        common_name: Some(name.to_owned()),
        ..tls.clone()
    };
    assert_eq!(outcome(&with("db1.corp"), "10.0.0.1", &leaf), "");
    assert_eq!(
        outcome(&with("db2.corp"), "10.0.0.1", &leaf),
        "tls_server_common_name_mismatch"
    );
    let stranger = Authority::new("stranger");
    let foreign = ServerTls {
        roots: vec![stranger.root()],
        ..with("db1.corp")
    };
    assert_eq!(
        outcome(&foreign, "db1.corp", &leaf),
        "tls_server_unknown_issuer",
        "the path still counts"
    );
    // Where there are alternative names, the common name counts for nothing.
    let named = authority.leaf(&["db.example"]);
    assert_eq!(outcome(&with("leaf"), "db1.corp", &named), "tls_server_name_mismatch");
}

#[test]
fn dates_and_purposes_count() {
    let authority = Authority::new("ours");
    let leaf = |change: fn(&mut CertificateParams)| {
        authority.leaf_with(&["db.example"], &rcgen::PKCS_ECDSA_P256_SHA256, change)
    };
    let tls = verify(ServerTlsMode::VerifyFull, &authority);
    let expired = leaf(|params| params.not_after = date_time_ymd(2020, 1, 1));
    assert_eq!(outcome(&tls, "db.example", &expired), "tls_server_certificate_expired");
    let early = leaf(|params| params.not_before = date_time_ymd(2090, 1, 1));
    assert_eq!(
        outcome(&tls, "db.example", &early),
        "tls_server_certificate_not_yet_valid"
    );
    let client = leaf(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(outcome(&tls, "db.example", &client), "tls_server_path");
}

#[test]
fn a_self_signed_server_is_its_own_root() {
    let authority = Authority::new("ours");
    let own = authority.leaf_with(&["db.example"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let tls = |mode| ServerTls {
        mode,
        roots: vec![own.der.clone()],
        ..ServerTls::default()
    };
    assert_eq!(outcome(&tls(ServerTlsMode::VerifyCa), "elsewhere", &own), "");
    assert_eq!(outcome(&tls(ServerTlsMode::VerifyFull), "db.example", &own), "");
    assert_eq!(
        outcome(&tls(ServerTlsMode::VerifyFull), "elsewhere", &own),
        "tls_server_name_mismatch"
    );
}

#[test]
fn a_pinned_key_is_enough_and_nothing_else_is() {
    let authority = Authority::new("ours");
    let leaf = authority.leaf(&["elsewhere.example"]);
    let parsed = x509_parser::parse_x509_certificate(&leaf.der).unwrap().1;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.public_key().raw);
    let pin: [u8; 32] = digest.as_ref().try_into().unwrap();
    for mode in [
        ServerTlsMode::Require,
        ServerTlsMode::VerifyCa,
        ServerTlsMode::VerifyFull,
    ] {
        let tls = ServerTls {
            mode,
            pinned_key: Some(pin),
            ..verify(mode, &authority)
        };
        assert_eq!(outcome(&tls, "db.example", &leaf), "");
        let other = authority.leaf(&["db.example"]);
        assert_eq!(outcome(&tls, "db.example", &other), "tls_server_pin_mismatch");
        let thief = Leaf {
            chain: leaf.chain.clone(),
            key: other.key,
            der: leaf.der.clone(),
        };
        assert_eq!(outcome_of_thief(&tls, &thief), "tls_key_not_held");
    }
}

/// rustls would not serve a certificate with a foreign key: a resolver of its own makes it.
fn outcome_of_thief(tls: &ServerTls, thief: &Leaf) -> &'static str {
    let mut config = server_config(BOTH[0], &Authority::new("x").leaf(&["x"]), None);
    config.cert_resolver = super::peer::mismatched(thief);
    let mut peer = Peer::server(config);
    let upstream = UpstreamTls::new(tls, None).unwrap();
    connect(&upstream, "db.example", &mut peer).map_or_else(|error| error.as_str(), |_| "")
}

/// Towards servers with this certificate of ours.
fn showing(own: &Leaf) -> UpstreamTls {
    let key = Secret::new(own.key.clone().into_bytes());
    let certificate = ClientCertificate {
        chain: own.chain.as_bytes(),
        key: &key,
    };
    UpstreamTls::new(&require(), Some(certificate)).unwrap()
}

#[test]
fn a_server_that_asks_gets_the_roles_certificate() {
    let clients = Authority::new("clients");
    let own = clients.leaf(&["postern"]);
    let upstream = showing(&own);
    for suite in BOTH {
        let server = Authority::new("servers").leaf(&["db.example"]);
        let mut peer = Peer::server(server_config(suite, &server, Some(&clients)));
        let mut established = connect(&upstream, "db.example", &mut peer).unwrap();
        assert!(established.facts.certificate_shown);
        let mut out = Vec::new();
        established.link.seal(b"in", &mut out).unwrap();
        assert_eq!(peer.input(&out).unwrap(), b"in");
        assert_eq!(peer.0.peer_certificates().unwrap()[0].as_ref(), own.der);
    }
}

#[test]
fn a_certificate_that_no_server_asked_for_was_not_shown() {
    let clients = Authority::new("clients");
    let own = clients.leaf(&["postern"]);
    let upstream = showing(&own);
    for suite in BOTH {
        let server = Authority::new("servers").leaf(&["db.example"]);
        // One that asks comes between: what one handshake showed says nothing of the next.
        for asks in [None, Some(&clients), None] {
            let mut peer = Peer::server(server_config(suite, &server, asks));
            let established = connect(&upstream, "db.example", &mut peer).unwrap();
            assert_eq!(established.facts.certificate_shown, asks.is_some());
        }
    }
}

#[test]
fn what_cannot_work_is_said_before_any_connection() {
    let of = |tls: ServerTls| UpstreamTls::new(&tls, None).err();
    assert_eq!(of(ServerTls::default()), Some(UpstreamTlsError::NoRoots));
    assert_eq!(
        of(ServerTls {
            roots: vec![vec![1]],
            ..ServerTls::default()
        }),
        Some(UpstreamTlsError::BadRoot(0))
    );
    assert_eq!(
        of(ServerTls {
            mode: ServerTlsMode::Disable,
            ..require()
        }),
        Some(UpstreamTlsError::Disabled)
    );
    let upstream = UpstreamTls::new(&require(), None).unwrap();
    let error = super::Handshake::client(&upstream, "no such name!", &mut Vec::new())
        .err()
        .unwrap();
    assert_eq!(
        (error.as_str(), error.fault()),
        ("tls_bad_server_name", Fault::Operator)
    );
}

#[test]
fn only_a_name_or_a_pin_proves_the_server() {
    let authority = Authority::new("ours");
    let proves = |tls: &ServerTls| UpstreamTls::new(tls, None).unwrap().proves_server();
    assert!(!proves(&require()));
    assert!(!proves(&verify(ServerTlsMode::VerifyCa, &authority)));
    assert!(proves(&verify(ServerTlsMode::VerifyFull, &authority)));
    assert!(proves(&ServerTls {
        pinned_key: Some([0; 32]),
        ..require()
    }));
}
