//! Webhooks: asked once, answered strictly, bounded in every way.

use super::server::{Barrier, Reply, Seen, Server};
use super::*;

const YES: &str = r#"{"allow":true,"identity":"alice","groups":["dev"],"attributes":{"tenant":"acme"},"ttl":60}"#;

fn ask(site: &Site, provider: &str, user: &str, session: u64) {
    let ask = Ask::Webhook {
        provider: provider.into(),
        origin: site.origin(provider),
        question: question(user),
        ticket: ticket(session),
    };
    site.providers.ask(ask).unwrap();
}

fn answer(site: &Site, provider: &str, user: &str) -> Answer {
    ask(site, provider, user, 7);
    let (told, answer) = site.hear_webhook();
    assert_eq!(told, ticket(7));
    answer
}

/// A site with the webhook `hook` at `/hook`.
fn asking(
    handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    change: impl FnOnce(&mut Webhook),
) -> (Site, Server) {
    let (site, server) = (Site::new(), Server::new(handler));
    let mut asked = webhook(&server, "/hook");
    change(&mut asked);
    site.set(vec![hook("hook", asked)]);
    (site, server)
}

fn unavailable(answer: &Answer, part: &str) {
    match answer {
        Answer::Unavailable { why } => assert!(why.contains(part), "{why}"),
        Answer::Allowed(_) | Answer::Denied { .. } => panic!("{answer:?}"),
    }
}

fn denied(reason: &str) -> Answer {
    Answer::Denied { reason: reason.into() }
}

#[test]
fn a_webhook_hears_the_attempt_and_says_who_it_is() {
    let (site, server) = asking(|_| Reply::ok(YES), |_| ());
    let Answer::Allowed(asserted) = answer(&site, "hook", "al") else {
        panic!("not allowed")
    };
    assert_eq!((&*asserted.subject, &*asserted.groups), ("alice", &["dev".into()][..]));
    assert_eq!(asserted.attributes.only("tenant"), Some("acme"));
    assert!(asserted.until > crate::control::clock::utc_now());
    let seen = &server.seen()[0];
    assert_eq!((&*seen.method, &*seen.path), ("POST", "/hook"));
    assert_eq!(seen.headers["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        (&body["user"], &body["password"], &body["source"]),
        (&"al".into(), &"hunter2".into(), &"192.0.2.7".into())
    );
}

#[test]
fn a_no_is_a_no() {
    let (site, _server) = asking(|_| Reply::ok(r#"{"allow":false,"reason":"on leave"}"#), |_| ());
    assert_eq!(answer(&site, "hook", "al"), denied("on leave"));
    let status = site.status("hook");
    assert_eq!(
        (status.kind, status.asked, status.denied, status.unavailable),
        (Kind::Webhook, 1, 1, 0)
    );
}

#[test]
fn what_is_no_answer_lets_nobody_in() {
    let (site, server) = asking(|_| Reply::status(500), |_| ());
    unavailable(&answer(&site, "hook", "a"), "status 500");
    server.answer_with(|_| Reply::status(201).body(YES));
    unavailable(&answer(&site, "hook", "a"), "status 201");
    server.answer_with(|_| Reply::ok("yes"));
    unavailable(&answer(&site, "hook", "a"), "no JSON");
    server.answer_with(|_| Reply::ok(format!("{YES}{}", " ".repeat(64 * 1024))));
    unavailable(&answer(&site, "hook", "a"), "longer than 65536 bytes");
    server.answer_with(|_| Reply::status(307).header("Location", "https://elsewhere/"));
    unavailable(&answer(&site, "hook", "a"), "redirect");
    let status = site.status("hook");
    assert_eq!(
        (status.failures, status.unavailable, status.cached, status.in_flight),
        (5, 5, 0, 0)
    );
    assert!(status.last_try_failed && status.last_error.unwrap().contains("redirect"));
    server.answer_with(|_| Reply::ok(YES));
    assert!(
        matches!(answer(&site, "hook", "a"), Answer::Allowed(_)),
        "no failure is kept"
    );
    let status = site.status("hook");
    assert!(
        !status.last_try_failed && status.last_error.is_some(),
        "it answers again"
    );
}

#[test]
fn a_webhook_that_hangs_is_given_up_and_its_connection_too() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let handler = move |_: &Seen| {
        held.wait();
        Reply::ok(YES)
    };
    let (site, server) = asking(handler, |hook| hook.deadline = 300);
    unavailable(&answer(&site, "hook", "a"), "no complete answer within");
    barrier.open();
    until("the connection is closed", || server.open() == 0);
}

#[test]
fn questions_wait_for_a_turn_and_not_for_ever() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let handler = move |_: &Seen| {
        held.wait();
        Reply::ok(YES)
    };
    let (site, server) = asking(handler, |hook| hook.concurrency = 2);
    for number in 0..12 {
        ask(&site, "hook", &format!("user {number}"), number);
    }
    // Two under way and eight in the queue; the others hear at once.
    for _ in 0..2 {
        let (ticket, answer) = site.hear_webhook();
        assert!(ticket.session >= 10);
        unavailable(&answer, "too many questions wait");
    }
    until("two are under way", || server.seen().len() == 2);
    barrier.open();
    for _ in 0..10 {
        assert!(matches!(site.hear_webhook().1, Answer::Allowed(_)));
    }
    assert_eq!((server.most_at_once(), server.seen().len()), (2, 10));
    assert!(server.connections() <= 2, "connections are used again");
    assert_eq!(site.status("hook").in_flight, 0);
}

#[test]
fn waiting_for_a_turn_counts_against_the_deadline() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let handler = move |_: &Seen| {
        held.wait();
        Reply::ok(YES)
    };
    let (site, _server) = asking(handler, |hook| {
        hook.concurrency = 1;
        hook.deadline = 300;
    });
    for number in 0..3 {
        ask(&site, "hook", &format!("user {number}"), number);
    }
    let whys: Vec<String> = (0..3).map(|_| format!("{:?}", site.hear_webhook().1)).collect();
    assert!(whys.iter().any(|why| why.contains("no turn within")), "{whys:?}");
    barrier.open();
}

