//! Paths, dates and usages.

use base64::Engine as _;
use postern_policy::model::{CertificateAuthority, CrlMode, IdentityKey};
use proptest::prelude::*;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, NameConstraints, date_time_ymd};

use crate::identity::certificate::testing::*;
use crate::identity::certificate::{CertificateFacts, CertificateRefusal, Trust, examine, fuzz};
use crate::time::Utc;

const A: fn() -> [IdentityKey; 1] = || [by_common_name("ca", "a")];

#[test]
fn every_common_kind_of_key_is_verified() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let ca = Ca::root("CA");
        let key = KeyPair::generate_for(algorithm).unwrap();
        let gate = gate(&[("ca", ca.provider())], &[("svc:a", &A())]);
        assert_eq!(
            who(&gate, &[&ca.issue_for(&leaf_named("a"), &key)]).as_deref(),
            Ok("svc:a")
        );
    }
}

#[test]
fn dates_count_to_the_second() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let pinned = [by_fingerprint(&certificate)];
    for keys in [&A(), &pinned] {
        let gate = gate(&[("ca", ca.provider())], &[("svc:a", keys)]);
        let at = |now| judged(&gate, &[&certificate], now).map(|judged| judged.expires());
        let (first, last) = (Day(2025, 1, 1).utc(), Day(2026, 12, 31).utc());
        let end = Utc(last.0 + 1_000_000);
        assert_eq!(at(Utc(first.0 - 1)), Err(CertificateRefusal::NotYetValid));
        assert_eq!(at(first), Ok(end));
        assert_eq!(at(Utc(end.0 - 1)), Ok(end), "notAfter itself is valid");
        assert_eq!(at(end), Err(CertificateRefusal::Expired));
    }
}

#[test]
fn a_moment_before_the_epoch_is_no_trouble() {
    let ca = Ca::root("CA");
    let gate = gate(&[("ca", ca.provider())], &[("svc:a", &A())]);
    let judged = judged(&gate, &[&ca.issue(&leaf_named("a"))], Utc(-1));
    assert_eq!(judged.err(), Some(CertificateRefusal::NotYetValid));
}

#[test]
fn intermediates_come_with_the_client_or_from_the_policy() {
    let root = Ca::root("Root");
    let middle = root.under("Middle", |_| {});
    let certificate = middle.issue(&leaf_named("a"));
    let with_root = gate(&[("ca", root.provider())], &[("svc:a", &A())]);
    assert_eq!(who(&with_root, &[&certificate, &middle.der()]).as_deref(), Ok("svc:a"));
    assert_eq!(who(&with_root, &[&certificate]), Err(CertificateRefusal::Untrusted));
    let with_middle = gate(&[("ca", middle.provider())], &[("svc:a", &A())]);
    assert_eq!(who(&with_middle, &[&certificate]).as_deref(), Ok("svc:a"));
}

#[test]
fn an_intermediate_s_end_is_a_moment_to_look_again() {
    let root = Ca::root("Root");
    let middle = root.under("Middle", |params| params.not_after = date_time_ymd(2026, 3, 1));
    let gate = gate(&[("ca", root.provider())], &[("svc:a", &A())]);
    let certificate = middle.issue(&leaf_named("a"));
    let chain = [&certificate, &middle.der()];
    let end = Utc(Day(2026, 3, 1).utc().0 + 1_000_000);
    assert_eq!(judged(&gate, &chain, TODAY.utc()).unwrap().recheck_at(), end);
    assert_eq!(judged(&gate, &chain, end).err(), Some(CertificateRefusal::Untrusted));
}

#[test]
fn an_expired_stranger_in_the_chain_sets_no_clock() {
    let ca = Ca::root("CA");
    let stranger = Ca::root("Elsewhere").under("Old", |params| params.not_after = date_time_ymd(2000, 1, 1));
    let gate = gate(&[("ca", ca.provider())], &[("svc:a", &A())]);
    let judged = judged(&gate, &[&ca.issue(&leaf_named("a")), &stranger.der()], TODAY.utc()).unwrap();
    assert_eq!(judged.recheck_at(), judged.expires());
}

