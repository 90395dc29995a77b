//! The operations that `postern-micro` measures: each prepared once, then repeated.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use postern::identity::certificate::{Cache, Trust, judge};
use postern::identity::scram::server::{Against, Binding, ExpectClientFinal, begin};
use postern::identity::scram::{SCRAM_SHA_256, client, derive};
use postern::tls::{HEAD_ROOM, Handshake, Link, ListenerOptions, ListenerTls, Opened, TAIL_ROOM, UpstreamTls};
use postern::wire::frame::Follower;
use postern::wire::tag::TagSet;
use postern_perf::million::{Questions, Sample, Share, model};
use postern_policy::identity::ScramVerifierView;
use postern_policy::model::{
    CertificateAuthority, CrlMode, Identity, IdentityKey, Model, Provider, ServerTls, ServerTlsMode,
};
use postern_policy::snapshot::Snapshot;
use postern_policy::time::Utc;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::{Failure, tokens};

pub type Once = Box<dyn FnMut() -> Result<(), Failure>>;

pub struct Operation {
    pub name: &'static str,
    pub title: &'static str,
    /// Repetitions that are timed at once.
    pub times: u32,
    /// Figures are given for one of so many parts of a repetition.
    pub parts: u32,
    pub prepare: fn() -> Result<Once, Failure>,
}

pub const OPERATIONS: [Operation; 15] = [
    Operation {
        name: "follow-small",
        title: "follow one message of 32 bytes (256 in a chunk)",
        times: 20_000,
        parts: 256,
        prepare: follow_small,
    },
    Operation {
        name: "follow-big",
        title: "follow a chunk of 8 KiB inside a big message",
        times: 100_000,
        parts: 1,
        prepare: follow_big,
    },
    Operation {
        name: "scram",
        title: "SCRAM exchange, server's end",
        times: 20_000,
        parts: 1,
        prepare: scram,
    },
    Operation {
        name: "certificate",
        title: "judge a certificate pinned by fingerprint",
        times: 10_000,
        parts: 1,
        prepare: certificate,
    },
    Operation {
        name: "issued-first",
        title: "judge a certificate of an authority, first use",
        times: 5_000,
        parts: 1,
        prepare: || issued(0),
    },
    Operation {
        name: "issued-later",
        title: "the same, later use",
        times: 50_000,
        parts: 1,
        prepare: || issued(1 << 20),
    },
    Operation {
        name: "decide",
        title: "decide (10,000 grants, 8 groups, 30 % refused)",
        times: 200,
        parts: QUESTIONS as u32,
        prepare: decide,
    },
    Operation {
        name: "record",
        title: "seal and open a record of 8 KiB",
        times: 20_000,
        parts: 1,
        prepare: record,
    },
    Operation {
        name: "token-first-es256",
        title: "token, first use, ES256",
        times: 2_000,
        parts: 1,
        prepare: tokens::first_es256,
    },
    Operation {
        name: "token-signature-es256",
        title: "ES256 signature alone (aws-lc)",
        times: 2_000,
        parts: 1,
        prepare: tokens::signature_es256,
    },
    Operation {
        name: "token-first-rs256",
        title: "token, first use, RS256 (2048 bits)",
        times: 4_000,
        parts: 1,
        prepare: tokens::first_rs256,
    },
    Operation {
        name: "token-signature-rs256",
        title: "RS256 signature alone (aws-lc)",
        times: 4_000,
        parts: 1,
        prepare: tokens::signature_rs256,
    },
    Operation {
        name: "token-first-eddsa",
        title: "token, first use, EdDSA",
        times: 2_000,
        parts: 1,
        prepare: tokens::first_eddsa,
    },
    Operation {
        name: "token-signature-eddsa",
        title: "EdDSA signature alone (aws-lc)",
        times: 2_000,
        parts: 1,
        prepare: tokens::signature_eddsa,
    },
    Operation {
        name: "token-again",
        title: "token, any later use (hash, cache, every check)",
        times: 100_000,
        parts: 1,
        prepare: tokens::again,
    },
];

const MESSAGE: usize = 32;

