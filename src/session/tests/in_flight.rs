//! What happens while a login is under way: the policy becomes another one, the client leaves, the issuer cannot be asked.

use std::sync::Arc;

use postern_policy::model::{Identity, IdentityKey, KeySource, Method, Model, Provider, Transport, Webhook};

use super::conversation::*;
use super::tokens::{Attempting, issuer, mint, token_model};
use crate::audit::{Attempt, Outcome, Reason};
use crate::core::failures::Failures;
use crate::identity::token::testing::{Mint, claims};
use crate::identity::webhook::{Answer, Asserted};
use crate::time::Utc;
use crate::wire::authentication;

const PASSWORD: &str = "open sesame";

fn swap(conversation: &mut Conversation, model: &Model) {
    conversation.world.in_force = in_force(model, 2);
}

/// `alice` by the word of a webhook.
fn desk_model(url: &str) -> Model {
    let mut model = model();
    model.providers.insert("desk".into(), Provider::Webhook(desk(url)));
    let key = IdentityKey::Subject {
        provider: "desk".into(),
        pattern: "alice".into(),
    };
    model.identities.insert(
        "alice".into(),
        Identity {
            keys: vec![key],
            ..Identity::default()
        },
    );
    let rule = &mut model.authentication[0];
    rule.method = Method::Webhook;
    rule.transport = Transport::Tls;
    rule.providers = ["desk".to_owned()].into();
    model
}

fn desk(url: &str) -> Webhook {
    Webhook {
        url: url.into(),
        roots: Vec::new(),
        authorization_file: None,
        deadline: 1_000,
        concurrency: 4,
        cache_max_age: 60,
    }
}

fn yes() -> Answer {
    Answer::Allowed(Arc::new(Asserted {
        subject: "alice".into(),
        groups: Box::default(),
        attributes: [("desk", "one")].into_iter().collect(),
        until: Utc(i64::MAX),
    }))
}

fn no() -> Answer {
    Answer::Denied { reason: "no".into() }
}

/// Up to the question.
fn asking(model: &Model, failures: Option<&Arc<Failures>>) -> Conversation {
    let mut world = World::new(model);
    if let Some(failures) = failures {
        world.failures = failures.clone();
    }
    let mut conversation = Attempting::at(world, model, None).conversation;
    let mut message = Vec::new();
    authentication::encode_password(&mut message, PASSWORD.as_bytes());
    conversation.client(&message);
    conversation
}

fn answered(conversation: &mut Conversation, answer: Answer) -> &Attempt {
    let Conversation { gate, world, .. } = &mut *conversation;
    gate.handle_answer(world, answer);
    conversation.drain();
    conversation.attempts.last().expect("a record")
}

fn closes(conversation: &mut Conversation) {
    let Conversation { gate, world, .. } = &mut *conversation;
    gate.handle_client_closed(world);
    conversation.drain();
}

#[test]
fn the_rule_of_a_new_policy_has_to_ask_for_the_same_proof() {
    let model = token_model(Method::Token);
    let at_the_proof = |change: &dyn Fn(&mut Model)| {
        let mut attempting = Attempting::new(&model, None);
        let mut changed = model.clone();
        change(&mut changed);
        swap(&mut attempting.conversation, &changed);
        let attempting = attempting.show(&mint().token(claims()));
        let attempt = attempting.attempt();
        (attempt.outcome, attempt.reason)
    };
    let other_issuer = |model: &mut Model| {
        let mut rules = issuer(model).clone();
        rules.form = postern_policy::model::TokenForm::Oidc {
            issuer: "https://other.example".into(),
        };
        model.providers.insert("other".into(), Provider::Tokens(rules));
        model.authentication[0].providers = ["other".to_owned()].into();
    };
    let changes: [&dyn Fn(&mut Model); 3] = [
        &|model| model.authentication[0].method = Method::Reject,
        &|model| model.authentication[0].listeners = ["elsewhere".to_owned()].into(),
        &other_issuer,
    ];
    assert_eq!(at_the_proof(&|_| {}), (Outcome::Permitted, Reason::Ok), "the same rule");
    for change in changes {
        assert_eq!(at_the_proof(change), (Outcome::Denied, Reason::PolicyChanged));
    }
}

