//! Every way in which a token can be wrong, as password and by OAUTHBEARER, with what the client hears and what the record
//! says; and what is the same in both.

use std::sync::Arc;

use postern_policy::model::{
    ClaimTest, ClusterChoice, Glob, GroupMapping, Identity, IdentityKey, KeySource, Method, Model, Provider,
    Revocation, Transport,
};
use serde_json::{Value, json};

use super::conversation::*;
use crate::audit::{Attempt, Outcome, Reason, TlsFacts, TlsVersion, TokenProof};
use crate::identity::token::MAX_TOKEN;
use crate::identity::token::testing::{ISSUER, Mint, NOW, claims, claims_with, oidc};
use crate::session::{ClientTls, TlsMode};
use crate::wire::authentication::{self, SaslInitialResponse};
use rustls_pki_types::CertificateDer;

const PASSWORD_FAILED: (&str, &str) = ("28P01", "password authentication failed for user \"alice\"");
const OAUTH_FAILED: (&str, &str) = ("28000", "OAuth bearer authentication failed for user \"alice\"");
const NOT_GRANTED: (&str, &str) = ("28000", "access to database \"app\" is not granted to user \"alice\"");
const CHALLENGE: &str = concat!(
    r#"{"status":"invalid_token","openid-configuration":"https://idp.example/.well-known/openid-configuration","#,
    r#""scope":"openid"}"#
);

/// `alice` by the subject of a token, as password or by OAUTHBEARER.
pub fn token_model(method: Method) -> Model {
    let mut model = model();
    let rules = postern_policy::model::TokenIssuer {
        keys: KeySource::Inline(mint().jwks()),
        scope: "openid".to_owned(),
        ..oidc()
    };
    model.providers.insert("corp".into(), Provider::Tokens(rules));
    model.identities.insert(
        "alice".into(),
        Identity {
            keys: vec![subject("alice")],
            ..Identity::default()
        },
    );
    let rule = &mut model.authentication[0];
    rule.method = method;
    rule.transport = Transport::Tls;
    rule.discovery = (method == Method::OauthBearer).then(|| "corp".to_owned());
    model
}

fn subject(pattern: &str) -> IdentityKey {
    IdentityKey::Subject {
        provider: "corp".into(),
        pattern: pattern.into(),
    }
}

/// The same key for the whole process: the policy has its public half.
pub fn mint() -> Mint {
    Mint::fixed("key-1")
}

pub fn issuer(model: &mut Model) -> &mut postern_policy::model::TokenIssuer {
    match model.providers.get_mut("corp") {
        Some(Provider::Tokens(issuer)) => issuer,
        _ => panic!("the token issuer"),
    }
}

/// One attempt over TLS.
pub struct Attempting {
    pub conversation: Conversation,
    method: Method,
}

impl Attempting {
    pub fn new(model: &Model, certificate: Option<&[u8]>) -> Self {
        Self::at(World::new(model), model, certificate)
    }

    pub fn at(mut world: World, model: &Model, certificate: Option<&[u8]>) -> Self {
        world.utc = NOW;
        let mut conversation = Conversation::new(world, usize::MAX, TlsMode::Require);
        let mut request = Vec::new();
        crate::wire::initial::encode_ssl_request(&mut request);
        conversation.client(&request);
        let chain = certificate.map(|der| CertificateDer::from(der.to_vec()));
        let tls = ClientTls {
            facts: TlsFacts {
                version: TlsVersion::V1_3,
                cipher: "TLS_AES_128_GCM_SHA256",
                resumed: false,
                direct: false,
            },
            alpn: false,
            chain: chain.into_iter().collect(),
            end_point: None,
        };
        conversation.gate.handle_client_tls(&conversation.world, tls);
        conversation.to_client.clear();
        conversation.drain();
        let method = model.authentication[0].method;
        conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
        Self { conversation, method }
    }

    /// Sends the token as the rule wants it, and answers a challenge as clients do.
    pub fn show(mut self, token: &str) -> Self {
        let mut message = Vec::new();
        match self.method {
            Method::OauthBearer | Method::CertificateAndOauthBearer => {
                let data = format!("n,,\x01auth=Bearer {token}\x01\x01");
                let response = SaslInitialResponse {
                    mechanism: b"OAUTHBEARER",
                    data: Some(data.as_bytes()),
                };
                response.encode(&mut message);
            }
            _ => authentication::encode_password(&mut message, token.as_bytes()),
        }
        self.conversation.client(&message);
        self.answer_challenge();
        self
    }

