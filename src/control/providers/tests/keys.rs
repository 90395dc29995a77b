//! Issuers' keys: fetched, confirmed, kept, fetched again.

use super::server::{Barrier, Reply, Server};
use super::*;
use crate::time::Utc;

fn serving(ids: &[&str]) -> Server {
    let body = key_set(ids);
    Server::new(move |_| Reply::ok(body.clone()))
}

/// Never by itself.
fn fetched(site: &Site, name: &str, ids: &[&str]) {
    until(&format!("{name} has {ids:?}"), || site.key_ids(name) == ids);
}

#[test]
fn keys_are_fetched_with_the_roots_of_the_policy() {
    let (site, server) = (Site::new(), serving(&["k1", "k2"]));
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    fetched(&site, "corp", &["k1", "k2"]);
    let keys = site.keys("corp").unwrap();
    let at = keys.fetched_at.unwrap();
    assert_eq!(keys.usable_until, Utc(at.0 + 86_400_000_000));
    assert!(keys.usable(at).is_some() && keys.generation > 0 && keys.last_error.is_none());
    let seen = &server.seen()[0];
    assert_eq!((&*seen.method, &*seen.path), ("GET", "/keys"));
    assert!(seen.headers["host"].starts_with(server::HOST));
    let status = site.status("corp");
    assert_eq!(
        (status.kind, status.keys, status.fetches, status.failures),
        (Kind::Keys, 2, 1, 0)
    );
    assert_eq!(*site.wanted.lock().unwrap(), BTreeSet::from([server::HOST.to_owned()]));
}

#[test]
fn another_root_is_not_trusted() {
    let (site, server, other) = (Site::new(), serving(&["k1"]), serving(&[]));
    let mut issuer = keys_at(&server, "/keys");
    issuer.roots = vec![other.root()];
    site.set(vec![spec("corp", issuer)]);
    until("the fetch fails", || site.status("corp").failures > 0);
    let error = site.status("corp").last_error.unwrap();
    assert!(error.contains("TLS") && error.contains("certificate"), "{error}");
    assert!(site.keys("corp").unwrap().keys.is_none());
    assert!(server.seen().is_empty(), "nothing was said on such a connection");
}

#[test]
fn an_unchanged_set_is_confirmed_by_its_tag() {
    let (site, server) = (Site::new(), serving(&[]));
    let body = key_set(&["k1"]);
    server.answer_with(move |seen| match seen.headers.get("if-none-match") {
        Some(tag) if tag == "\"v1\"" => Reply::status(304).header("Cache-Control", "max-age=0"),
        _ => Reply::ok(body.clone())
            .header("ETag", "\"v1\"")
            .header("Cache-Control", "max-age=0"),
    });
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    fetched(&site, "corp", &["k1"]);
    let first = site.keys("corp").unwrap();
    until("it is confirmed", || server.count("/keys") > 3);
    until("that is published", || {
        site.keys("corp").unwrap().fetched_at > first.fetched_at
    });
    let now = site.keys("corp").unwrap();
    assert_eq!(
        (now.generation, site.key_ids("corp")),
        (first.generation, vec!["k1".to_owned()])
    );
    assert_eq!(site.status("corp").failures, 0);
    let tags = server
        .seen()
        .iter()
        .filter(|seen| seen.headers.contains_key("if-none-match"))
        .count();
    assert_eq!(tags, server.seen().len() - 1, "every request but the first");
}

#[test]
fn the_provider_says_how_long_a_set_stays_fresh() {
    let (site, server) = (Site::new(), serving(&[]));
    let body = key_set(&["k1"]);
    server.answer_with(move |seen| {
        let age = if seen.path == "/often" {
            "max-age=0"
        } else {
            "max-age=600"
        };
        Reply::ok(body.clone()).header("Cache-Control", age)
    });
    let mut rarely = keys_at(&server, "/rarely");
    rarely.refresh = 1;
    let often = keys_at(&server, "/often");
    site.set(vec![spec("rarely", rarely), spec("often", often)]);
    until("the one is fetched again and again", || server.count("/often") > 20);
    until("more than the refresh time of the other passes", {
        let start = Instant::now();
        move || start.elapsed() > Duration::from_millis(1500)
    });
    assert_eq!(server.count("/rarely"), 1);
}

