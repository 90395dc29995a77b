//! What time does to a session at the end of its token, and behind the end of its certificate where the grant lets it go on.

use postern_policy::model::{CrlMode, Identity, KeySource, Method, Model, OnExpiry, Provider, TokenIssuer, Transport};

use super::conversation::*;
use super::tokens::{Attempting, issuer, mint, seconds, token_model};
use crate::audit::EndReason;
use crate::identity::certificate::Cache;
use crate::identity::certificate::testing::{Ca, Day, Der, by_uri, leaf_with, uri};
use crate::identity::token::testing::{NOW, claims_with, oidc};
use crate::in_force::InForce;
use crate::session::{Expiry, Passage, Standing};
use crate::time::Utc;

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
