//! CRLs: required, optional, missing, stale, of another CA.

use postern_policy::model::{CertificateAuthority, CrlMode, IdentityKey};
use rcgen::{SerialNumber, date_time_ymd};

use crate::identity::certificate::CertificateRefusal;
use crate::identity::certificate::testing::*;
use crate::time::Utc;

const A: fn() -> [IdentityKey; 1] = || [by_common_name("ca", "a")];
const DECEMBER: Day = Day(2025, 12, 1);
const FEBRUARY: Day = Day(2026, 2, 1);
/// The serial number of every leaf here.
const LEAF: u8 = 5;

fn answer(provider: CertificateAuthority, chain: &[&Der]) -> Result<String, CertificateRefusal> {
    who(&gate(&[("ca", provider)], &[("svc:a", &A())]), chain)
}

#[test]
fn a_revoked_certificate_is_out_in_either_mode() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    for mode in [CrlMode::Optional, CrlMode::Required] {
        let with = |revoked: &[u8]| ca.with_crls(mode, vec![ca.crl(DECEMBER, FEBRUARY, revoked)]);
        assert_eq!(answer(with(&[4, 6]), &[&certificate]).as_deref(), Ok("svc:a"));
        assert_eq!(
            answer(with(&[4, LEAF]), &[&certificate]),
            Err(CertificateRefusal::Revoked)
        );
    }
}

#[test]
fn a_missing_crl_matters_where_one_is_required() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let other = Ca::root("Other").crl(DECEMBER, FEBRUARY, &[]);
    for crls in [vec![], vec![other]] {
        assert_eq!(
            answer(ca.with_crls(CrlMode::Optional, crls.clone()), &[&certificate]).as_deref(),
            Ok("svc:a")
        );
        let refused = answer(ca.with_crls(CrlMode::Required, crls), &[&certificate]);
        assert_eq!(refused, Err(CertificateRefusal::CrlMissing));
    }
}

#[test]
fn a_stale_crl_matters_where_one_is_required() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let stale = ca.crl(Day(2025, 11, 1), DECEMBER, &[]);
    assert_eq!(
        answer(ca.with_crls(CrlMode::Optional, vec![stale.clone()]), &[&certificate]).as_deref(),
        Ok("svc:a")
    );
    let required = ca.with_crls(CrlMode::Required, vec![stale.clone()]);
    assert_eq!(answer(required, &[&certificate]), Err(CertificateRefusal::CrlStale));
    let fresh = ca.crl(DECEMBER, FEBRUARY, &[]);
    for crls in [vec![stale.clone(), fresh.clone()], vec![fresh, stale]] {
        assert_eq!(
            answer(ca.with_crls(CrlMode::Required, crls), &[&certificate]).as_deref(),
            Ok("svc:a")
        );
    }
}

#[test]
fn a_stale_crl_still_revokes() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    for mode in [CrlMode::Optional, CrlMode::Required] {
        let stale = ca.crl(Day(2025, 11, 1), DECEMBER, &[LEAF]);
        assert_eq!(
            answer(ca.with_crls(mode, vec![stale]), &[&certificate]),
            Err(CertificateRefusal::Revoked)
        );
    }
}

#[test]
fn the_newest_crl_decides() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let held = ca.crl(Day(2025, 11, 1), FEBRUARY, &[LEAF]);
    let released = ca.crl(DECEMBER, FEBRUARY, &[]);
    for crls in [vec![held.clone(), released.clone()], vec![released, held]] {
        assert_eq!(
            answer(ca.with_crls(CrlMode::Optional, crls), &[&certificate]).as_deref(),
            Ok("svc:a")
        );
    }
}

#[test]
fn a_crl_has_an_age_beside_its_own_end() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let days = |days: u32| days * 24 * 60 * 60;
    let required = |age| CertificateAuthority {
        crl_max_age: Some(age),
        ..ca.with_crls(CrlMode::Required, vec![ca.crl(DECEMBER, FEBRUARY, &[])])
    };
    let gate_with = |age| gate(&[("ca", required(age))], &[("svc:a", &A())]);
    assert_eq!(
        who(&gate_with(days(31)), &[&certificate]),
        Err(CertificateRefusal::CrlStale),
        "exactly its age"
    );
    let judged = judged(&gate_with(days(32)), &[&certificate], TODAY.utc()).unwrap();
    assert_eq!(judged.recheck_at(), Day(2026, 1, 2).utc());
}