#[test]
fn the_last_good_set_serves_while_its_provider_fails() {
    let (site, server) = (Site::new(), serving(&[]));
    let mut issuer = keys_at(&server, "/keys");
    issuer.refresh = 1;
    let good = |ids: &[&str]| {
        let body = key_set(ids);
        move |_: &server::Seen| Reply::ok(body.clone()).header("Cache-Control", "max-age=0")
    };
    server.answer_with(good(&["k1"]));
    site.set(vec![spec("corp", issuer)]);
    fetched(&site, "corp", &["k1"]);
    let failing = |error: &str, handler: fn(&server::Seen) -> Reply| {
        let failures = site.status("corp").failures;
        let before = site.keys("corp").unwrap();
        server.answer_with(handler);
        until(error, || {
            let status = site.status("corp");
            let said = status.last_error.is_some_and(|last| last.contains(error));
            status.failures > failures && status.last_try_failed && said
        });
        let keys = site.keys("corp").unwrap();
        assert_eq!(
            (keys.generation, site.key_ids("corp")),
            (before.generation, vec!["k1".to_owned()])
        );
        assert!(
            keys.last_error.as_ref().is_some_and(|last| last.contains(error)),
            "{:?}",
            keys.last_error
        );
    };
    failing("status 500", |_| Reply::status(500).body("oops"));
    // From here on nothing confirms the set, and its time does not grow.
    let bound = site.keys("corp").unwrap().usable_until;
    failing("no usable key set", |_| Reply::ok("<html>login</html>"));
    failing("redirect to https://elsewhere", |_| {
        Reply::status(302).header("Location", "https://elsewhere/")
    });
    failing("longer than 1048576 bytes", |_| Reply::ok(vec![b' '; 1024 * 1024 + 1]));
    failing("HTTP", |_| Reply::ok("{\"keys\"").promising(100).closing());
    failing("status 304", |_| Reply::status(304));
    failing("no complete answer within", |_| {
        std::thread::sleep(PACE.keys_deadline * 2);
        Reply::ok("late")
    });
    assert_eq!(site.keys("corp").unwrap().usable_until, bound);
    server.answer_with(good(&["k2"]));
    fetched(&site, "corp", &["k2"]);
    let keys = site.keys("corp").unwrap();
    assert!(keys.usable_until > bound && keys.last_error.is_none());
    until("it does not fail", || !site.status("corp").last_try_failed);
    assert!(
        site.status("corp").last_error_at.is_some(),
        "people may still see what was"
    );
}

#[test]
fn keys_that_nobody_confirms_serve_up_to_their_bound() {
    let (site, server) = (Site::new(), serving(&["k1"]));
    let mut issuer = keys_at(&server, "/keys");
    issuer.keys_max_age = 2;
    site.set(vec![spec("corp", issuer)]);
    fetched(&site, "corp", &["k1"]);
    server.answer_with(|_| Reply::status(503));
    let now = crate::control::clock::utc_now;
    until("they do not serve any more", || {
        site.keys("corp").unwrap().usable(now()).is_none()
    });
    let keys = site.keys("corp").unwrap();
    assert!(keys.usable_until <= now() && keys.keys.is_some());
    let body = key_set(&["k2"]);
    server.answer_with(move |_| Reply::ok(body.clone()));
    until("fresh ones serve", || {
        site.key_ids("corp") == ["k2"] && site.keys("corp").unwrap().usable(now()).is_some()
    });
}