#[test]
fn answers_are_kept_as_long_as_they_say() {
    let (site, server) = asking(
        |seen| {
            Reply::ok(match &seen.body {
                body if body.contains("yes for now") => r#"{"allow":true,"identity":"y"}"#,
                body if body.contains("no ttl") => r#"{"allow":false,"reason":"n"}"#,
                body if body.contains("deny") => r#"{"allow":false,"reason":"d","ttl":60}"#,
                body if body.contains("zero") => r#"{"allow":true,"identity":"z","ttl":0}"#,
                _ => YES,
            })
        },
        |_| (),
    );
    for (user, requests) in [("al", 1), ("deny", 1), ("yes for now", 3), ("no ttl", 3), ("zero", 3)] {
        let before = server.seen().len();
        let answers: Vec<Answer> = (0..3).map(|_| answer(&site, "hook", user)).collect();
        assert!(
            answers
                .iter()
                .all(|answer| std::mem::discriminant(answer) == std::mem::discriminant(&answers[0])),
            "{answers:?}"
        );
        assert_eq!(server.seen().len() - before, requests, "{user}");
    }
    assert_eq!(site.status("hook").cached, 2);
    // Another password is another question.
    let mut other = question("al");
    other.password = Some(crate::secret::Secret::new(b"guess".to_vec()));
    let before = server.seen().len();
    let ask = Ask::Webhook {
        provider: "hook".into(),
        origin: site.origin("hook"),
        question: other,
        ticket: ticket(1),
    };
    site.providers.ask(ask).unwrap();
    site.hear_webhook();
    assert_eq!(server.seen().len(), before + 1);
}

#[test]
fn the_policy_bounds_how_long_answers_are_kept() {
    let (site, server) = asking(|_| Reply::ok(YES), |hook| hook.cache_max_age = 0);
    answer(&site, "hook", "a");
    answer(&site, "hook", "a");
    assert_eq!((server.seen().len(), site.status("hook").cached), (2, 0));
}

#[test]
fn the_same_question_is_asked_once_at_a_time() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let handler = move |_: &Seen| {
        held.wait();
        Reply::ok(r#"{"allow":false}"#)
    };
    let (site, server) = asking(handler, |_| ());
    for session in 0..100 {
        ask(&site, "hook", "al", session);
    }
    until("all are taken", || site.status("hook").asked == 100);
    until("the server is asked", || !server.seen().is_empty());
    barrier.open();
    let mut sessions: Vec<u64> = (0..100).map(|_| site.hear_webhook().0.session).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, (0..100).collect::<Vec<_>>());
    assert_eq!((server.seen().len(), site.status("hook").denied), (1, 100));
}