#[test]
fn a_certificate_for_servers_is_not_one_for_clients() {
    let ca = Ca::root("CA");
    let gate = gate(&[("ca", ca.provider())], &[("svc:a", &A())]);
    let mut params = leaf_named("a");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(who(&gate, &[&ca.issue(&params)]), Err(CertificateRefusal::WrongUsage));
    params.extended_key_usages.clear();
    assert_eq!(
        who(&gate, &[&ca.issue(&params)]).as_deref(),
        Ok("svc:a"),
        "no usage is any usage"
    );
}

#[test]
fn a_leaf_may_not_issue_and_a_ca_may_not_be_a_leaf() {
    let ca = Ca::root("CA");
    let gate = gate(&[("ca", ca.provider())], &[("svc:a", &A())]);
    let fake = ca.under("Fake", |params| params.is_ca = IsCa::NoCa);
    let issued = fake.issue(&leaf_named("a"));
    assert_eq!(who(&gate, &[&issued, &fake.der()]), Err(CertificateRefusal::Untrusted));
    let mut params = leaf_named("a");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(who(&gate, &[&ca.issue(&params)]), Err(CertificateRefusal::Untrusted));
}

#[test]
fn path_length_and_name_constraints_hold() {
    let root = Ca::root("Root");
    let gate = gate(&[("ca", root.provider())], &[("svc:a", &A())]);
    let short = root.under("Short", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    });
    let long = short.under("Long", |_| {});
    let chain = [&long.issue(&leaf_named("a")), &long.der(), &short.der()];
    assert_eq!(who(&gate, &chain), Err(CertificateRefusal::Untrusted));
    let narrow = root.under("Narrow", |params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("inside.example".into())];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees,
            excluded_subtrees: Vec::new(),
        });
    });
    let params = |name| {
        let mut params = leaf_with(&[dns(name)]);
        params.distinguished_name = common_name("a");
        params
    };
    let inside = narrow.issue(&params("x.inside.example"));
    let outside = narrow.issue(&params("x.outside.example"));
    assert_eq!(who(&gate, &[&inside, &narrow.der()]).as_deref(), Ok("svc:a"));
    assert_eq!(
        who(&gate, &[&outside, &narrow.der()]),
        Err(CertificateRefusal::Untrusted)
    );
}

#[test]
fn a_pin_needs_no_chain_no_usage_and_no_end_entity() {
    let key = KeyPair::generate().unwrap();
    let mut params = leaf();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let other = Ca::root("CA");
    let gate = gate(
        &[("ca", other.provider())],
        &[("svc:a", &[by_fingerprint(&certificate)])],
    );
    assert_eq!(who(&gate, &[&certificate]).as_deref(), Ok("svc:a"));
    assert_eq!(
        who_at(&gate, &[&certificate], Day(2027, 1, 1)),
        Err(CertificateRefusal::Expired)
    );
    let same_key = leaf_named("x").self_signed(&key).unwrap().der().clone();
    assert_eq!(
        who(&gate, &[&same_key]),
        Err(CertificateRefusal::Untrusted),
        "the pin is of the certificate"
    );
}

/// `openssl req -new -subj /CN=a`, then `openssl x509 -req -signkey ...`: version 1, from November 2026 for ten years.
const VERSION_1: &str = "MIH/MIGmAgEBMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAWEwHhcNMjYxMTIzMDk1\
    NDQyWhcNMzYxMTIwMDk1NDQyWjAMMQowCAYDVQQDDAFhMFkwEwYHKoZIzj0CAQYI\
    KoZIzj0DAQcDQgAEAGaT9JmYsZ1VuzYcEqZlBHnSu66b0j4cP7SdzprxRftJ/Sly\
    41BPK//vTlV5y+u23DT4TrtR2Tk0ffDSNmBVJTAKBggqhkjOPQQDAgNIADBFAiEA\
    kHWQICjb2ksbHIpomRn7xHU3LIcmclqdP4jjW9lb8A4CIErvlL5s9XXjlBgEh65n\
    GGbq4GwRBeNZbh7vfFrPyYOP";