    /// Asks where to get a token.
    pub fn discover(mut self) -> Self {
        self.conversation
            .client(b"p\0\0\0\x1fOAUTHBEARER\0\0\0\0\x0bn,,\x01auth=\x01\x01");
        self.answer_challenge();
        self
    }

    pub fn answer_challenge(&mut self) {
        let challenge = [b"\0\0\0\x0b", CHALLENGE.as_bytes()].concat();
        let said = self.conversation.to_client.windows(challenge.len());
        if said.into_iter().any(|window| window == challenge) {
            let mut dummy = Vec::new();
            authentication::encode_sasl_response(&mut dummy, &[1]);
            self.conversation.client(&dummy);
        }
    }

    pub fn attempt(&self) -> &Attempt {
        match self.conversation.attempts.as_slice() {
            [one] => one,
            more => panic!("{} records", more.len()),
        }
    }

    fn denied(&self) -> (Reason, (String, String)) {
        let attempt = self.attempt();
        assert_eq!(attempt.outcome, Outcome::Denied, "{attempt:?}");
        assert!(self.conversation.closed && self.conversation.connects.is_empty());
        let error = self.conversation.error().expect("an error");
        assert_eq!(
            attempt.sqlstate.map(|state| state.to_vec()),
            Some(error.0.clone().into_bytes())
        );
        (attempt.reason, error)
    }
}

#[track_caller]
fn refused(model: &Model, certificate: Option<&[u8]>, token: &str, reason: Reason) {
    let method = model.authentication[0].method;
    let expected = match method {
        Method::OauthBearer => OAUTH_FAILED,
        _ => PASSWORD_FAILED,
    };
    let (found, (sqlstate, message)) = Attempting::new(model, certificate).show(token).denied();
    assert_eq!(
        (found, &*sqlstate, &*message),
        (reason, expected.0, expected.1),
        "{method:?}"
    );
}

const METHODS: [Method; 2] = [Method::Token, Method::OauthBearer];

pub fn seconds(offset: i64) -> Value {
    json!(NOW.0 / 1_000_000 + offset)
}

#[test]
fn a_good_token_lets_in() {
    for method in METHODS {
        let model = token_model(method);
        let token = mint().token(claims_with("jti", json!("t-1")));
        let attempting = Attempting::new(&model, None).show(&token);
        let attempt = attempting.attempt();
        assert_eq!(
            (attempt.outcome, attempt.reason),
            (Outcome::Permitted, Reason::Ok),
            "{method:?}"
        );
        assert_eq!(attempt.proofs.token, Some(TokenProof::Bearer));
        assert_eq!(attempt.identity.as_deref(), Some("alice"));
        let assertion = attempt.assertion.as_ref().expect("what the token says");
        assert_eq!(
            (&*assertion.provider, &assertion.subject),
            ("corp", &Some("alice".into()))
        );
        assert_eq!(assertion.token_id, Some("t-1".into()));
        assert_eq!(attempting.conversation.connects, [0]);
    }
}