#[test]
fn one_that_hangs_delays_no_other() {
    let site = Site::new();
    let barrier = Barrier::default();
    let (held, keys) = (barrier.clone(), key_set(&["k1"]));
    let server = Server::new(move |seen| match &*seen.path {
        "/hangs" => {
            held.wait();
            Reply::ok(YES)
        }
        "/keys" => Reply::ok(keys.clone()),
        _ => Reply::ok(YES),
    });
    let (hangs, quick) = (webhook(&server, "/hangs"), webhook(&server, "/quick"));
    site.set(vec![hook("hangs", hangs.clone()), hook("quick", quick.clone())]);
    for session in 100..104 {
        ask(&site, "hangs", &session.to_string(), session);
    }
    until("all places are taken", || server.count("/hangs") == 4);
    assert!(matches!(answer(&site, "quick", "al"), Answer::Allowed(_)));
    site.set(vec![
        hook("hangs", hangs),
        hook("quick", quick),
        spec("corp", keys_at(&server, "/keys")),
    ]);
    until("keys come", || site.key_ids("corp") == ["k1"]);
    assert_eq!(site.status("hangs").in_flight, 4, "it still hangs");
    barrier.open();
    for _ in 0..4 {
        assert!(
            matches!(site.hear_webhook().1, Answer::Allowed(_)),
            "and a new list did not disturb it"
        );
    }
}

#[test]
fn the_authorization_goes_along_and_is_missed_where_it_is_missing() {
    let (site, server) = (Site::new(), Server::new(|_| Reply::ok(YES)));
    let mut guarded = webhook(&server, "/hook");
    guarded.authorization_file = Some("token".into());
    let with = |authorization: Option<&str>| ProviderSpec {
        name: "hook".into(),
        kind: ProviderKind::Webhook {
            webhook: guarded.clone(),
            authorization: authorization.map(|text| crate::secret::Secret::new(text.into())),
        },
    };
    site.set(vec![with(None)]);
    unavailable(&answer(&site, "hook", "a"), "authorization file");
    site.set(vec![with(Some("Bearer one"))]);
    assert!(matches!(answer(&site, "hook", "a"), Answer::Allowed(_)));
    site.set(vec![with(Some("Bearer two"))]);
    assert!(
        matches!(answer(&site, "hook", "a"), Answer::Allowed(_)),
        "asked again: the answers went with it"
    );
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.headers["authorization"].clone())
        .collect();
    assert_eq!(sent, ["Bearer one", "Bearer two"]);
    site.set(vec![with(Some("line\nend"))]);
    unavailable(&answer(&site, "hook", "a"), "header");
}

#[test]
fn who_is_no_webhook_answers_nothing() {
    let (site, server) = (Site::new(), Server::new(|_| Reply::ok(key_set(&[]))));
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    for provider in ["corp", "unheard of"] {
        unavailable(&answer(&site, provider, "a"), "no such webhook");
    }
    let mut binary = question("a");
    binary.password = Some(crate::secret::Secret::new(vec![0xff]));
    site.set(vec![hook("hook", webhook(&server, "/hook"))]);
    let ask = Ask::Webhook {
        provider: "hook".into(),
        origin: site.origin("hook"),
        question: binary,
        ticket: ticket(1),
    };
    site.providers.ask(ask).unwrap();
    assert_eq!(site.hear_webhook().1, denied("the password is not UTF-8"));
    assert_eq!(server.count("/hook"), 0);
}

/// A password goes where the policy of its attempt sends it, and to no other place.
#[test]
fn nobody_is_asked_but_the_webhook_of_the_attempt_s_policy() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let handler = move |seen: &Seen| {
        if &*seen.path == "/old" {
            held.wait();
        }
        Reply::ok(YES)
    };
    let (site, server) = (Site::new(), Server::new(handler));
    let old = Webhook {
        concurrency: 1,
        ..webhook(&server, "/old")
    };
    site.set(vec![hook("hook", old)]);
    let before = site.origin("hook");
    ask(&site, "hook", "asked", 1);
    until("it is asked", || server.count("/old") == 1);
    ask(&site, "hook", "waits", 2);
    until("both are there", || site.status("hook").in_flight == 2);
    site.set(vec![hook("hook", webhook(&server, "/new"))]);
    let late = Ask::Webhook {
        provider: "hook".into(),
        origin: before,
        question: question("late"),
        ticket: ticket(3),
    };
    site.providers.ask(late).unwrap();
    let (told, answer) = site.hear_webhook();
    assert_eq!(told, ticket(3));
    unavailable(&answer, "moves the webhook");
    ask(&site, "hook", "new", 4);
    assert!(matches!(site.hear_webhook(), (told, Answer::Allowed(_)) if told == ticket(4)));
    barrier.open();
    let mut told = [site.hear_webhook(), site.hear_webhook()];
    told.sort_by_key(|(ticket, _)| ticket.session);
    let [(_, asked), (_, waited)] = told;
    assert!(
        matches!(asked, Answer::Allowed(_)),
        "who is let in by it is the session's to judge"
    );
    unavailable(&waited, "does not ask there any more");
    assert_eq!((server.count("/old"), server.count("/new")), (1, 1));
}
