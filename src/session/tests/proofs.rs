//! Every proof, and every way in which it can be wrong: what the client hears and what is recorded, as a table that stands in
//! `docs/proofs.md`. `UPDATE_GOLDEN=1` writes it anew, to be read before it is committed.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use postern_policy::attributes::Attributes;
use postern_policy::model::{
    CrlMode, Identity, IdentityKey, KeySource, Method, Model, Provider, Revocation, ServerMethod, TokenIssuer,
    Transport, Webhook,
};
use serde_json::{Value, json};

use super::conversation::*;
use super::tokens::Attempting;
use crate::audit::{self, Outcome, Reason, Record};
use crate::identity::certificate::testing::{Ca, Day, Der, by_uri, leaf_with, uri};
use crate::identity::token::MAX_TOKEN;
use crate::identity::token::testing::{Mint, NOW, claims, claims_with, encode, oidc, svid};
use crate::identity::webhook::{self, Answer, Asserted};
use crate::time::Utc;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/proofs.md");
const BEGIN: &str = "<!-- table: written by the tests, not by hand -->\n";
const END: &str = "<!-- end of the table -->";

/// The ways, in the order of the table.
const WAYS: [&str; 17] = [
    "valid",
    "bound",
    "wrong key",
    "expired",
    "not yet valid",
    "too old",
    "wrong audience",
    "wrong issuer",
    "unknown kid",
    "revoked",
    "replayed",
    "unbound",
    "other certificate",
    "bound to another",
    "oversize",
    "malformed",
    "of nobody",
];

/// Those that let in, as the table has them.
const GOOD: [(&str, &str); 2] = [("valid", "nothing"), ("bound", "nothing, bound to the certificate")];

/// The ways of a certificate beside another proof that is good.
const CERTIFICATE_WAYS: [&str; 8] = [
    "wrong key",
    "expired",
    "not yet valid",
    "wrong audience",
    "wrong issuer",
    "revoked",
    "malformed",
    "of nobody",
];

/// Whoever shows no certificate, or a good one of somebody else, learns nothing from being told.
const KNOWN_TO_THE_CLIENT: [&str; 2] = ["unbound", "other certificate"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Certificate,
    Scram,
    CertificateAndScram,
    Token,
    CertificateAndToken,
    OauthBearer,
    CertificateAndOauthBearer,
    JwtSvid,
    Webhook,
    CertificateAndWebhook,
}

impl Proof {
    const ALL: [Self; 10] = [
        Self::Certificate,
        Self::Scram,
        Self::CertificateAndScram,
        Self::Token,
        Self::CertificateAndToken,
        Self::OauthBearer,
        Self::CertificateAndOauthBearer,
        Self::JwtSvid,
        Self::Webhook,
        Self::CertificateAndWebhook,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Certificate => "`certificate`",
            Self::Scram => "`scram-sha-256`",
            Self::CertificateAndScram => "`certificate+scram-sha-256`",
            Self::Token => "`token`",
            Self::CertificateAndToken => "`certificate+token`",
            Self::OauthBearer => "`oauthbearer`",
            Self::CertificateAndOauthBearer => "`certificate+oauthbearer`",
            Self::JwtSvid => "`token`, a JWT-SVID",
            Self::Webhook => "`webhook`",
            Self::CertificateAndWebhook => "`certificate+webhook`",
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Certificate => Method::Certificate,
            Self::Scram => Method::ScramSha256,
            Self::CertificateAndScram => Method::CertificateAndScram,
            Self::Token | Self::JwtSvid => Method::Token,
            Self::CertificateAndToken => Method::CertificateAndToken,
            Self::OauthBearer => Method::OauthBearer,
            Self::CertificateAndOauthBearer => Method::CertificateAndOauthBearer,
            Self::Webhook => Method::Webhook,
            Self::CertificateAndWebhook => Method::CertificateAndWebhook,
        }
    }

    fn provider(self) -> &'static str {
        match self {
            Self::JwtSvid => "mesh",
            Self::Webhook | Self::CertificateAndWebhook => "desk",
            _ => "idp",
        }
    }

    fn with_certificate(self) -> bool {
        self.method().uses_certificates()
    }
}

