//! Who is known, and by what: the first thousand by a SPIFFE pattern, of the others a third each by password, by pinned
//! certificate and by SPIFFE ID.

use std::collections::{BTreeMap, BTreeSet};

use postern_policy::model::{CertificateAuthority, Identity, IdentityKey, ScramVerifier};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::random::Random;
use super::{CIRCLES, GROUPS, GROUPS_OF_AN_IDENTITY, ITERATIONS, PATTERNS, PROVIDER, Sample, group};

const TRUST_DOMAIN: &str = "corp.example";

pub fn all(sample: &Sample) -> BTreeMap<String, Identity> {
    let mut random = Random::new(sample.seed);
    (0..sample.identities)
        .map(|number| (name(number), identity(number, &mut random)))
        .collect()
}

/// Ed25519, whose signatures have no random part.
pub fn authority(seed: u64) -> Result<CertificateAuthority, rcgen::Error> {
    // A private key of RFC 8410 up to its 32 bytes.
    const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let secret: [u8; 32] = Random::new(!seed).bytes();
    let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from([PKCS8.as_slice(), &secret].concat()))?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "a million clients");
    Ok(CertificateAuthority {
        roots: vec![params.self_signed(&key)?.der().to_vec()],
        trust_domains: [TRUST_DOMAIN.to_owned()].into(),
        ..CertificateAuthority::default()
    })
}

/// Also the start-up `user` of those with a password.
pub fn name(number: usize) -> String {
    format!("svc:{number:07}")
}

/// Two shapes with as many segments as the plain ones, and none that overlap.
pub fn pattern(number: usize) -> String {
    if number.is_multiple_of(2) {
        format!("spiffe://{TRUST_DOMAIN}/ns/*/sa/job-{number:04}")
    } else {
        format!("spiffe://{TRUST_DOMAIN}/batch/jobs-{number:04}/sa/*")
    }
}

fn identity(number: usize, random: &mut Random) -> Identity {
    let mut identity = Identity {
        groups: groups(random),
        ..Identity::default()
    };
    let uri = |pattern| IdentityKey::Uri {
        provider: PROVIDER.to_owned(),
        pattern,
    };
    match number {
        ..PATTERNS => identity.keys.push(uri(pattern(number))),
        PATTERNS.. => match number % 3 {
            0 => identity.scram = Some(verifier(random)),
            1 => identity.keys.push(IdentityKey::Fingerprint(random.bytes())),
            _ => identity.keys.push(uri(format!(
                "spiffe://{TRUST_DOMAIN}/ns/team-{:04}/sa/svc-{number:07}",
                random.below(GROUPS)
            ))),
        },
    }
    identity
}

fn groups(random: &mut Random) -> BTreeSet<String> {
    let mut circles = BTreeSet::new();
    while circles.len() < GROUPS_OF_AN_IDENTITY {
        circles.insert(random.below(CIRCLES));
    }
    circles
        .into_iter()
        .map(|circle| group(circle + CIRCLES * random.below(GROUPS / CIRCLES)))
        .collect()
}

/// Of no password that anybody knows.
fn verifier(random: &mut Random) -> ScramVerifier {
    ScramVerifier {
        iterations: ITERATIONS,
        salt: random.bytes::<16>().to_vec(),
        stored_key: random.bytes(),
        server_key: random.bytes(),
    }
}