fn follow_small() -> Result<Once, Failure> {
    let mut message = vec![b'D', 0, 0, 0, MESSAGE as u8 - 1];
    message.resize(MESSAGE, 7);
    let chunk = message.repeat(256);
    let mut follower = Follower::new();
    Ok(Box::new(move || {
        let mut seen = 0u32;
        follower.follow(std::hint::black_box(&chunk), &TagSet::BACKEND_IN_RELAY, |_head| {
            seen += 1
        })?;
        expect(seen == 256, "256 messages")
    }))
}

/// Begins a message of a GB anew where the last one ends, some 100,000 chunks later.
fn follow_big() -> Result<Once, Failure> {
    let mut first = vec![b'd'];
    first.extend_from_slice(&(1u32 << 30).to_be_bytes());
    let chunk = vec![7; 8_192];
    let mut follower = Follower::new();
    Ok(Box::new(move || {
        if (follower.bytes_left_in_message() as usize) < chunk.len() {
            follower = Follower::new();
            follower.follow(&first, &TagSet::BACKEND_IN_RELAY, |_head| {})?;
        }
        follower.follow(std::hint::black_box(&chunk), &TagSet::BACKEND_IN_RELAY, |_head| {})?;
        Ok(())
    }))
}

/// Nonces are fixed, so one recorded client serves every repetition.
fn scram() -> Result<Once, Failure> {
    let (salt, iterations) = ([3; 16], 4_096);
    let keys = derive(b"pencil", &salt, iterations);
    let (stored_key, server_key) = (keys.stored_key(), *keys.server_key());
    let start = move |client_first: &[u8], out: &mut Vec<u8>| -> Result<ExpectClientFinal, Failure> {
        let view = ScramVerifierView {
            iterations,
            salt: &salt,
            stored_key: &stored_key,
            server_key: &server_key,
        };
        let against = Against::of(Some(view), "bench", &[0; 32], iterations);
        let mechanism = SCRAM_SHA_256.as_bytes();
        Ok(begin(mechanism, client_first, against, Binding::None, [5; 18], out)?)
    };
    let (mut client_first, mut server_first, mut client_final) = (Vec::new(), Vec::new(), Vec::new());
    let client = client::begin(client::Binding::None, [9; 18], &mut client_first);
    start(&client_first, &mut server_first)?;
    client
        .handle(&server_first, iterations)?
        .proceed(&keys, &mut client_final);
    let mut out = Vec::new();
    Ok(Box::new(move || {
        out.clear();
        start(&client_first, &mut out)?.finish(&client_final, &mut out)?;
        Ok(())
    }))
}

fn certificate() -> Result<Once, Failure> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["billing.example".to_owned()])?.self_signed(&key)?;
    let chain = [CertificateDer::from(certificate.der().to_vec())];
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, &chain[0]).as_ref());
    let mut model = Model::default();
    let mut insert = |name: String, fingerprint| {
        let keys = vec![IdentityKey::Fingerprint(fingerprint)];
        model.identities.insert(
            name,
            Identity {
                keys,
                ..Identity::default()
            },
        );
    };
    for other in 0..10_000u32 {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &other.to_be_bytes()).as_ref());
        insert(format!("svc:{other}"), fingerprint);
    }
    insert("svc:billing".to_owned(), fingerprint);
    let snapshot = Snapshot::of(&model, 1)?;
    let trust = Trust::of(&snapshot)?;
    let now = Utc(1_790_000_000_000_000);
    let mut known = Cache::new(0);
    Ok(Box::new(move || {
        let judged = judge(&snapshot, &trust, &mut known, std::hint::black_box(&chain), now)?;
        expect(judged.fingerprint() == fingerprint, "the pinned certificate")
    }))
}