#[test]
fn rotated_keys_are_another_generation() {
    let (site, server) = (Site::new(), serving(&[]));
    let turn = Arc::new(Mutex::new(key_set(&["k1"])));
    let body = turn.clone();
    server.answer_with(move |_| Reply::ok(body.lock().unwrap().clone()).header("Cache-Control", "no-store"));
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    fetched(&site, "corp", &["k1"]);
    let first = site.keys("corp").unwrap().generation;
    until("it is fetched some more", || server.count("/keys") > 3);
    assert_eq!(
        site.keys("corp").unwrap().generation,
        first,
        "the same bytes are the same set"
    );
    *turn.lock().unwrap() = key_set(&["k1", "k2"]);
    fetched(&site, "corp", &["k1", "k2"]);
    assert!(site.keys("corp").unwrap().generation > first);
}

#[test]
fn ten_thousand_unknown_keys_are_one_fetch() {
    let (site, server) = (Site::new(), serving(&["k1"]));
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    fetched(&site, "corp", &["k1"]);
    until("the first fetch is over", || site.status("corp").in_flight == 0);
    let barrier = Barrier::default();
    let (held, body) = (barrier.clone(), key_set(&["k1", "k2"]));
    server.answer_with(move |_| {
        held.wait();
        Reply::ok(body.clone())
    });
    std::thread::scope(|scope| {
        for core in 0..4 {
            let window = site.providers.window();
            scope.spawn(move || {
                for session in 0..2500 {
                    let ticket = Ticket { core, session };
                    until("there is room", || {
                        let provider = "corp".into();
                        window.ask(Ask::Refetch { provider, ticket }).is_ok()
                    });
                }
            });
        }
        until("some wait", || site.status("corp").asked > 1000);
        barrier.open();
    });
    let mut tickets: Vec<Ticket> = (0..10_000)
        .map(|_| {
            let (ticket, told) = site.hear();
            assert_eq!(told, Told::KeysRefetched { asked: true });
            ticket
        })
        .collect();
    tickets.sort_by_key(|ticket| (ticket.core, ticket.session));
    tickets.dedup();
    assert_eq!(tickets.len(), 10_000, "each was told once");
    until("the fetch is over", || site.status("corp").in_flight == 0);
    for session in 0..100 {
        let (provider, ticket) = ("corp".into(), ticket(session));
        site.providers.ask(Ask::Refetch { provider, ticket }).unwrap();
        assert_eq!(
            site.hear(),
            (ticket, Told::KeysRefetched { asked: false }),
            "no news within the interval"
        );
    }
    assert_eq!(server.count("/keys"), 2, "the first fetch and one more");
    assert_eq!(site.key_ids("corp"), ["k1", "k2"]);
}

#[test]
fn after_the_interval_an_unknown_key_is_worth_a_fetch_again() {
    let pace = Pace {
        refetch_interval: Duration::from_millis(1),
        ..PACE
    };
    let (site, server) = (Site::at(pace, &[server::HOST]), serving(&["k1"]));
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    fetched(&site, "corp", &["k1"]);
    let before = server.count("/keys");
    until("it is fetched twice more", || {
        let provider = "corp".into();
        site.providers
            .ask(Ask::Refetch {
                provider,
                ticket: ticket(1),
            })
            .unwrap();
        assert_eq!(site.hear().0, ticket(1));
        server.count("/keys") > before + 1
    });
}

#[test]
fn who_waits_for_keys_is_told_even_when_none_come() {
    let (site, server) = (Site::new(), serving(&["k1"]));
    site.set(vec![
        spec("corp", keys_at(&server, "/keys")),
        spec("inline", issuer(KeySource::Inline(key_set(&["i1"]).into()), &server)),
    ]);
    fetched(&site, "corp", &["k1"]);
    fetched(&site, "inline", &["i1"]);
    until("the first fetch is over", || site.status("corp").in_flight == 0);
    server.answer_with(|_| Reply::status(500));
    for (session, provider) in ["corp", "inline", "unheard of"].into_iter().enumerate() {
        let ticket = ticket(session as u64);
        let provider = provider.into();
        site.providers.ask(Ask::Refetch { provider, ticket }).unwrap();
        // That a policy's own keys are all there are is known; so is that there is no such issuer.
        let asked = session > 0;
        assert_eq!(site.hear(), (ticket, Told::KeysRefetched { asked }));
    }
    assert_eq!(site.keys("inline").unwrap().usable_until, Utc(i64::MAX));
}

