//! What time does to a session at the end of its token, and behind the end of its certificate where the grant lets it go on.

use postern_policy::model::{
    Access, CrlMode, Grant, Identity, KeySource, Method, Model, OnExpiry, Provider, TokenIssuer, Transport,
};

use super::conversation::*;
use super::tokens::{Attempting, issuer, mint, seconds, token_model};
use crate::audit::EndReason;
use crate::identity::certificate::Cache;
use crate::identity::certificate::testing::{Ca, Day, Der, by_uri, leaf_with, uri};
use crate::identity::token::testing::{NOW, claims_with, oidc};
use crate::in_force::InForce;
use crate::session::{Expiry, Passage, Standing, Verdict};
use crate::time::{Mono, Utc};

/// With nothing known from before.
fn recheck(standing: &mut Standing, policy: &InForce, at: Utc) -> Result<(), EndReason> {
    standing.recheck(policy, &mut Cache::new(0), at)
}

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Utc {
    Utc(NOW.0 + seconds * 1_000_000)
}

/// `alice` by a certificate that ends six days from now, whatever her grant says of that.
fn model(root: &Ca) -> Model {
    let mut model = super::conversation::model();
    model
        .providers
        .insert("mtls".into(), Provider::CertificateAuthority(root.provider()));
    model.identities.insert(
        "alice".into(),
        Identity {
            keys: vec![by_uri("mtls", "spiffe://corp/alice")],
            ..Identity::default()
        },
    );
    model.authentication[0].method = Method::Certificate;
    model.authentication[0].transport = Transport::Tls;
    model.grants.get_mut("alice-app").expect("the grant").on_expiry = OnExpiry::Ignore;
    model
}

/// NOW is the 23rd of November; the certificate is valid to the 29th.
fn card(root: &Ca) -> Der {
    let mut params = leaf_with(&[uri("spiffe://corp/alice")]);
    params.not_after = rcgen::date_time_ymd(2026, 11, 29);
    root.issue(&params)
}

fn session(model: &Model, card: Option<&Der>, token: Option<&str>) -> Box<Passage> {
    let mut attempting = Attempting::new(model, card.map(|card| &**card));
    if let Some(token) = token {
        attempting = attempting.show(token);
    }
    let Attempting { mut conversation, .. } = attempting;
    conversation.connected();
    conversation.server(&server_greeting());
    conversation.passage.expect("a session")
}

/// A session of a token that expires so many seconds from now, of an issuer with half a minute of clock skew.
fn session_of(model: &Model, expires: i64) -> Box<Passage> {
    let token = mint().token(claims_with("exp", seconds(expires)));
    session(model, None, Some(&token))
}

fn with_skew(clock_skew: u32) -> Model {
    let mut model = token_model(Method::Token);
    issuer(&mut model).clock_skew = clock_skew;
    model.grants.get_mut("alice-app").expect("the grant").expiry_notice = Some(10);
    model
}

#[test]
fn a_window_ends_a_session_whose_certificate_has_ended_before() {
    let root = Ca::root("corp");
    let mut model = model(&root);
    let grant = model.grants.get_mut("alice-app").expect("the grant");
    grant.conditions.not_after = Some(at(8 * DAY));
    let mut standing = session(&model, Some(&card(&root)), None).standing;
    let policy = in_force(&model, 1);
    assert_eq!(
        recheck(&mut standing, &policy, at(7 * DAY)),
        Ok(()),
        "its end is ignored"
    );
    assert_eq!(standing.recheck_at, Some(at(8 * DAY)), "the window's is not");
    assert_eq!(
        recheck(&mut standing, &policy, at(8 * DAY)),
        Err(EndReason::WindowEnded)
    );
}

/// The token's end, however early, does not stop the clock for what else is judged of the certificate.
#[test]
fn a_revocation_list_grows_old_behind_the_end_of_the_token() {
    let root = Ca::root("corp");
    let mut model = model(&root);
    let crl = root.crl(Day(2026, 11, 20), Day(2026, 11, 25), &[]);
    let authority = root.with_crls(CrlMode::Required, vec![crl]);
    model
        .providers
        .insert("mtls".into(), Provider::CertificateAuthority(authority));
    let issuer = TokenIssuer {
        keys: KeySource::Inline(mint().jwks()),
        ..oidc()
    };
    model.providers.insert("corp".into(), Provider::Tokens(issuer));
    let subject = postern_policy::model::IdentityKey::Subject {
        provider: "corp".into(),
        pattern: "alice".into(),
    };
    model.identities.get_mut("alice").expect("alice").keys.push(subject);
    model.authentication[0].method = Method::CertificateAndToken;
    let token = mint().token(claims_with("exp", seconds(300)));
    let mut standing = session(&model, Some(&card(&root)), Some(&token)).standing;
    let policy = in_force(&model, 1);
    assert_eq!(recheck(&mut standing, &policy, at(DAY)), Ok(()));
    assert_eq!(
        recheck(&mut standing, &policy, at(3 * DAY)),
        Err(EndReason::ProofExpired)
    );
}