/// One attempt of `alice`.
struct Try {
    model: Model,
    certificate: Option<Der>,
    shown: Shown,
    /// The same has let somebody in before.
    again: bool,
}

enum Shown {
    Nothing,
    Scram(&'static [u8]),
    /// A message in the place of the SCRAM client's first.
    Sasl(Vec<u8>),
    Token(String),
    Webhook(String, Answer),
}

#[test]
fn every_proof_and_all_that_can_be_wrong_with_it() {
    let table: String = Proof::ALL.into_iter().map(section).collect();
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (stands, after) = rest.split_once(END).expect("where it ends");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page is written");
    } else {
        assert_eq!(stands, table, "docs/proofs.md");
    }
}

fn section(proof: Proof) -> String {
    let mut out = format!(
        "\n### {}\n\n| what is wrong | the client hears | the record says |\n| --- | --- | --- |\n",
        proof.title()
    );
    let mut heard = BTreeSet::new();
    let mut missing = Vec::new();
    for way in WAYS {
        let Some(attempt) = attempt(proof, way) else {
            missing.push(way);
            continue;
        };
        let played = play(proof, &attempt);
        let text = check(proof, way, &played);
        if let Some((_, nothing)) = GOOD.iter().find(|(good, _)| *good == way) {
            out += &format!("| {nothing} | is let in | {} |\n", recorded(&played));
        } else {
            out += &format!("| {way} | {text} | {} |\n", recorded(&played));
            if !KNOWN_TO_THE_CLIENT.contains(&way) {
                heard.insert(text);
            }
        }
    }
    assert_uniform(proof, &heard);
    if proof.with_certificate() && proof != Proof::Certificate {
        out += &certificates_beside(proof);
        missing.retain(|way| !CERTIFICATE_WAYS.contains(way));
    }
    missing.retain(|way| !way.starts_with("bound"));
    if !missing.is_empty() {
        out += &format!("\nCannot be: {}.\n", missing.join(", "));
    }
    out
}

/// A bad certificate is told before the other proof is asked for.
fn certificates_beside(proof: Proof) -> String {
    let mut out = String::new();
    let mut heard = BTreeSet::new();
    for way in CERTIFICATE_WAYS {
        let good = attempt(proof, "valid").expect("one that is good");
        let certificate = certificate(way).expect("a certificate that is not");
        let played = play(proof, &Try { certificate, ..good });
        assert!(played.questions.is_empty(), "{proof:?} {way}");
        let text = check(proof, way, &played);
        out += &format!("| the certificate: {way} | {text} | {} |\n", recorded(&played));
        heard.insert(text);
    }
    assert_uniform(proof, &heard);
    out
}

/// Whatever is wrong with a proof that is one sounds the same. What is no message of the protocol may sound otherwise.
fn assert_uniform(proof: Proof, heard: &BTreeSet<String>) {
    let of_proofs: Vec<_> = heard.iter().filter(|text| !text.starts_with("`08P01`")).collect();
    assert!(of_proofs.len() <= 1, "{proof:?}: {of_proofs:#?}");
}

/// What the client hears; nothing of a denial goes any further.
fn check(proof: Proof, way: &str, played: &Conversation) -> String {
    let [attempt] = played.attempts.as_slice() else {
        panic!("{proof:?} {way}: {} records", played.attempts.len());
    };
    if GOOD.iter().any(|(good, _)| *good == way) {
        assert_eq!(attempt.outcome, Outcome::Permitted, "{proof:?}: {attempt:?}");
        return String::new();
    }
    assert_eq!(attempt.outcome, Outcome::Denied, "{proof:?} {way}: {attempt:?}");
    if attempt.reason == Reason::TokenRevoked {
        assert!(!attempt.is_before_proof(), "a flood would hide it");
    }
    assert!(played.closed && played.connects.is_empty() && played.to_server.is_empty());
    let (sqlstate, text) = played.error().expect("an error");
    let recorded = attempt.sqlstate.expect("the record has its SQLSTATE");
    assert_eq!(sqlstate.as_bytes(), recorded, "{proof:?} {way}");
    format!("`{sqlstate}` {text}")
}