#[test]
fn whatever_is_wrong_sounds_the_same() {
    let (mint, foreign) = (mint(), Mint::ed25519("key-1"));
    let header = |name: &str, value: Value| {
        let mut header = mint.header();
        header[name] = value;
        header
    };
    let cases: Vec<(&str, String, Reason)> = vec![
        ("wrong key", foreign.token(claims()), Reason::TokenSignatureInvalid),
        (
            "expired",
            mint.token(claims_with("exp", seconds(-31))),
            Reason::TokenExpired,
        ),
        (
            "not yet valid",
            mint.token(claims_with("nbf", seconds(31))),
            Reason::TokenNotYetValid,
        ),
        (
            "issued later",
            mint.token(claims_with("iat", seconds(31))),
            Reason::TokenNotYetValid,
        ),
        (
            "wrong audience",
            mint.token(claims_with("aud", json!("others"))),
            Reason::TokenWrongAudience,
        ),
        (
            "wrong issuer",
            mint.token(claims_with("iss", json!("https://other.example"))),
            Reason::TokenIssuerUnknown,
        ),
        (
            "unknown kid",
            Mint::ed25519("key-2").token(claims()),
            Reason::TokenUnknownKey,
        ),
        (
            "no expiry",
            mint.token(claims_with("exp", Value::Null)),
            Reason::TokenClaimMissing,
        ),
        (
            "unbound",
            mint.token(claims_with("cnf", json!({"x5t#S256": thumbprint(b"card")}))),
            Reason::TokenBindingMissing,
        ),
        (
            "bound otherwise",
            mint.token(claims_with("cnf", json!({"jkt": "x"}))),
            Reason::TokenBindingUnsupported,
        ),
        (
            "unknown subject",
            mint.token(claims_with("sub", json!("mallory"))),
            Reason::SubjectUnknown,
        ),
        (
            "no subject",
            mint.token(claims_with("sub", Value::Null)),
            Reason::TokenSubjectInvalid,
        ),
        (
            "none",
            mint.token_under(&header("alg", json!("none")), &claims()),
            Reason::TokenAlgorithmNotAllowed,
        ),
        (
            "HMAC",
            mint.token_under(&header("alg", json!("HS256")), &claims()),
            Reason::TokenAlgorithmNotAllowed,
        ),
        (
            "critical",
            mint.token_under(&header("crit", json!(["b64"])), &claims()),
            Reason::TokenMalformed,
        ),
        ("malformed", "no.token".to_owned(), Reason::TokenMalformed),
        ("oversize", "a".repeat(MAX_TOKEN + 1), Reason::TokenOversize),
    ];
    for method in METHODS {
        for (what, token, reason) in &cases {
            eprintln!("{method:?} {what}");
            refused(&token_model(method), None, token, *reason);
        }
    }
}

#[test]
fn what_the_policy_asks_of_a_token() {
    let token = mint().token(claims_with("iat", seconds(-120)));
    for method in METHODS {
        let mut old = token_model(method);
        issuer(&mut old).max_age = Some(60);
        refused(&old, None, &token, Reason::TokenTooOld);

        let mut typed = token_model(method);
        issuer(&mut typed).types = ["at+jwt".to_owned()].into();
        refused(&typed, None, &mint().token(claims()), Reason::TokenTypeNotAllowed);

        let mut verified = token_model(method);
        let tests = &mut issuer(&mut verified).required_claims;
        tests.insert("email_verified".into(), ClaimTest::Is(Glob("true".into())));
        refused(&verified, None, &token, Reason::TokenClaimMissing);
    }
}

#[test]
fn a_revoked_token_is_refused_by_any_of_its_names() {
    let token = mint().token(claims_with("jti", json!("t-1")));
    let revoked = |change: fn(&mut Revocation)| {
        let mut revocation = Revocation {
            provider: "corp".into(),
            ..Revocation::default()
        };
        change(&mut revocation);
        revocation
    };
    for revocation in [
        revoked(|revocation| revocation.token_ids = ["t-1".to_owned()].into()),
        revoked(|revocation| revocation.subjects = ["alice".to_owned()].into()),
        revoked(|revocation| revocation.key_ids = ["key-1".to_owned()].into()),
        revoked(|revocation| revocation.issued_before = Some(crate::time::Utc(NOW.0 + 1))),
    ] {
        for method in METHODS {
            let mut model = token_model(method);
            model.revocations.insert("stolen".into(), revocation.clone());
            refused(&model, None, &token, Reason::TokenRevoked);
            let attempting = Attempting::new(&model, None).show(&token);
            let assertion = attempting.attempt().assertion.clone().expect("whose it was");
            assert_eq!(assertion.revocation.as_deref(), Some("stolen"));
        }
    }
}

#[test]
fn a_revoked_key_stays_revoked_for_tokens_that_do_not_name_it() {
    let mint = mint();
    let token = mint.token_under(&json!({"alg": "EdDSA"}), &claims());
    for method in METHODS {
        let mut model = token_model(method);
        let attempting = Attempting::new(&model, None).show(&token);
        let assertion = attempting.attempt().assertion.clone().expect("whose it was");
        assert_eq!(
            assertion.key_id.as_ref().and_then(|id| id.as_text().ok()),
            Some("key-1")
        );
        let revocation = Revocation {
            provider: "corp".into(),
            key_ids: ["key-1".to_owned()].into(),
            ..Revocation::default()
        };
        model.revocations.insert("leaked".into(), revocation);
        refused(&model, None, &token, Reason::TokenRevoked);
    }
}