/// Whoever is let in behind `exp`, since clocks differ, is not put out at once: the same moment ends both.
#[test]
fn a_token_that_lets_in_late_ends_its_session_as_late() {
    let model = with_skew(30);
    let mut standing = session_of(&model, -10).standing;
    assert_eq!(standing.proof_ends(), Some(at(20)));
    let policy = in_force(&model, 1);
    assert_eq!(recheck(&mut standing, &policy, Utc(at(20).0 - 1)), Ok(()));
    assert_eq!(standing.expiry(Utc(at(10).0 - 1)), None);
    assert_eq!(standing.expiry(at(10)), Some(Expiry::Notice(at(20))));
    assert_eq!(recheck(&mut standing, &policy, at(20)), Err(EndReason::ProofExpired));
}

#[test]
fn another_clock_skew_moves_the_end_of_a_session() {
    let mut standing = session_of(&with_skew(30), 60).standing;
    assert_eq!(recheck(&mut standing, &in_force(&with_skew(5), 2), NOW), Ok(()));
    assert_eq!(standing.proof_ends(), Some(at(65)));
    let policy = in_force(&with_skew(0), 3);
    assert_eq!(recheck(&mut standing, &policy, Utc(at(60).0 - 1)), Ok(()));
    assert_eq!(recheck(&mut standing, &policy, at(60)), Err(EndReason::ProofExpired));
}

/// A session is told its settings once, at its start, and so is its server that it may only read.
#[test]
fn a_grant_of_another_effect_ends_the_session_and_one_of_the_same_does_not() {
    let model = with_skew(30);
    let changed = |change: &dyn Fn(&mut Grant)| {
        let mut passage = session_of(&model, 600);
        let mut model = model.clone();
        let mut grant = model.grants.remove("alice-app").expect("the grant");
        change(&mut grant);
        model.grants.insert("another".into(), grant);
        let known = &mut Cache::new(0);
        let judged = passage.recheck(&in_force(&model, 2), known, NOW);
        judged.map(|()| passage.standing.terms.grant.to_string())
    };
    assert_eq!(changed(&|_| {}), Ok("another".to_owned()));
    let changes: [&dyn Fn(&mut Grant); 2] = [&|grant| grant.access = Access::ReadOnly, &|grant| {
        grant.settings.insert("search_path".into(), "app".into());
    }];
    for change in changes {
        assert_eq!(changed(change), Err(EndReason::PolicyChanged));
    }
}

/// What the end of a proof has begun the policy may take back, or have otherwise.
#[test]
fn what_the_end_of_a_proof_means_may_change_behind_it() {
    const QUERY: &[u8] = b"Q\0\0\0\x0dselect 1\0";
    let meaning = |on_expiry| {
        let mut model = with_skew(0);
        model.grants.get_mut("alice-app").expect("the grant").on_expiry = on_expiry;
        model
    };
    let mut passage = session_of(&meaning(OnExpiry::RefuseNew), 60);
    assert_eq!(passage.standing.expiry(at(60)), Some(Expiry::RefuseNew));
    passage.refuse_new();
    assert_eq!(passage.handle_client(Mono(0), QUERY), Verdict::Refuse);
    let known = &mut Cache::new(0);
    let finish = in_force(&meaning(OnExpiry::FinishTransaction), 2);
    assert_eq!(passage.recheck(&finish, known, at(61)), Ok(()));
    assert_eq!(passage.standing.expiry(at(61)), Some(Expiry::FinishTransaction));
    let ignore = in_force(&meaning(OnExpiry::Ignore), 3);
    assert_eq!(passage.recheck(&ignore, known, at(62)), Ok(()));
    assert_eq!(passage.standing.expiry(at(62)), None);
    assert_eq!(passage.handle_client(Mono(0), QUERY), Verdict::Forward);
}

/// As of a token: the end of a certificate is what the grant makes of it, and is told ahead.
#[test]
fn the_end_of_a_certificate_ends_its_session_as_the_grant_says() {
    let root = Ca::root("corp");
    let end = Utc(Day(2026, 11, 29).utc().0 + 1_000_000);
    for (on_expiry, step) in [
        (OnExpiry::Ignore, None),
        (OnExpiry::RefuseNew, Some(Expiry::RefuseNew)),
        (OnExpiry::FinishTransaction, Some(Expiry::FinishTransaction)),
        (OnExpiry::Terminate, None),
    ] {
        let mut model = model(&root);
        let grant = model.grants.get_mut("alice-app").expect("the grant");
        grant.on_expiry = on_expiry;
        grant.expiry_notice = (on_expiry != OnExpiry::Ignore).then_some(60);
        let mut standing = session(&model, Some(&card(&root)), None).standing;
        assert_eq!(standing.proof_ends(), Some(end));
        let early = Utc(end.0 - 60_000_000);
        let notice = (on_expiry != OnExpiry::Ignore).then_some(Expiry::Notice(end));
        assert_eq!(standing.expiry(Utc(early.0 - 1)), None);
        assert_eq!(standing.expiry(early), notice);
        assert_eq!(standing.expiry(Utc(end.0 - 1)), None);
        let gone = on_expiry == OnExpiry::Terminate;
        let policy = in_force(&model, 1);
        let judged = recheck(&mut standing, &policy, end);
        assert_eq!(judged.err(), gone.then_some(EndReason::ProofExpired), "{on_expiry:?}");
        assert_eq!(standing.expiry(end), step, "{on_expiry:?}");
    }
}