/// The members of the record's line that say why, and who.
fn recorded(played: &Conversation) -> String {
    let mut line = String::new();
    audit::encode(&Record::Attempt(Box::new(played.attempts[0].clone())), &mut line);
    let line: Value = serde_json::from_str(&line).expect("JSON");
    let mut members = vec![format!("`{}`", line["reason"].as_str().unwrap_or_default())];
    for member in ["identity", "detail"] {
        members.extend(line[member].as_str().map(|value| format!("{member} `{value}`")));
    }
    if let Some(proofs) = line["proofs"].as_array() {
        let proofs: Vec<_> = proofs.iter().filter_map(Value::as_str).collect();
        members.push(format!("proofs `{}`", proofs.join("`, `")));
    }
    for (name, value) in line["assertion"].as_object().into_iter().flatten() {
        members.extend(value.as_str().map(|value| format!("assertion.{name} `{value}`")));
    }
    members.join(", ")
}

fn play(proof: Proof, attempt: &Try) -> Conversation {
    let mut world = World::new(&attempt.model);
    if attempt.again {
        let first = shown(proof, attempt, World::new(&attempt.model));
        assert_eq!(
            first.attempts[0].outcome,
            Outcome::Permitted,
            "{proof:?}: the first time"
        );
        world.spent = first.world.spent;
    }
    shown(proof, attempt, world)
}

fn shown(proof: Proof, attempt: &Try, world: World) -> Conversation {
    let certificate = attempt.certificate.as_deref();
    let mut attempting = Attempting::at(world, &attempt.model, certificate);
    if attempting.conversation.closed {
        return attempting.conversation;
    }
    match &attempt.shown {
        Shown::Nothing => attempting.conversation,
        Shown::Scram(password) => {
            prove(&mut attempting.conversation, password);
            attempting.conversation
        }
        Shown::Sasl(message) => {
            attempting.conversation.client(message);
            attempting.conversation
        }
        Shown::Token(token) => attempting.show(token).conversation,
        Shown::Webhook(password, answer) => {
            let mut conversation = attempting.show(password).conversation;
            if let Some((provider, _)) = conversation.questions.first() {
                assert_eq!(provider, proof.provider());
                let Conversation { gate, world, .. } = &mut conversation;
                gate.handle_answer(world, answer.clone());
                conversation.drain();
            }
            conversation
        }
    }
}

/// None where a proof cannot be wrong in this way.
fn attempt(proof: Proof, way: &str) -> Option<Try> {
    let mut attempt = Try {
        model: policy(proof),
        certificate: proof.with_certificate().then(|| CARDS.alice.clone()),
        shown: Shown::Nothing,
        again: false,
    };
    match proof {
        Proof::Certificate => attempt.certificate = certificate(way)?,
        Proof::Scram | Proof::CertificateAndScram => attempt.shown = scram(way, &mut attempt)?,
        Proof::Webhook | Proof::CertificateAndWebhook => attempt.shown = answer(way, &mut attempt.certificate)?,
        Proof::Token | Proof::CertificateAndToken | Proof::OauthBearer | Proof::CertificateAndOauthBearer => {
            let token = token(way, proof, &mut attempt)?;
            attempt.shown = Shown::Token(token);
        }
        Proof::JwtSvid => {
            let token = jwt_svid(way, &mut attempt)?;
            attempt.shown = Shown::Token(token);
        }
    }
    Some(attempt)
}