/// ECDSA with P-256, an intermediate between; `kept` bytes for what was examined before.
fn issued(kept: usize) -> Result<Once, Failure> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "root");
    let root = CertifiedIssuer::self_signed(authority.clone(), KeyPair::generate()?)?;
    authority.distinguished_name.push(DnType::CommonName, "intermediate");
    let middle = CertifiedIssuer::signed_by(authority, KeyPair::generate()?, &root)?;
    let mut leaf = CertificateParams::default();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf.distinguished_name.push(DnType::CommonName, "billing");
    let leaf = leaf.signed_by(&KeyPair::generate()?, &middle)?;
    let chain = [leaf.der().clone(), middle.der().clone()];
    let mut model = Model::default();
    let provider = CertificateAuthority {
        roots: vec![root.der().to_vec()],
        crls: Vec::new(),
        crl: CrlMode::Optional,
        crl_max_age: None,
        trust_domains: BTreeSet::default(),
    };
    model
        .providers
        .insert("corp".to_owned(), Provider::CertificateAuthority(provider));
    let keys = vec![IdentityKey::CommonName {
        provider: "corp".to_owned(),
        name: "billing".to_owned(),
    }];
    model.identities.insert(
        "svc:billing".to_owned(),
        Identity {
            keys,
            ..Identity::default()
        },
    );
    let snapshot = Snapshot::of(&model, 1)?;
    let trust = Trust::of(&snapshot)?;
    let (now, mut known) = (Utc(1_790_000_000_000_000), Cache::new(kept));
    Ok(Box::new(move || {
        let judged = judge(&snapshot, &trust, &mut known, std::hint::black_box(&chain), now)?;
        expect(!judged.evidence().validated_by().is_empty(), "an authority's word")
    }))
}

const QUESTIONS: usize = 1_024;

/// The grants, groups, patterns and denies of the million's policy, with fewer identities: the way that a decision takes
/// is the same, only that memory is warm.
fn decide() -> Result<Once, Failure> {
    let model = model(&Sample {
        identities: 20_000,
        ..Sample::default()
    })?;
    let snapshot = Snapshot::of(&model, 1)?;
    let questions = Questions::draw(&model, 1, QUESTIONS, Share::Decision);
    let providers: Vec<_> = snapshot.certificate_authorities().map(|(id, _)| id).collect();
    let identities: Vec<_> = questions
        .0
        .iter()
        .map(|question| question.ask(|lookup| lookup.resolve(&snapshot, &providers)))
        .collect::<Option<_>>()
        .ok_or("identities that the policy knows")?;
    Ok(Box::new(move || {
        questions
            .0
            .iter()
            .zip(&identities)
            .try_for_each(|(question, identity)| {
                let decided = snapshot.decide(std::hint::black_box(&question.facts(*identity)));
                expect(decided.is_ok() == question.granted, "what was drawn")
            })
    }))
}

fn record() -> Result<Once, Failure> {
    let (mut from, mut to) = links()?;
    let mut buffer = vec![7; HEAD_ROOM + 8_192 + TAIL_ROOM];
    Ok(Box::new(move || {
        let record = from.seal_in_place(&mut buffer, HEAD_ROOM..HEAD_ROOM + 8_192)?;
        let opened = to.open(&mut buffer[record])?;
        expect(matches!(opened, Opened::Data { .. }), "data")
    }))
}

/// Server's and client's end, in TLS 1.3.
fn links() -> Result<(Box<Link>, Box<Link>), Failure> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["db.example".to_owned()])?.self_signed(&key)?;
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    let listener = ListenerTls::new(chain.as_bytes(), key.as_bytes(), &ListenerOptions::default())?;
    let upstream = UpstreamTls::new(
        &ServerTls {
            mode: ServerTlsMode::Require,
            ..ServerTls::default()
        },
        None,
    )?;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut server = Handshake::server(&Arc::new(listener), false)?;
    let mut client = Handshake::client(&upstream, "db.example", &mut to_server)?;
    server.handle(&to_server, &mut to_client)?;
    to_server.clear();
    let mut client = client
        .handle(&to_client, &mut to_server)?
        .established
        .ok_or("no client link")?;
    to_client.clear();
    let server = server
        .handle(&to_server, &mut to_client)?
        .established
        .ok_or("no server link")?;
    client.link.open(&mut to_client)?;
    Ok((server.link, client.link))
}

pub fn expect(holds: bool, what: &str) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(format!("expected {what}").into())
    }
}
