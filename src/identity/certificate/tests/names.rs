//! Which names of a certificate count, and for whom.

use postern_policy::model::IdentityKey;
use rcgen::{DnType, DnValue, KeyPair};

use crate::identity::certificate::testing::*;
use crate::identity::certificate::{CertificateFacts, CertificateRefusal};

#[test]
fn each_kind_of_key_names_its_identity() {
    let ca = Ca::root("CA");
    let mut params = leaf_with(&[uri("spiffe://corp/ns/prod/sa/billing"), dns("Billing.example")]);
    params.distinguished_name = common_name("billing");
    let certificate = ca.issue(&params);
    let facts = CertificateFacts::read(&certificate).unwrap();
    let keys = [
        by_fingerprint(&certificate),
        IdentityKey::PublicKey(facts.public_key),
        by_uri("ca", "spiffe://corp/ns/prod/sa/billing"),
        by_uri("ca", "spiffe://corp/ns/*/sa/billing"),
        by_dns("ca", "billing.example"),
        by_common_name("ca", "billing"),
    ];
    for key in &keys {
        let gate = gate(&[("ca", ca.provider())], &[("svc:billing", std::slice::from_ref(key))]);
        assert_eq!(who(&gate, &[&certificate]).as_deref(), Ok("svc:billing"), "{key:?}");
    }
    let gate = gate(&[("ca", ca.provider())], &[("svc:billing", &keys)]);
    assert_eq!(who(&gate, &[&certificate]).as_deref(), Ok("svc:billing"), "all at once");
}

#[test]
fn the_key_of_a_pin_is_that_of_any_certificate_for_it() {
    let (old, new) = (Ca::root("CA"), Ca::root("CA"));
    let key = KeyPair::generate().unwrap();
    let facts = CertificateFacts::read(&old.issue_for(&leaf(), &key)).unwrap();
    let gate = gate(&[], &[("svc:a", &[IdentityKey::PublicKey(facts.public_key)])]);
    assert_eq!(who(&gate, &[&new.issue_for(&leaf(), &key)]).as_deref(), Ok("svc:a"));
    assert_eq!(who(&gate, &[&new.issue(&leaf())]), Err(CertificateRefusal::Unknown));
}

#[test]
fn the_same_name_under_another_ca_is_nobody() {
    let (ours, theirs) = (Ca::root("Ours"), Ca::root("Theirs"));
    let providers = [("ours", ours.provider()), ("theirs", theirs.provider())];
    let gate = gate(&providers, &[("svc:billing", &[by_common_name("ours", "billing")])]);
    let params = leaf_named("billing");
    assert_eq!(who(&gate, &[&ours.issue(&params)]).as_deref(), Ok("svc:billing"));
    assert_eq!(who(&gate, &[&theirs.issue(&params)]), Err(CertificateRefusal::Unknown));
}

#[test]
fn a_ca_of_the_same_name_with_another_key_vouches_for_nothing() {
    let (ours, forged) = (Ca::root("CA"), Ca::root("CA"));
    let gate = gate(
        &[("ca", ours.provider())],
        &[("svc:billing", &[by_common_name("ca", "billing")])],
    );
    let certificate = forged.issue(&leaf_named("billing"));
    assert_eq!(
        who(&gate, &[&certificate, &forged.der()]),
        Err(CertificateRefusal::Untrusted)
    );
}

#[test]
fn two_uris_are_no_name() {
    let ca = Ca::root("CA");
    let identities: &[(&str, &[IdentityKey])] = &[("svc:a", &[by_uri("ca", "spiffe://corp/a")])];
    let gate = gate(&[("ca", ca.provider())], identities);
    let one = ca.issue(&leaf_with(&[uri("spiffe://corp/a")]));
    assert_eq!(who(&gate, &[&one]).as_deref(), Ok("svc:a"));
    for second in ["spiffe://corp/b", "https://corp/b"] {
        let two = ca.issue(&leaf_with(&[uri("spiffe://corp/a"), uri(second)]));
        assert_eq!(who(&gate, &[&two]), Err(CertificateRefusal::Unknown), "{second}");
    }
}