fn certificate(way: &str) -> Option<Option<Der>> {
    let cards = &*CARDS;
    Some(match way {
        "valid" => Some(cards.alice.clone()),
        "wrong key" => Some(cards.impostor.clone()),
        "expired" => Some(cards.expired.clone()),
        "not yet valid" => Some(cards.early.clone()),
        "wrong audience" => Some(cards.of_a_server.clone()),
        "wrong issuer" => Some(cards.foreign.clone()),
        "revoked" => Some(cards.revoked.clone()),
        "unbound" => None,
        "other certificate" => Some(cards.bob.clone()),
        "malformed" => Some(Der::from(b"no certificate".to_vec())),
        "of nobody" => Some(cards.nobody.clone()),
        _ => return None,
    })
}

fn scram(way: &str, attempt: &mut Try) -> Option<Shown> {
    let mechanism = |data: &[u8]| {
        let mut message = Vec::new();
        let response = crate::wire::authentication::SaslInitialResponse {
            mechanism: b"SCRAM-SHA-256",
            data: Some(data),
        };
        response.encode(&mut message);
        message
    };
    Some(match way {
        "valid" => Shown::Scram(PASSWORD),
        "wrong key" => Shown::Scram(b"wrong"),
        "oversize" => Shown::Sasl(mechanism(&[b'a'; 8_192])),
        "malformed" => Shown::Sasl(mechanism(b"n,,no SCRAM")),
        // As an unknown name: the client is asked for a proof all the same.
        "of nobody" => {
            attempt.model.identities.get_mut("alice").expect("alice").scram = None;
            Shown::Scram(PASSWORD)
        }
        _ => {
            card_of(way, &mut attempt.certificate)?;
            Shown::Scram(PASSWORD)
        }
    })
}

/// The certificate beside another proof.
fn card_of(way: &str, certificate: &mut Option<Der>) -> Option<()> {
    certificate.as_ref()?;
    *certificate = match way {
        "unbound" => None,
        "other certificate" => Some(CARDS.bob.clone()),
        _ => return None,
    };
    Some(())
}

fn answer(way: &str, certificate: &mut Option<Der>) -> Option<Shown> {
    let allowed = |subject: &str| {
        Answer::Allowed(Arc::new(Asserted {
            subject: subject.into(),
            groups: Box::default(),
            attributes: Attributes::default(),
            until: Utc(NOW.0 + 60_000_000),
        }))
    };
    let unavailable = |why: String| Answer::Unavailable { why: why.into() };
    let denied = |reason: &str| Answer::Denied { reason: reason.into() };
    let mut password = "a password".to_owned();
    let answer = match way {
        "valid" => allowed("alice"),
        "wrong key" => denied("wrong password"),
        "expired" => unavailable("no answer within 2000 ms".to_owned()),
        "revoked" => denied("no longer on duty"),
        "oversize" => {
            password = "a".repeat(2 * MAX_TOKEN);
            allowed("alice")
        }
        "malformed" => unavailable(webhook::read(b"{\"allow\":").expect_err("no JSON").to_string()),
        "of nobody" => allowed("mallory"),
        _ => {
            card_of(way, certificate)?;
            allowed("alice")
        }
    };
    Some(Shown::Webhook(password, answer))
}