#[test]
fn a_bound_token_needs_its_certificate() {
    let token = mint().token(claims_with("cnf", json!({"x5t#S256": thumbprint(b"card")})));
    for method in METHODS {
        let mut model = token_model(method);
        model.grants.get_mut("alice-app").expect("the grant").proofs.key_bound = true;
        refused(&model, Some(b"another"), &token, Reason::TokenBindingMismatch);
        let attempting = Attempting::new(&model, Some(b"card")).show(&token);
        assert_eq!(attempting.attempt().proofs.token, Some(TokenProof::Bound));
        assert_eq!(attempting.attempt().outcome, Outcome::Permitted);
        // A token that is bound to nothing does not do.
        let attempting = Attempting::new(&model, Some(b"card")).show(&mint().token(claims()));
        let (reason, (sqlstate, message)) = attempting.denied();
        assert_eq!(
            (reason, &*sqlstate, &*message),
            (Reason::KeyBoundProofMissing, NOT_GRANTED.0, NOT_GRANTED.1)
        );
    }
}

#[test]
fn a_token_that_counts_once_counts_once() {
    for method in METHODS {
        let mut model = token_model(method);
        issuer(&mut model).one_time = true;
        refused(
            &model,
            None,
            &mint().token(claims_with("jti", Value::Null)),
            Reason::TokenIdMissing,
        );
        let token = mint().token(claims_with("jti", json!("t-1")));
        let first = Attempting::new(&model, None).show(&token);
        assert_eq!(first.attempt().outcome, Outcome::Permitted);
        let spent = first.conversation.world.spent;
        let mut world = World::new(&model);
        world.spent.clone_from(&spent);
        let (reason, _) = Attempting::at(world, &model, None).show(&token).denied();
        assert_eq!(reason, Reason::TokenReplayed);
        let mut world = World::new(&model);
        world.room_for_spent = 0;
        let (reason, _) = Attempting::at(world, &model, None).show(&token).denied();
        assert_eq!(reason, Reason::TokenReplayStoreFull);
    }
}

/// Whatever the answer waits for: whoever has a used token does not keep its owner out with it.
#[test]
fn a_token_that_does_not_count_holds_no_place() {
    for method in METHODS {
        let mut model = token_model(method);
        issuer(&mut model).one_time = true;
        model.authentication[0].answer_floor = 1_000;
        let token = mint().token(claims_with("jti", json!("t-1")));
        let first = Attempting::new(&model, None).show(&token);
        assert_eq!(first.conversation.world.places, 0, "a session has its place");
        for (room, reason) in [(usize::MAX, Reason::TokenReplayed), (0, Reason::TokenReplayStoreFull)] {
            let mut world = World::new(&model);
            if room > 0 {
                world.spent.clone_from(&first.conversation.world.spent);
            }
            world.room_for_spent = room;
            let held_back = Attempting::at(world, &model, None).show(&token);
            assert!(!held_back.conversation.closed, "the answer waits");
            assert_eq!(held_back.conversation.world.places, 1, "{reason:?}");
        }
        // Where there is no place the token is as good as before.
        let mut world = World::new(&model);
        world.places = 0;
        let late = Attempting::at(world, &model, None).show(&token);
        assert!(late.conversation.world.spent.is_empty());
        assert_eq!(late.conversation.world.places, 0);
    }
}

/// A denial behind the proof spends nothing.
#[test]
fn only_a_permit_spends_a_token() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).one_time = true;
    model.grants.clear();
    let token = mint().token(claims_with("jti", json!("t-1")));
    let attempting = Attempting::new(&model, None).show(&token);
    assert_eq!(attempting.denied().0, Reason::NoGrant);
    assert!(attempting.conversation.world.spent.is_empty());
}