#[test]
fn two_common_names_are_no_name() {
    let ca = Ca::root("CA");
    let gate = gate(&[("ca", ca.provider())], &[("svc:a", &[by_common_name("ca", "a")])]);
    let mut params = leaf_named("a");
    params.distinguished_name.push(another_common_name(), "b");
    let two = ca.issue(&params);
    assert_eq!(CertificateFacts::read(&two).unwrap().common_names, ["a", "b"]);
    assert_eq!(who(&gate, &[&two]), Err(CertificateRefusal::Unknown));
}

#[test]
fn a_name_that_cannot_be_read_takes_its_kind_with_it() {
    let mut params = leaf_named("a");
    let unreadable = DnValue::UniversalString("b".try_into().unwrap());
    params.distinguished_name.push(another_common_name(), unreadable);
    let facts = CertificateFacts::read(&Ca::root("CA").issue(&params)).unwrap();
    assert_eq!(facts.common_names, Vec::<String>::new());
}

/// rcgen keeps one value per type; the same type by its number is another to it.
fn another_common_name() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 3])
}

#[test]
fn a_spiffe_id_counts_within_the_trust_domain_alone() {
    let ca = Ca::root("CA");
    let mut elsewhere = ca.provider();
    elsewhere.trust_domains = ["other".to_owned()].into();
    let keys: &[(&str, &[IdentityKey])] = &[("svc:a", &[by_uri("ca", "spiffe://corp/*")])];
    let certificate = ca.issue(&leaf_with(&[uri("spiffe://corp/a")]));
    assert_eq!(
        who(&gate(&[("ca", ca.provider())], keys), &[&certificate]).as_deref(),
        Ok("svc:a")
    );
    assert_eq!(
        who(&gate(&[("ca", elsewhere)], keys), &[&certificate]),
        Err(CertificateRefusal::Unknown)
    );
}

#[test]
fn one_certificate_of_two_identities_is_nobody_s() {
    let ca = Ca::root("CA");
    let mut params = leaf_with(&[dns("a.example")]);
    params.distinguished_name = common_name("b");
    let identities: &[(&str, &[IdentityKey])] = &[
        ("svc:a", &[by_dns("ca", "a.example")]),
        ("svc:b", &[by_common_name("ca", "b")]),
    ];
    let gate = gate(&[("ca", ca.provider())], identities);
    assert_eq!(who(&gate, &[&ca.issue(&params)]), Err(CertificateRefusal::Ambiguous));
}

#[test]
fn every_provider_that_validates_is_named() {
    let ca = Ca::root("CA");
    let providers = [
        ("a", ca.provider()),
        ("b", Ca::root("Other").provider()),
        ("c", ca.provider()),
    ];
    let gate = gate(&providers, &[("svc:x", &[by_common_name("c", "x")])]);
    let judged = judged(&gate, &[&ca.issue(&leaf_named("x"))], TODAY.utc()).unwrap();
    let numbers: Vec<u32> = judged.evidence().validated_by().iter().map(|id| id.number()).collect();
    assert_eq!(numbers, [0, 2]);
}

#[test]
fn facts_are_read_as_they_stand() {
    let ca = Ca::root("The Issuer");
    let params = leaf_with(&[uri("u:1"), dns("d"), uri("u:2")]);
    let facts = CertificateFacts::read(&ca.issue(&params)).unwrap();
    assert_eq!(
        (facts.uris, facts.dns),
        (vec!["u:1".to_owned(), "u:2".to_owned()], vec!["d".to_owned()])
    );
    assert_eq!((facts.serial.as_str(), facts.issuer.as_str()), ("05", "CN=The Issuer"));
    assert_eq!(facts.not_before, Day(2025, 1, 1).utc());
    assert_eq!(facts.expires.0, Day(2026, 12, 31).utc().0 + 1_000_000);
}