fn token(way: &str, proof: Proof, attempt: &mut Try) -> Option<String> {
    let mint = mint();
    let bound = |certificate: &Der| {
        let thumbprint = encode(&crate::identity::certificate::fingerprint(certificate));
        claims_with("cnf", json!({ "x5t#S256": thumbprint }))
    };
    let other_card = Some(CARDS.bob.clone());
    Some(match way {
        "valid" => mint.token(claims()),
        "wrong key" => Mint::ed25519("key-1").token(claims()),
        "expired" => mint.token(claims_with("exp", seconds(-31))),
        "not yet valid" => mint.token(claims_with("nbf", seconds(31))),
        "too old" => {
            issuer(attempt, "idp").max_age = Some(60);
            mint.token(claims_with("iat", seconds(-120)))
        }
        "wrong audience" => mint.token(claims_with("aud", json!("others"))),
        "wrong issuer" => mint.token(claims_with("iss", json!("https://other.example"))),
        "unknown kid" => Mint::fixed("key-2").token(claims()),
        "revoked" => {
            revoke(attempt, "idp", |revocation| {
                revocation.token_ids = ["t-1".to_owned()].into()
            });
            mint.token(claims_with("jti", json!("t-1")))
        }
        "replayed" => {
            issuer(attempt, "idp").one_time = true;
            attempt.again = true;
            mint.token(claims_with("jti", json!("t-1")))
        }
        "unbound" => {
            attempt.certificate = None;
            mint.token(bound(&CARDS.alice))
        }
        "other certificate" if proof.with_certificate() => {
            attempt.certificate = other_card;
            mint.token(claims())
        }
        "other certificate" => {
            attempt.certificate = other_card;
            mint.token(bound(&CARDS.alice))
        }
        "bound" => {
            attempt.certificate = Some(CARDS.alice.clone());
            mint.token(bound(&CARDS.alice))
        }
        "bound to another" if proof.with_certificate() => mint.token(bound(&CARDS.bob)),
        "oversize" => "a".repeat(MAX_TOKEN + 1),
        "malformed" => "no.token".to_owned(),
        "of nobody" => mint.token(claims_with("sub", json!("mallory"))),
        _ => return None,
    })
}

fn jwt_svid(way: &str, attempt: &mut Try) -> Option<String> {
    let mint = mint();
    let with = |name: &str, value: Value| {
        let mut claims = claims_with("iss", Value::Null);
        claims["sub"] = json!("spiffe://corp/alice");
        claims[name] = value;
        claims
    };
    let good = || with("sub", json!("spiffe://corp/alice"));
    Some(match way {
        "valid" => mint.token(good()),
        "wrong key" => Mint::ed25519("key-1").token(good()),
        "expired" => mint.token(with("exp", seconds(-31))),
        "not yet valid" => mint.token(with("nbf", seconds(31))),
        "too old" => {
            issuer(attempt, "mesh").max_age = Some(60);
            mint.token(with("iat", seconds(-120)))
        }
        "wrong audience" => mint.token(with("aud", json!("others"))),
        "wrong issuer" => mint.token(with("sub", json!("spiffe://other/alice"))),
        "unknown kid" => Mint::fixed("key-2").token(good()),
        "revoked" => {
            let subject = "spiffe://corp/alice".to_owned();
            revoke(attempt, "mesh", |revocation| revocation.subjects = [subject].into());
            mint.token(good())
        }
        "replayed" => {
            issuer(attempt, "mesh").one_time = true;
            attempt.again = true;
            mint.token(with("jti", json!("t-1")))
        }
        "oversize" => "a".repeat(MAX_TOKEN + 1),
        "malformed" => "no.token".to_owned(),
        "of nobody" => mint.token(with("sub", json!("spiffe://corp/mallory"))),
        _ => return None,
    })
}

fn seconds(offset: i64) -> Value {
    json!(NOW.0 / 1_000_000 + offset)
}

/// The same key for the whole process: the policies have its public half.
fn mint() -> Mint {
    Mint::fixed("key-1")
}

fn issuer<'a>(attempt: &'a mut Try, name: &str) -> &'a mut TokenIssuer {
    match attempt.model.providers.get_mut(name) {
        Some(Provider::Tokens(issuer)) => issuer,
        _ => panic!("{name} is no issuer of tokens"),
    }
}

fn revoke(attempt: &mut Try, provider: &str, change: impl FnOnce(&mut Revocation)) {
    let mut revocation = Revocation {
        provider: provider.into(),
        ..Revocation::default()
    };
    change(&mut revocation);
    attempt.model.revocations.insert("stolen".into(), revocation);
}