#[test]
fn the_end_of_a_crl_is_a_moment_to_look_again_where_one_is_required() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let at = |mode| {
        let provider = ca.with_crls(mode, vec![ca.crl(DECEMBER, FEBRUARY, &[])]);
        let gate = gate(&[("ca", provider)], &[("svc:a", &A())]);
        let judged = judged(&gate, &[&certificate], TODAY.utc()).unwrap();
        (judged.recheck_at(), judged.expires())
    };
    assert_eq!(at(CrlMode::Required).0, FEBRUARY.utc());
    let (recheck_at, expires) = at(CrlMode::Optional);
    assert_eq!(recheck_at, expires);
}

#[test]
fn the_earliest_of_all_ends_is_the_moment_to_look_again() {
    let root = Ca::root("Root");
    for (middle_ends, crl_ends) in [(Day(2026, 1, 15), FEBRUARY), (Day(2026, 2, 15), FEBRUARY)] {
        let middle = root.under("Middle", |params| {
            params.not_after = date_time_ymd(middle_ends.0, middle_ends.1, middle_ends.2)
        });
        let crls = vec![
            root.crl(DECEMBER, crl_ends, &[]),
            middle.crl(DECEMBER, Day(2026, 3, 1), &[]),
        ];
        let gate = gate(&[("ca", root.with_crls(CrlMode::Required, crls))], &[("svc:a", &A())]);
        let judged = judged(&gate, &[&middle.issue(&leaf_named("a")), &middle.der()], TODAY.utc()).unwrap();
        let after_middle = Utc(middle_ends.utc().0 + 1_000_000);
        assert_eq!(judged.recheck_at(), after_middle.min(crl_ends.utc()));
    }
}

#[test]
fn one_ca_s_crl_says_nothing_of_another_s_certificates() {
    let (ours, theirs) = (Ca::root("Ours"), Ca::root("Theirs"));
    let required = theirs.with_crls(CrlMode::Required, vec![theirs.crl(DECEMBER, FEBRUARY, &[LEAF])]);
    let gate = gate(&[("ca", ours.provider()), ("theirs", required)], &[("svc:a", &A())]);
    assert_eq!(who(&gate, &[&ours.issue(&leaf_named("a"))]).as_deref(), Ok("svc:a"));
}

#[test]
fn nor_does_that_of_a_ca_with_the_same_name() {
    let (ours, theirs) = (Ca::root("CA"), Ca::root("CA"));
    let revoking = theirs.with_crls(CrlMode::Optional, vec![theirs.crl(DECEMBER, FEBRUARY, &[LEAF])]);
    let gate = gate(&[("ca", ours.provider()), ("theirs", revoking)], &[("svc:a", &A())]);
    assert_eq!(who(&gate, &[&ours.issue(&leaf_named("a"))]).as_deref(), Ok("svc:a"));
}

#[test]
fn a_ca_that_changed_its_key_has_two_crls_under_one_name() {
    let (old, new) = (Ca::root("CA"), Ca::root("CA"));
    let both = |mode, by_old: &[u8], by_new: &[u8]| CertificateAuthority {
        roots: vec![old.der().to_vec(), new.der().to_vec()],
        ..old.with_crls(
            mode,
            vec![old.crl(DECEMBER, FEBRUARY, by_old), new.crl(DECEMBER, FEBRUARY, by_new)],
        )
    };
    let (from_old, from_new) = (old.issue(&leaf_named("a")), new.issue(&leaf_named("a")));
    for mode in [CrlMode::Optional, CrlMode::Required] {
        for (certificate, only_this, only_that) in [
            (&from_old, both(mode, &[LEAF], &[]), both(mode, &[], &[LEAF])),
            (&from_new, both(mode, &[], &[LEAF]), both(mode, &[LEAF], &[])),
        ] {
            assert_eq!(answer(only_this, &[certificate]), Err(CertificateRefusal::Revoked));
            assert_eq!(answer(only_that, &[certificate]).as_deref(), Ok("svc:a"));
        }
    }
}

#[test]
fn a_crl_in_the_ca_s_name_with_another_key_is_unusable() {
    let (ca, other) = (Ca::root("CA"), Ca::root("CA"));
    let certificate = ca.issue(&leaf_named("a"));
    for mode in [CrlMode::Optional, CrlMode::Required] {
        let provider = ca.with_crls(mode, vec![other.crl(DECEMBER, FEBRUARY, &[])]);
        assert_eq!(answer(provider, &[&certificate]), Err(CertificateRefusal::CrlUnusable));
    }
}