#[test]
fn a_webhook_that_has_moved_lets_nobody_in() {
    let here = desk_model("https://desk.example/");
    for (model, outcome, reason) in [
        (here.clone(), Outcome::Permitted, Reason::Ok),
        (
            desk_model("https://new.example/"),
            Outcome::Denied,
            Reason::ProviderUnavailable,
        ),
    ] {
        let mut conversation = asking(&here, None);
        swap(&mut conversation, &model);
        let attempt = answered(&mut conversation, yes());
        assert_eq!((attempt.outcome, attempt.reason), (outcome, reason));
    }
}

/// A session of a webhook's word does not become one of a token issuer that has its name now.
#[test]
fn a_provider_of_another_kind_has_not_said_it() {
    let model = desk_model("https://desk.example/");
    let mut conversation = asking(&model, None);
    answered(&mut conversation, yes());
    conversation.connected();
    conversation.server(&server_greeting());
    let mut passage = conversation.passage.expect("a session");
    let mut changed = token_model(Method::Token);
    let corp = changed.providers.remove("corp").expect("the issuer");
    changed.providers.insert("desk".into(), corp);
    changed.identities.clone_from(&model.identities);
    let known = &mut crate::identity::certificate::Cache::new(0);
    let utc = crate::identity::token::testing::NOW;
    assert_eq!(passage.recheck(&in_force(&model, 2), known, utc), Ok(()));
    assert_eq!(
        passage.recheck(&in_force(&changed, 3), known, utc),
        Err(crate::audit::EndReason::PolicyChanged)
    );
}

/// Or else whoever hangs up could try passwords at a webhook for ever.
#[test]
fn a_guess_at_a_webhook_counts_though_its_client_has_left() {
    let model = desk_model("https://desk.example/");
    let failures = Arc::new(failures(true));
    for _ in 0..101 {
        let mut conversation = asking(&model, Some(&failures));
        closes(&mut conversation);
        assert!(!conversation.closed, "the answer is waited for");
        let attempt = answered(&mut conversation, no());
        assert_eq!(
            (attempt.outcome, attempt.reason),
            (Outcome::Denied, Reason::WebhookDenied)
        );
        assert!(conversation.closed && conversation.error().is_none(), "nobody hears it");
    }
    let refused = asking(&model, Some(&failures));
    assert_eq!(refused.attempts[0].reason, Reason::TooManyFailures);
}

#[test]
fn a_yes_for_a_client_that_has_left_lets_nobody_in() {
    let model = desk_model("https://desk.example/");
    let (unavailable, yes) = (Answer::Unavailable { why: "".into() }, yes());
    for answer in [yes, unavailable] {
        let mut conversation = asking(&model, None);
        closes(&mut conversation);
        let attempt = answered(&mut conversation, answer);
        let expected = (Outcome::Abandoned, Reason::ClientClosed);
        assert_eq!((attempt.outcome, attempt.reason), expected);
        assert!(conversation.closed && conversation.connects.is_empty());
    }
    let mut conversation = asking(&model, None);
    closes(&mut conversation);
    conversation.time(60_000);
    assert_eq!(conversation.attempts[0].reason, Reason::ClientClosed);
    assert!(conversation.closed);
}

/// A key that the issuer has begun to use just now is nobody's guess.
#[test]
fn an_unknown_key_counts_only_where_the_issuer_could_be_asked() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).keys = KeySource::Discovery;
    let token = mint().token(claims());
    let after = |asked: bool| {
        let failures = Arc::new(failures(true));
        for _ in 0..101 {
            let mut world = World::new(&model);
            world.failures = failures.clone();
            world.keys.insert("corp".into(), Arc::new(Mint::es256("old").key_set()));
            let mut conversation = Attempting::at(world, &model, None).show(&token).conversation;
            assert_eq!(conversation.fetches, ["corp"]);
            let Conversation { gate, world, .. } = &mut conversation;
            gate.handle_keys_fetched(world, asked);
            conversation.drain();
            conversation.time(5_000);
            assert_eq!(conversation.attempts[0].reason, Reason::TokenUnknownKey);
        }
        let mut world = World::new(&model);
        world.failures = failures;
        let next = Attempting::at(world, &model, None).conversation;
        next.attempts.first().map(|attempt| attempt.reason)
    };
    assert_eq!(after(false), None, "it is asked for a token");
    assert_eq!(after(true), Some(Reason::TooManyFailures));
}