#[test]
fn without_tls_nobody_is_asked_for_a_token() {
    for method in METHODS {
        let mut model = token_model(method);
        model.authentication[0].transport = Transport::Any;
        let mut conversation = Conversation::new(World::new(&model), usize::MAX, TlsMode::Allow);
        conversation.client(&startup(&[("user", "alice"), ("database", "app")]));
        assert_eq!(conversation.attempts[0].reason, Reason::TlsRequired);
        assert_eq!(conversation.error().expect("an error").0, "28000");
        assert!(!conversation.to_client.contains(&b'R'), "it was asked for something");
    }
}

/// RFC 7628, as PostgreSQL 18 speaks it: discovery with an empty `auth`, the challenge, the client's kvsep, the error.
#[test]
fn discovery_byte_for_byte() {
    let model = token_model(Method::OauthBearer);
    let mut attempting = Attempting::new(&model, None);
    let asked = std::mem::take(&mut attempting.conversation.to_client);
    assert_eq!(asked, b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0");
    attempting
        .conversation
        .client(b"p\0\0\0\x1fOAUTHBEARER\0\0\0\0\x0bn,,\x01auth=\x01\x01");
    let length = (CHALLENGE.len() as u32 + 8).to_be_bytes();
    let challenge = [b"R".as_slice(), &length, b"\0\0\0\x0b", CHALLENGE.as_bytes()].concat();
    assert_eq!(std::mem::take(&mut attempting.conversation.to_client), challenge);
    attempting.conversation.client(b"p\0\0\0\x05\x01");
    let error = "SFATAL\0VFATAL\0C28000\0MOAuth bearer authentication failed for user \"alice\"\0\0";
    let length = (error.len() as u32 + 4).to_be_bytes();
    let error = [b"E".as_slice(), &length, error.as_bytes()].concat();
    assert_eq!(attempting.conversation.to_client, error);
    let attempt = attempting.attempt();
    assert_eq!(
        (attempt.outcome, attempt.reason),
        (Outcome::Discovery, Reason::TokenDiscovery)
    );
    assert!(attempting.conversation.closed);
}

#[test]
fn a_message_that_is_none_is_told_as_postgresql_tells_it() {
    let model = token_model(Method::OauthBearer);
    for (data, sqlstate, detail) in [
        (&b"p=x,,\x01auth=\x01\x01"[..], "08P01", "channel binding"),
        (b"n,a=other,\x01auth=\x01\x01", "0A000", "authorization identity"),
        (b"n,,\x01auth=Bearer x", "08P01", "unterminated"),
    ] {
        let mut attempting = Attempting::new(&model, None);
        let mut message = Vec::new();
        let response = SaslInitialResponse {
            mechanism: b"OAUTHBEARER",
            data: Some(data),
        };
        response.encode(&mut message);
        attempting.conversation.client(&message);
        let (reason, (state, _)) = attempting.denied();
        assert_eq!((reason, &*state), (Reason::OauthbearerMalformed, sqlstate));
        let said = String::from_utf8_lossy(&attempting.conversation.to_client).into_owned();
        assert!(said.contains(detail), "{said}");
    }
}

/// Behind its first fetch an issuer has no keys; a key that it has not published yet may be fetched once.
#[test]
fn an_unknown_key_is_fetched_once() {
    for method in METHODS {
        let mut model = token_model(method);
        issuer(&mut model).keys = KeySource::Discovery;
        let token = mint().token(claims());
        // No keys at all, and none later.
        let mut attempting = Attempting::new(&model, None).show(&token);
        assert_eq!(attempting.conversation.fetches, ["corp"]);
        fetched(&mut attempting);
        assert_eq!(attempting.denied().0, Reason::ProviderUnavailable);
        // Other keys, and the right one after the fetch.
        let mut world = World::new(&model);
        world.keys.insert("corp".into(), Arc::new(Mint::es256("old").key_set()));
        let mut attempting = Attempting::at(world, &model, None).show(&token);
        assert_eq!(attempting.conversation.fetches, ["corp"]);
        let keys = Arc::new(mint().key_set());
        attempting.conversation.world.keys.insert("corp".into(), keys);
        fetched(&mut attempting);
        assert_eq!(attempting.attempt().outcome, Outcome::Permitted);
        // Still not there.
        let mut world = World::new(&model);
        world.keys.insert("corp".into(), Arc::new(Mint::es256("old").key_set()));
        let mut attempting = Attempting::at(world, &model, None).show(&token);
        fetched(&mut attempting);
        assert_eq!(attempting.denied().0, Reason::TokenUnknownKey);
        assert_eq!(attempting.conversation.fetches.len(), 1);
    }
}

fn fetched(attempting: &mut Attempting) {
    let Conversation { gate, world, .. } = &mut attempting.conversation;
    gate.handle_keys_fetched(world, true);
    attempting.conversation.drain();
    attempting.answer_challenge();
}

/// What was verified once is not verified again, but is judged again, and not after its keys have become too old.
#[test]
fn a_known_token_is_judged_again() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).keys = KeySource::Discovery;
    let mut world = World::new(&model);
    world.keys.insert("corp".into(), Arc::new(mint().key_set()));
    let token = mint().token(claims());
    let first = Attempting::at(world, &model, None).show(&token);
    assert_eq!(first.attempt().outcome, Outcome::Permitted);
    let hash = crate::identity::token::cache::hash(token.as_bytes());
    let mut tokens = first.conversation.world.tokens;
    let (kept, 1) = tokens.get(&hash, 1).expect("it was kept") else {
        panic!("other keys");
    };
    let again = |change: fn(&mut World)| {
        let mut world = World::new(&model);
        world.keys.insert("corp".into(), Arc::new(mint().key_set()));
        world.tokens.put(hash, 1, 1, kept.clone());
        let mut attempting = Attempting::at(world, &model, None);
        change(&mut attempting.conversation.world);
        attempting.show(&token)
    };
    assert_eq!(again(|_| {}).attempt().outcome, Outcome::Permitted);
    assert_eq!(
        again(|world| world.utc.0 += 86_400_000_000).denied().0,
        Reason::TokenExpired
    );
    let mut gone = again(|world| world.keys.clear());
    fetched(&mut gone);
    assert_eq!(gone.denied().0, Reason::ProviderUnavailable);
}

