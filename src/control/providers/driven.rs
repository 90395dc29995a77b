//! What providers send beside keys and answers, of any content and from corpora.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use postern_fuzzing::{Entry, Marks, drive};
use serde_json::{Value, json};

use super::discovery::{DiscoveryFault, configuration_of, keys_target};
use super::freshness::{Bounds, said};
use super::target::{Target, TargetFault};

const ISSUER: &str = "https://idp.example";

#[test]
fn discovery_driven_from_the_corpus() {
    const MARKS: [&str; 7] = [
        "found",
        "shape",
        "other_issuer",
        "no_url",
        "not_https",
        "user_info",
        "no_host",
    ];
    drive("discovery", &MARKS, documents, discover);
}

fn discover(document: &[u8], marks: &mut Marks) {
    match keys_target(document, ISSUER) {
        Ok(target) => {
            marks.reach("found");
            // What nobody looks at may be wrong in ways that a plain reading minds.
            if let Ok(value) = serde_json::from_slice::<Value>(document) {
                assert_eq!(value["issuer"], ISSUER);
                leads_there(value["jwks_uri"].as_str().expect("a text"), &target);
            }
        }
        Err(fault) => marks.reach(match fault {
            DiscoveryFault::Shape(_) => "shape",
            DiscoveryFault::OtherIssuer(other) => {
                assert_ne!(other, ISSUER);
                "other_issuer"
            }
            DiscoveryFault::KeysTarget(TargetFault::NotAUrl) => "no_url",
            DiscoveryFault::KeysTarget(TargetFault::NotHttps) => "not_https",
            DiscoveryFault::KeysTarget(TargetFault::UserInfo) => "user_info",
            DiscoveryFault::KeysTarget(TargetFault::NoHost) => "no_host",
        }),
    }
    // An issuer's name is the policy's; it may be anything all the same.
    if let Ok(issuer) = str::from_utf8(document)
        && let Ok(target) = configuration_of(issuer)
    {
        leads_there(issuer, &target);
    }
}

/// To that host over TLS, with one request whose line and `Host` nothing can be slipped into.
fn leads_there(url: &str, target: &Target) {
    let (scheme, rest) = url.split_at_checked(8).expect("a scheme");
    assert!(scheme.eq_ignore_ascii_case("https://"), "{url}");
    assert!(
        rest.starts_with(target.authority()) && !target.authority().contains('@'),
        "{url}"
    );
    assert!(
        !target.host().is_empty() && target.authority().contains(target.host()),
        "{url}"
    );
    assert!(target.path().starts_with('/') && !target.path().contains('#'), "{url}");
    let harmless = |byte: u8| byte > b' ' && byte != 0x7f;
    assert!(
        target.authority().bytes().all(harmless) && target.path().bytes().all(harmless),
        "{url}"
    );
    assert_eq!(Target::parse(&target.to_string()).as_ref(), Ok(target), "{url}");
}

fn documents() -> Vec<Entry> {
    let of = |issuer: &str, uri: Value| json!({"issuer": issuer, "jwks_uri": uri, "scopes_supported": ["openid"]});
    let entries = [
        ("good", of(ISSUER, json!("https://keys.example:8443/v1/keys?x=1"))),
        ("address", of(ISSUER, json!("https://[2001:db8::1]/keys"))),
        ("bare", of(ISSUER, json!("https://keys.example"))),
        ("query", of(ISSUER, json!("https://keys.example?x=/y"))),
        ("fragment", of(ISSUER, json!("https://keys.example/keys#part"))),
        ("escaped", of(ISSUER, json!("https://keys.example/a%0d%0ab"))),
        ("broken-line", of(ISSUER, json!("https://keys.example/a\r\nHost: b"))),
        ("slash", of("https://idp.example/", json!("https://keys.example/"))),
        ("other", of("https://other.example", json!("https://keys.example/"))),
        ("clear", of(ISSUER, json!("http://keys.example/"))),
        ("name", of(ISSUER, json!("https://me:pw@keys.example/"))),
        ("no-host", of(ISSUER, json!("https://a_b..c/"))),
        ("number", of(ISSUER, json!(7))),
        ("empty", json!({})),
    ];
    let mut entries: Vec<Entry> = entries
        .into_iter()
        .map(|(name, document)| (name.to_owned(), document.to_string().into_bytes()))
        .collect();
    entries.push(("issuer".to_owned(), format!("{ISSUER}/realms/a/").into_bytes()));
    entries
}

#[test]
fn cache_control_driven_from_the_corpus() {
    const MARKS: [&str; 6] = ["silent", "not_kept", "max_age", "raised", "lowered", "not_text"];
    drive("cache-control", &MARKS, cache_controls, freshness);
}

/// The bytes are lines, a header each, of which some cannot be one.
fn freshness(data: &[u8], marks: &mut Marks) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(CACHE_CONTROL, value);
        }
    }
    let said = said(&headers);
    assert_eq!(said, plainly(&headers, marks));
    marks.reach(match said {
        None => "silent",
        Some(Duration::ZERO) => "not_kept",
        Some(_) => "max_age",
    });
    let bounds = Bounds {
        floor: Duration::from_secs(60),
        first_retry: Duration::from_secs(1),
        refresh: Duration::from_secs(300),
        keys_max_age: Duration::from_secs(3_600),
    };
    let next = bounds.next(said);
    assert!(next >= bounds.floor && next <= bounds.keys_max_age / 2, "{next:?}");
    match said {
        Some(said) if next > said => marks.reach("raised"),
        Some(said) if next < said => marks.reach("lowered"),
        Some(_) | None => {}
    }
}

/// Any word against keeping counts before every age, and the last age that is a number before those before it.
fn plainly(headers: &HeaderMap, marks: &mut Marks) -> Option<Duration> {
    let values: Vec<&str> = headers.values().filter_map(|value| value.to_str().ok()).collect();
    if values.len() < headers.len() {
        marks.reach("not_text");
    }
    let all = values.join(",").to_ascii_lowercase();
    let directives: Vec<(&str, &str)> = all
        .split(',')
        .map(|directive| directive.split_once('=').unwrap_or((directive, "")))
        .map(|(name, argument)| (name.trim(), argument.trim().trim_matches('"')))
        .collect();
    if directives
        .iter()
        .any(|(name, _)| ["no-store", "no-cache"].contains(name))
    {
        return Some(Duration::ZERO);
    }
    let ages = directives.iter().filter(|(name, _)| *name == "max-age");
    let mut seconds = ages.filter_map(|(_, argument)| argument.parse::<u32>().ok());
    seconds.next_back().map(|seconds| Duration::from_secs(seconds.into()))
}

fn cache_controls() -> Vec<Entry> {
    let entries = [
        ("age", "public, max-age=120, must-revalidate"),
        ("quoted", "Max-Age=\"7200\""),
        ("zero", "max-age=0"),
        ("no-store", "max-age=120, No-Store"),
        ("no-cache", "no-cache=\"set-cookie\", max-age=120"),
        ("lines", "max-age=1\npublic\nmax-age=600"),
        ("huge", "max-age=99999999999999999999"),
        ("words", "max-age=soon, s-maxage=5, private"),
        ("not-text", "max-age=120\nmax-age=é"),
        ("empty", ""),
    ];
    entries
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .into()
}