/// An issuer with one key need not name it; when it has another one, that is found as well.
#[test]
fn a_token_that_names_no_key_may_be_of_one_that_is_not_there_yet() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).keys = KeySource::Discovery;
    let token = mint().without_key_id().token(claims());
    let mut world = World::new(&model);
    let old = Mint::ed25519("").without_key_id();
    world.keys.insert("corp".into(), Arc::new(old.key_set()));
    let mut conversation = Attempting::at(world, &model, None).show(&token).conversation;
    assert_eq!(conversation.fetches, ["corp"]);
    let new = Arc::new(mint().without_key_id().key_set());
    conversation.world.keys.insert("corp".into(), new);
    let Conversation { gate, world, .. } = &mut conversation;
    gate.handle_keys_fetched(world, true);
    conversation.drain();
    assert_eq!(conversation.attempts[0].outcome, Outcome::Permitted);
}

#[test]
fn the_record_says_whose_keys_are_missing_and_why() {
    let mut model = token_model(Method::Token);
    issuer(&mut model).keys = KeySource::Discovery;
    let mut conversation = Attempting::new(&model, None).show(&mint().token(claims())).conversation;
    let Conversation { gate, world, .. } = &mut conversation;
    gate.handle_keys_fetched(world, false);
    conversation.drain();
    let attempt = &conversation.attempts[0];
    assert_eq!(attempt.reason, Reason::ProviderUnavailable);
    let provider = attempt.assertion.as_ref().map(|assertion| &*assertion.provider);
    assert_eq!(provider, Some("corp"));
    assert_eq!(attempt.detail.as_deref(), Some("the keys are too old"));
}

type Behaviour<'a> = &'a dyn Fn(&mut Conversation);

/// Why it was turned away is not the client's to choose.
#[test]
fn what_a_client_does_behind_a_challenge_is_not_the_reason() {
    let model = token_model(Method::OauthBearer);
    let forged = Mint::ed25519("key-1").token(claims());
    let challenged = || {
        let mut conversation = Attempting::new(&model, None).conversation;
        let mut message = Vec::new();
        let data = format!("n,,\x01auth=Bearer {forged}\x01\x01");
        let response = authentication::SaslInitialResponse {
            mechanism: b"OAUTHBEARER",
            data: Some(data.as_bytes()),
        };
        response.encode(&mut message);
        conversation.client(&message);
        assert!(!conversation.closed && conversation.attempts.is_empty());
        conversation
    };
    let behave: [(&str, Behaviour<'_>); 5] = [
        ("08P01", &|conversation| conversation.client(b"p\0\0\0\x06no")),
        ("08P01", &|conversation| conversation.client(b"Q\0\0\0\x05\0")),
        ("57014", &|conversation| conversation.time(60_000)),
        ("57P03", &|conversation| {
            let Conversation { gate, world, .. } = &mut *conversation;
            gate.handle_stop(world);
            conversation.drain();
        }),
        ("", &closes),
    ];
    for (sqlstate, behave) in behave {
        let mut conversation = challenged();
        behave(&mut conversation);
        let error = conversation.error().map(|(sqlstate, _)| sqlstate).unwrap_or_default();
        assert_eq!(error, sqlstate);
        let attempt = &conversation.attempts[0];
        assert_eq!(
            (attempt.outcome, attempt.reason),
            (Outcome::Denied, Reason::TokenSignatureInvalid),
            "{sqlstate}"
        );
    }
}