#[test]
fn what_is_verified_with_keys_of_before_is_not_known_with_those_of_now() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).keys = KeySource::Discovery;
    let world = |keys: &Mint, generation| {
        let mut world = World::new(&model);
        world.keys.insert("corp".into(), Arc::new(keys.key_set()));
        world.keys_generation = generation;
        world
    };
    let token = mint().token(claims());
    let first = Attempting::at(world(&mint(), 1), &model, None).show(&token);
    assert_eq!(first.attempt().outcome, Outcome::Permitted);
    let mut now = world(&Mint::ed25519("key-1"), 2);
    now.tokens = first.conversation.world.tokens;
    let again = Attempting::at(now, &model, None).show(&token);
    assert_eq!(again.denied().0, Reason::TokenSignatureInvalid);
}

#[test]
fn groups_claims_and_tenants_decide() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).groups_claim = Some("groups".into());
    model.groups.insert("dba".into());
    model.group_mappings.insert(GroupMapping {
        provider: "corp".into(),
        external: "db-admins".into(),
        group: "dba".into(),
    });
    let grant = model.grants.get_mut("alice-app").expect("the grant");
    grant.subjects.identities.clear();
    grant.subjects.groups.insert("dba".into());
    grant.cluster = ClusterChoice::ByTenant("{claim.tenant}".into());
    grant.connect_database = Some("app_{claim.tenant}".into());
    grant.settings.insert("postern.tenant".into(), "{claim.tenant}".into());
    grant
        .settings
        .insert("application_name".into(), "{subject}/{application_name}".into());
    grant
        .conditions
        .claims
        .insert("plan".into(), ClaimTest::Is(Glob("gold".into())));
    model.clusters.get_mut("main").expect("the cluster").tenant = Some("acme".into());
    let token = |groups: Value, tenant: &str, plan: &str| {
        let mut claims = claims_with("groups", groups);
        claims["tenant"] = json!(tenant);
        claims["plan"] = json!(plan);
        mint().token(claims)
    };
    let mut let_in = Attempting::new(&model, None).show(&token(json!(["x", "db-admins"]), "acme", "gold"));
    assert_eq!(let_in.attempt().outcome, Outcome::Permitted);
    let_in.conversation.connected();
    let startup = String::from_utf8_lossy(&let_in.conversation.to_server).replace('\0', " ");
    for wanted in [
        "database app_acme ",
        "postern.tenant acme ",
        "application_name alice/ ",
        "postern.identity alice ",
    ] {
        assert!(startup.contains(wanted), "{wanted}: {startup}");
    }
    for (token, reason) in [
        (token(json!(["x"]), "acme", "gold"), Reason::NoGrant),
        (token(json!(["db-admins"]), "globex", "gold"), Reason::TenantUnknown),
        (token(json!(["db-admins"]), "acme", "trial"), Reason::ClaimsNotMet),
    ] {
        let (found, (sqlstate, message)) = Attempting::new(&model, None).show(&token).denied();
        assert_eq!((found, &*sqlstate, &*message), (reason, NOT_GRANTED.0, NOT_GRANTED.1));
    }
}