/// `alice` by every proof there is, and `bob` by certificate; one rule, of this method.
fn policy(proof: Proof) -> Model {
    let mut model = model();
    let tokens = |issuer: TokenIssuer| {
        Provider::Tokens(TokenIssuer {
            keys: KeySource::Inline(mint().jwks()),
            ..issuer
        })
    };
    let crl = CARDS.root.crl(Day(2026, 1, 1), Day(2026, 12, 31), &[REVOKED]);
    let authority = CARDS.root.with_crls(CrlMode::Required, vec![crl]);
    model.providers = [
        ("mtls".to_owned(), Provider::CertificateAuthority(authority)),
        ("idp".to_owned(), tokens(oidc())),
        ("mesh".to_owned(), tokens(svid())),
        ("desk".to_owned(), Provider::Webhook(desk())),
    ]
    .into();
    let subject = |provider: &str, pattern: &str| IdentityKey::Subject {
        provider: provider.into(),
        pattern: pattern.into(),
    };
    let alice = model.identities.get_mut("alice").expect("alice");
    alice.keys = vec![
        by_uri("mtls", "spiffe://corp/alice"),
        subject("idp", "alice"),
        by_uri("mesh", "spiffe://corp/alice"),
        subject("desk", "alice"),
    ];
    let bob = Identity {
        keys: vec![by_uri("mtls", "spiffe://corp/bob")],
        ..Identity::default()
    };
    model.identities.insert("bob".into(), bob);
    let rule = &mut model.authentication[0];
    rule.method = proof.method();
    rule.transport = Transport::Tls;
    rule.discovery = matches!(proof, Proof::OauthBearer | Proof::CertificateAndOauthBearer).then(|| "idp".to_owned());
    if proof.provider() == "desk" {
        rule.providers = vec!["desk".to_owned()].into_iter().collect();
    }
    let cluster = model.clusters.get_mut("main").expect("the cluster");
    cluster.roles.get_mut("app_rw").expect("the role").methods = BTreeSet::from([ServerMethod::Trust]);
    model
}

fn desk() -> Webhook {
    Webhook {
        url: "https://desk.example/ask".into(),
        roots: Vec::new(),
        authorization_file: None,
        deadline: 2_000,
        concurrency: 64,
        cache_max_age: 60,
    }
}

const REVOKED: u8 = 66;
static CARDS: LazyLock<Cards> = LazyLock::new(Cards::new);

struct Cards {
    root: Ca,
    alice: Der,
    bob: Der,
    nobody: Der,
    /// Signed by another root of the same name.
    impostor: Der,
    /// Of a root that the policy does not have.
    foreign: Der,
    expired: Der,
    early: Der,
    of_a_server: Der,
    revoked: Der,
}

impl Cards {
    fn new() -> Self {
        let root = Ca::root("corp");
        let named = |name: &str| leaf_with(&[uri(&format!("spiffe://corp/{name}"))]);
        let issue = |change: fn(&mut rcgen::CertificateParams)| {
            let mut params = named("alice");
            change(&mut params);
            root.issue(&params)
        };
        Self {
            alice: root.issue(&named("alice")),
            bob: root.issue(&named("bob")),
            nobody: root.issue(&named("nobody")),
            impostor: Ca::root("corp").issue(&named("alice")),
            foreign: Ca::root("foreign").issue(&named("alice")),
            expired: issue(|params| params.not_after = rcgen::date_time_ymd(2026, 1, 1)),
            early: issue(|params| {
                params.not_before = rcgen::date_time_ymd(2027, 1, 1);
                params.not_after = rcgen::date_time_ymd(2028, 1, 1);
            }),
            of_a_server: issue(|params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
            revoked: issue(|params| params.serial_number = Some(rcgen::SerialNumber::from_slice(&[REVOKED]))),
            root,
        }
    }
}