#[test]
fn a_revoked_intermediate_takes_its_certificates_with_it() {
    let root = Ca::root("Root");
    let middle = root.under("Middle", |params| {
        params.serial_number = Some(SerialNumber::from_slice(&[9]))
    });
    let certificate = middle.issue(&leaf_named("a"));
    let chain = [&certificate, &middle.der()];
    let with = |mode, crls| answer(root.with_crls(mode, crls), &chain);
    let (roots, middles) = (root.crl(DECEMBER, FEBRUARY, &[]), middle.crl(DECEMBER, FEBRUARY, &[]));
    assert_eq!(
        with(CrlMode::Required, vec![roots.clone(), middles.clone()]).as_deref(),
        Ok("svc:a")
    );
    assert_eq!(
        with(CrlMode::Required, vec![roots]),
        Err(CertificateRefusal::CrlMissing),
        "the leaf's issuer has none"
    );
    assert_eq!(
        with(CrlMode::Required, vec![middles]),
        Err(CertificateRefusal::CrlMissing),
        "nor the intermediate's"
    );
    let revoking = root.crl(DECEMBER, FEBRUARY, &[9]);
    assert_eq!(
        with(CrlMode::Optional, vec![revoking]),
        Err(CertificateRefusal::Revoked)
    );
}

#[test]
fn a_pin_does_not_outweigh_revocation() {
    let root = Ca::root("Root");
    let middle = root.under("Middle", |_| {});
    let (direct, below) = (root.issue(&leaf_named("a")), middle.issue(&leaf_named("a")));
    let crls = |revoked: &[u8]| {
        vec![
            root.crl(DECEMBER, FEBRUARY, revoked),
            middle.crl(DECEMBER, FEBRUARY, revoked),
        ]
    };
    let keys = [by_fingerprint(&direct), by_fingerprint(&below)];
    let pinned = |provider| gate(&[("ca", provider)], &[("svc:a", &keys)]);
    let middle_der = middle.der();
    let chains: [&[&Der]; 3] = [&[&direct], &[&below, &middle_der], &[&below]];
    for chain in chains {
        let clean = pinned(root.with_crls(CrlMode::Required, crls(&[])));
        assert_eq!(who(&clean, chain).as_deref(), Ok("svc:a"));
        let revoking = pinned(root.with_crls(CrlMode::Optional, crls(&[LEAF])));
        assert_eq!(
            who(&revoking, chain),
            Err(CertificateRefusal::Revoked),
            "chain of {}",
            chain.len()
        );
    }
    let without = pinned(root.with_crls(CrlMode::Required, vec![]));
    assert_eq!(who(&without, &[&direct]), Err(CertificateRefusal::CrlMissing));
}

/// An expired twin of the CA, which anybody can make, must not turn "revoked" into "not one of ours".
#[test]
fn nothing_presented_beside_it_hides_revocation() {
    let ca = Ca::root("CA");
    let twin = Ca::root("CA").under("CA", |params| params.not_after = date_time_ymd(2000, 1, 1));
    let certificate = ca.issue(&leaf_named("a"));
    let pinned = |provider| gate(&[("ca", provider)], &[("svc:a", &[by_fingerprint(&certificate)])]);
    let chain = [&certificate, &twin.der()];
    let other = Ca::root("CA").crl(DECEMBER, FEBRUARY, &[]);
    let cases = [
        (
            CrlMode::Optional,
            vec![ca.crl(DECEMBER, FEBRUARY, &[LEAF])],
            CertificateRefusal::Revoked,
        ),
        (CrlMode::Required, vec![], CertificateRefusal::CrlMissing),
        (
            CrlMode::Required,
            vec![ca.crl(Day(2025, 11, 1), DECEMBER, &[])],
            CertificateRefusal::CrlStale,
        ),
        (CrlMode::Required, vec![other], CertificateRefusal::CrlUnusable),
    ];
    for (mode, crls, refusal) in cases {
        assert_eq!(who(&pinned(ca.with_crls(mode, crls)), &chain), Err(refusal));
    }
}

/// The same root under two providers: what one of them cannot say, the other may; what one has revoked is revoked.
#[test]
fn two_providers_with_one_root_each_speak_for_themselves() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let beside = |provider| gate(&[("ca", ca.provider()), ("strict", provider)], &[("svc:a", &A())]);
    let strict = beside(ca.with_crls(CrlMode::Required, vec![]));
    let judged = judged(&strict, &[&certificate], TODAY.utc()).unwrap();
    assert_eq!(judged.evidence().validated_by().len(), 1);
    let revoking = beside(ca.with_crls(CrlMode::Optional, vec![ca.crl(DECEMBER, FEBRUARY, &[LEAF])]));
    assert_eq!(who(&revoking, &[&certificate]), Err(CertificateRefusal::Revoked));
}