#[test]
fn an_identity_made_of_its_subject() {
    let mut model = token_model(Method::Token);
    model.identities.clear();
    model.identities.insert(
        "staff:{subject}".into(),
        Identity {
            keys: vec![subject("*")],
            aliases: ["{subject}".to_owned()].into(),
            ..Identity::default()
        },
    );
    let grant = model.grants.get_mut("alice-app").expect("the grant");
    grant.subjects.identities = ["staff:{subject}".to_owned()].into();
    let attempting = Attempting::new(&model, None).show(&mint().token(claims()));
    assert_eq!(attempting.attempt().identity.as_deref(), Some("staff:alice"));
    // Another's name is not one's own.
    let token = mint().token(claims_with("sub", json!("bob")));
    assert_eq!(
        Attempting::new(&model, None).show(&token).denied().0,
        Reason::UserNotAllowed
    );
}

/// No refusal comes before the rule's floor, and all of them come at it.
#[test]
fn the_time_of_a_refusal_tells_nothing() {
    for method in METHODS {
        let mut model = token_model(method);
        model.authentication[0].answer_floor = 250;
        for token in [
            "no.token".to_owned(),
            mint().token(claims_with("sub", json!("mallory"))),
        ] {
            let mut attempting = Attempting::new(&model, None);
            attempting.conversation.to_client.clear();
            // It counts from the proof: whoever takes his time sees no more of it.
            attempting.conversation.time(1_000);
            let mut attempting = attempting.show(&token);
            assert!(attempting.conversation.to_client.is_empty(), "it was told early");
            attempting.conversation.time(249);
            assert!(attempting.conversation.to_client.is_empty(), "it was told early");
            attempting.conversation.time(1);
            attempting.answer_challenge();
            attempting.denied();
        }
        // Whoever does not wait for the answer is recorded with the true reason all the same.
        let mut attempting = Attempting::new(&model, None).show("no.token");
        let Conversation { gate, world, .. } = &mut attempting.conversation;
        gate.handle_client_closed(world);
        attempting.conversation.drain();
        assert_eq!(attempting.attempt().reason, Reason::TokenMalformed);
    }
}

/// RFC 8705, section 3.1: base64url of the SHA-256 of the certificate.
fn thumbprint(certificate: &[u8]) -> String {
    crate::identity::token::testing::encode(&crate::identity::certificate::fingerprint(certificate))
}

#[test]
fn the_issuer_is_what_the_challenge_names() {
    assert_eq!(ISSUER, "https://idp.example");
}

/// libpq takes the well-known path off the URL and compares what is left with its `oauth_issuer`, to the byte.
#[test]
fn the_challenge_names_an_issuer_with_a_slash_at_its_end_with_it() {
    let mut model = token_model(Method::OauthBearer);
    issuer(&mut model).form = postern_policy::model::TokenForm::Oidc {
        issuer: format!("{ISSUER}/"),
    };
    let attempting = Attempting::new(&model, None).discover();
    let said = String::from_utf8_lossy(&attempting.conversation.to_client).into_owned();
    let named = format!("\"{ISSUER}//.well-known/openid-configuration\"");
    assert!(said.contains(&named), "{said}");
    let rules = issuer(&mut model);
    let asked = rules.discovery_url();
    assert_eq!(
        asked.as_deref(),
        Some("https://idp.example/.well-known/openid-configuration")
    );
}