#[test]
fn who_waits_is_told_when_the_provider_goes() {
    let (site, server) = (Site::new(), serving(&["k1"]));
    site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
    fetched(&site, "corp", &["k1"]);
    until("the first fetch is over", || site.status("corp").in_flight == 0);
    let barrier = Barrier::default();
    let (held, body) = (barrier.clone(), key_set(&["late"]));
    server.answer_with(move |_| {
        held.wait();
        Reply::ok(body.clone())
    });
    let provider = "corp".into();
    site.providers
        .ask(Ask::Refetch {
            provider,
            ticket: ticket(1),
        })
        .unwrap();
    until("the server is asked", || server.count("/keys") == 2);
    site.set(Vec::new());
    until("the keys are gone", || site.keys("corp").is_none());
    barrier.open();
    assert_eq!(site.hear(), (ticket(1), Told::KeysRefetched { asked: false }));
    assert!(site.keys("corp").is_none(), "what comes late is nobody's");
    assert!(site.providers.status().is_empty() && site.wanted.lock().unwrap().is_empty());
}

#[test]
fn a_new_policy_fetches_only_what_it_changes() {
    let (site, server) = (Site::new(), serving(&["k1"]));
    let (same, mut changed) = (keys_at(&server, "/same"), keys_at(&server, "/changed"));
    site.set(vec![spec("same", same.clone()), spec("changed", changed.clone())]);
    fetched(&site, "same", &["k1"]);
    fetched(&site, "changed", &["k1"]);
    let generation = site.keys("same").unwrap().generation;
    let barrier = Barrier::default();
    let (held, body) = (barrier.clone(), key_set(&["k2"]));
    server.answer_with(move |_| {
        held.wait();
        Reply::ok(body.clone())
    });
    changed.keys = KeySource::Url(server.url("/moved"));
    let reworded = TokenIssuer { clock_skew: 5, ..same };
    site.set(vec![spec("same", reworded), spec("changed", changed.clone())]);
    until("the new place is asked", || server.count("/moved") == 1);
    assert!(
        site.keys("changed").unwrap().keys.is_none(),
        "keys of another place do not serve"
    );
    barrier.open();
    fetched(&site, "changed", &["k2"]);
    assert_eq!(
        (server.count("/same"), site.keys("same").unwrap().generation),
        (1, generation)
    );
    // The same place under other times: its keys serve on.
    let before = site.keys("changed").unwrap();
    changed.keys_max_age = 7200;
    server.answer_with(|_| Reply::status(500));
    site.set(vec![spec("changed", changed)]);
    until("the other time counts", || {
        site.keys("changed").unwrap().usable_until == Utc(before.fetched_at.unwrap().0 + 7_200_000_000)
    });
    assert_eq!(site.key_ids("changed"), ["k2"]);
}

#[test]
fn an_issuer_says_where_its_keys_are() {
    let site = Site::at(PACE, &[server::HOST]);
    let server = serving(&["k1"]);
    let (document, body) = (Arc::new(Mutex::new(String::new())), key_set(&["k1"]));
    let said = document.clone();
    server.answer_with(move |seen| match &*seen.path {
        "/realm/.well-known/openid-configuration" => Reply::ok(said.lock().unwrap().clone()),
        "/elsewhere" => Reply::ok(body.clone()),
        _ => Reply::status(404),
    });
    let configuration = |issuer: &str, keys: &str| {
        *document.lock().unwrap() = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
    };
    configuration("https://somebody.else", &server.url("/elsewhere"));
    site.set(vec![spec("corp", issuer(KeySource::Discovery, &server))]);
    let fails = |error: &str| {
        until(error, || {
            let keys = site.keys("corp").unwrap();
            keys.last_error.as_ref().is_some_and(|last| last.contains(error))
        });
    };
    until("it is known", || site.keys("corp").is_some());
    fails("of another issuer");
    configuration(&server.url("/realm"), "http://idp.test/elsewhere");
    fails("not an https URL");
    assert_eq!(server.count("/elsewhere"), 0);
    configuration(&server.url("/realm"), &server.url("/elsewhere"));
    fetched(&site, "corp", &["k1"]);
    assert_eq!(*site.keys("corp").unwrap().source, *server.url("/elsewhere"));
}

