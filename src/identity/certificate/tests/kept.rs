//! What is known of a chain from before: as much as an examination says now, and no longer than it would.

use std::sync::Arc;

use postern_policy::model::{CertificateAuthority, CrlMode};
use rcgen::date_time_ymd;

use crate::identity::certificate::testing::*;
use crate::identity::certificate::{Cache, CertificateRefusal, Evidence};
use crate::in_force::InForce;
use crate::time::Utc;

const PLENTY: usize = 1 << 20;

struct Desk {
    known: Cache,
    chain: Vec<Der>,
}

impl Desk {
    fn of(chain: &[&Der]) -> Self {
        Self {
            known: Cache::new(PLENTY),
            chain: chain.iter().copied().cloned().collect(),
        }
    }

    fn examine(&mut self, gate: &InForce, now: Utc) -> Result<Arc<Evidence>, CertificateRefusal> {
        self.known.examine(&gate.trust, &self.chain, now)
    }
}

fn same(one: &Arc<Evidence>, other: &Arc<Evidence>) -> bool {
    Arc::ptr_eq(one, other)
}

fn later(moment: Utc, micros: i64) -> Utc {
    Utc(moment.0 + micros)
}

#[test]
fn a_chain_is_examined_once() {
    let ca = Ca::root("CA");
    let certificate = ca.issue(&leaf_named("a"));
    let gate = gate(&[("ca", ca.provider())], &[]);
    let mut desk = Desk::of(&[&certificate]);
    let first = desk.examine(&gate, TODAY.utc()).unwrap();
    assert!(same(&desk.examine(&gate, later(TODAY.utc(), 1)).unwrap(), &first));
    desk.chain.push(ca.der());
    assert!(
        !same(&desk.examine(&gate, TODAY.utc()).unwrap(), &first),
        "another chain"
    );
}

#[test]
fn until_time_can_change_the_answer() {
    let root = Ca::root("Root");
    let middle = root.under("Middle", |params| params.not_after = date_time_ymd(2026, 3, 1));
    let gate = gate(&[("ca", root.provider())], &[]);
    let mut desk = Desk::of(&[&middle.issue(&leaf_named("a")), &middle.der()]);
    let first = desk.examine(&gate, TODAY.utc()).unwrap();
    let end = first.recheck_at();
    assert!(same(&desk.examine(&gate, later(end, -1)).unwrap(), &first));
    // The leaf is good still, and nobody vouches for it.
    assert!(desk.examine(&gate, end).unwrap().validated_by().is_empty());
}

#[test]
fn a_clock_that_was_set_back_has_it_examined_again() {
    let ca = Ca::root("CA");
    let gate = gate(&[("ca", ca.provider())], &[]);
    let mut desk = Desk::of(&[&ca.issue(&leaf_named("a"))]);
    desk.examine(&gate, TODAY.utc()).unwrap();
    let before = desk.examine(&gate, Day(2024, 12, 31).utc());
    assert_eq!(before.err(), Some(CertificateRefusal::NotYetValid));
}

#[test]
fn another_revocation_list_or_root_has_it_examined_again() {
    let ca = Ca::root("CA");
    let mut desk = Desk::of(&[&ca.issue(&leaf())]);
    let with = |provider: CertificateAuthority| gate(&[("ca", provider)], &[]);
    let first = desk.examine(&with(ca.provider()), TODAY.utc()).unwrap();
    assert!(same(&desk.examine(&with(ca.provider()), TODAY.utc()).unwrap(), &first));
    let list = ca.crl(Day(2025, 12, 1), Day(2026, 2, 1), &[5]);
    let revoked = with(ca.with_crls(CrlMode::Optional, vec![list]));
    assert_eq!(
        desk.examine(&revoked, TODAY.utc()).err(),
        Some(CertificateRefusal::Revoked)
    );
    let elsewhere = with(Ca::root("CA").provider());
    assert!(desk.examine(&elsewhere, TODAY.utc()).unwrap().validated_by().is_empty());
}

/// Or else a stranger could put out of it what others need.
#[test]
fn what_nobody_vouches_for_is_not_kept() {
    let (ca, stranger) = (Ca::root("CA"), Ca::root("Stranger"));
    let gate = gate(&[("ca", ca.provider())], &[]);
    let mut desk = Desk::of(&[&stranger.issue(&leaf_named("a"))]);
    let first = desk.examine(&gate, TODAY.utc()).unwrap();
    assert!(!same(&desk.examine(&gate, TODAY.utc()).unwrap(), &first));
}