#[test]
fn a_version_1_certificate_is_good_for_a_pin_alone() {
    let certificate = Der::from(base64::engine::general_purpose::STANDARD.decode(VERSION_1).unwrap());
    let facts = CertificateFacts::read(&certificate).unwrap();
    assert_eq!(
        (facts.common_names, facts.serial),
        (vec!["a".to_owned()], "01".to_owned())
    );
    let day = Day(2027, 1, 1);
    let pinned = gate(&[], &[("svc:a", &[IdentityKey::PublicKey(facts.public_key)])]);
    assert_eq!(who_at(&pinned, &[&certificate], day).as_deref(), Ok("svc:a"));
    let ca = CertificateAuthority {
        roots: vec![certificate.to_vec()],
        ..Ca::root("CA").provider()
    };
    let named = gate(&[("ca", ca)], &[("svc:a", &A())]);
    assert_eq!(who_at(&named, &[&certificate], day), Err(CertificateRefusal::Untrusted));
}

#[test]
fn garbage_is_malformed() {
    let ca = Ca::root("CA");
    let gate = gate(&[("ca", ca.provider())], &[("svc:a", &A())]);
    let good = ca.issue(&leaf_named("a"));
    assert_eq!(
        judged(&gate, &[], TODAY.utc()).err(),
        Some(CertificateRefusal::Malformed)
    );
    let trailing = Der::from([good.as_ref(), &[0]].concat());
    let huge = Der::from(vec![0x30; 100_000]);
    for bad in [Der::from(Vec::new()), Der::from(b"garbage".to_vec()), trailing, huge] {
        assert_eq!(who(&gate, &[&bad]), Err(CertificateRefusal::Malformed));
        assert_eq!(
            who(&gate, &[&good, &bad]).as_deref(),
            Ok("svc:a"),
            "beside a good one it is nothing"
        );
    }
    assert_eq!(who(&gate, &[&good; 11]), Err(CertificateRefusal::Malformed), "too many");
}

#[test]
fn a_chain_does_not_drown_in_what_comes_with_it() {
    let root = Ca::root("CA");
    let gate = gate(&[("ca", root.provider())], &[("svc:a", &A())]);
    let strangers: Vec<Der> = (0..9)
        .map(|_| Ca::root("Elsewhere").under("CA", |_| {}).der())
        .collect();
    let good = root.issue(&leaf_named("a"));
    let chain: Vec<&Der> = [&good].into_iter().chain(&strangers).collect();
    assert_eq!(who(&gate, &chain).as_deref(), Ok("svc:a"));
}

#[test]
fn content_changes_with_what_it_is_about() {
    let (ca, other) = (Ca::root("CA"), Ca::root("Other"));
    let trust = |provider| Trust::of(&gate(&[("ca", provider)], &[]).snapshot).unwrap();
    let base = trust(ca.provider());
    assert_eq!(base.content(), trust(ca.provider()).content());
    let crl = ca.crl(Day(2025, 12, 1), Day(2026, 2, 1), &[]);
    let mut aged = ca.provider();
    aged.crl_max_age = Some(60);
    for changed in [
        other.provider(),
        ca.with_crls(CrlMode::Optional, vec![crl]),
        ca.with_crls(CrlMode::Required, vec![]),
        aged,
    ] {
        assert_ne!(base.content(), trust(changed).content());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_get_an_answer(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::fuzz_chain(&data);
    }

    #[test]
    fn a_damaged_certificate_gets_an_answer(at in 0usize..400, to in any::<u8>(), cut in any::<bool>()) {
        let (gate, certificate) = damaged_test_gate();
        let mut bytes = certificate.to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        let changed = bytes != certificate.as_ref();
        fuzz::fuzz_chain(&framed(&[&bytes, certificate]));
        let answer = examine(&gate.trust, &[Der::from(bytes)], TODAY.utc());
        prop_assert!(!changed || answer.is_err() || answer.unwrap().validated_by().is_empty());
    }
}

fn framed(chain: &[&[u8]]) -> Vec<u8> {
    let frame = |der: &&[u8]| [&u16::try_from(der.len()).unwrap().to_be_bytes(), *der].concat();
    chain.iter().flat_map(frame).collect()
}

fn damaged_test_gate() -> &'static (crate::in_force::InForce, Der) {
    static GATE: std::sync::OnceLock<(crate::in_force::InForce, Der)> = std::sync::OnceLock::new();
    GATE.get_or_init(|| {
        let ca = Ca::root("CA");
        let certificate = ca.issue(&leaf_with(&[uri("spiffe://corp/a"), dns("a.example")]));
        (gate(&[("ca", ca.provider())], &[]), certificate)
    })
}