/// With a slash at its end it is found in the same place and is another.
#[test]
fn an_issuer_whose_name_is_put_right_is_asked_anew() {
    let (site, server) = (Site::at(PACE, &[server::HOST]), serving(&["k1"]));
    let (name, keys, body) = (server.url("/realm/"), server.url("/keys"), key_set(&["k1"]));
    server.answer_with(move |seen| match &*seen.path {
        "/realm/.well-known/openid-configuration" => Reply::ok(format!(r#"{{"issuer":"{name}","jwks_uri":"{keys}"}}"#)),
        _ => Reply::ok(body.clone()),
    });
    let mut rules = issuer(KeySource::Discovery, &server);
    site.set(vec![spec("corp", rules.clone())]);
    until("it is refused", || {
        let keys = site.keys("corp");
        let error = keys.and_then(|keys| keys.last_error.clone());
        error.is_some_and(|error| error.contains("of another issuer"))
    });
    rules.form = TokenForm::Oidc {
        issuer: server.url("/realm/"),
    };
    site.set(vec![spec("corp", rules)]);
    fetched(&site, "corp", &["k1"]);
}

#[test]
fn a_host_that_only_the_provider_names_is_asked_for() {
    let (site, server) = (Site::new(), serving(&[]));
    let document = format!(
        r#"{{"issuer":"{}","jwks_uri":"https://keys.test/keys"}}"#,
        server.url("/realm")
    );
    server.answer_with(move |_| Reply::ok(document.clone()));
    site.set(vec![spec("corp", issuer(KeySource::Discovery, &server))]);
    until("both hosts are wanted", || {
        *site.wanted.lock().unwrap() == BTreeSet::from([server::HOST.to_owned(), "keys.test".to_owned()])
    });
    until("and its address is missed", || {
        let error = site.status("corp").last_error;
        error.is_some_and(|error| error.contains("no address is known for keys.test"))
    });
}

#[test]
fn what_the_policy_cannot_have_meant_is_told_and_harms_nobody_else() {
    let (site, server) = (Site::new(), serving(&["k1"]));
    let plain = KeySource::Url("http://idp.test/keys".to_owned());
    site.set(vec![
        spec("plain", issuer(plain, &server)),
        spec("garbage", issuer(KeySource::Inline(b"no keys".to_vec()), &server)),
        spec("corp", keys_at(&server, "/keys")),
    ]);
    fetched(&site, "corp", &["k1"]);
    assert_eq!(site.status("plain").last_error.as_deref(), Some("not an https URL"));
    assert!(site.status("garbage").last_error.is_some());
    for name in ["plain", "garbage"] {
        let keys = site.keys(name).unwrap();
        assert!(keys.keys.is_none() && keys.last_error.is_some(), "{name}");
    }
}

/// A login that comes with the policy, say. Its turn would be missing where a key is rotated right behind.
#[test]
fn who_asks_before_the_first_fetch_has_begun_waits_for_it() {
    for _ in 0..20 {
        let (site, server) = (Site::new(), serving(&["k1"]));
        site.set(vec![spec("corp", keys_at(&server, "/keys"))]);
        for session in [1, 2] {
            let (provider, ticket) = ("corp".into(), ticket(session));
            site.providers.ask(Ask::Refetch { provider, ticket }).unwrap();
            assert_eq!(site.hear(), (ticket, Told::KeysRefetched { asked: true }));
        }
        assert_eq!(
            server.count("/keys"),
            2,
            "the first fetch, and one for whoever came behind it"
        );
    }
}
