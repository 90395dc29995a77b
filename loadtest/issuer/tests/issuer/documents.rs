//! What the issuer publishes: the discovery document and the keys.

use postern_issuer::{Algorithm, Endpoint, encryption_entry};
use serde_json::{Value, json};

use super::client::Client;
use super::{ANYWHERE, settings, started};

fn published(client: &mut Client) -> Vec<Value> {
    let jwks = client.get("/jwks", &[]).expect("an answer").json();
    let keys = jwks["keys"].as_array().expect("a list");
    keys.iter().map(|key| key["kid"].clone()).collect()
}

#[test]
fn discovery_names_every_address_below_the_issuer() {
    let (issuer, mut client) = started(settings());
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let document = client.get(path, &[]).expect("an answer").json();
        assert_eq!(document["issuer"], issuer.url());
        assert_eq!(document["jwks_uri"], issuer.url_of("jwks"));
        assert_eq!(document["token_endpoint"], issuer.url_of("token"));
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
    }
    assert_eq!(issuer.requests(Endpoint::Discovery), 2);
    assert_eq!(client.get("/nothing", &[]).expect("an answer").status, 404);
    assert_eq!(client.get("/token", &[]).expect("an answer").status, 405);
}

#[test]
fn an_issuer_may_have_a_path() {
    let mut settings = settings();
    settings.path = "/realms/demo".to_owned();
    settings.host = "localhost".to_owned();
    let (issuer, mut client) = started(settings);
    assert!(issuer.url().starts_with("https://localhost:") && issuer.url().ends_with("/realms/demo"));
    for path in [
        "/realms/demo/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/realms/demo",
        "/realms/demo/jwks",
    ] {
        assert_eq!(client.get(path, &[]).expect("an answer").status, 200, "{path}");
    }
    assert_eq!(client.get("/jwks", &[]).expect("an answer").status, 404);
}

#[test]
fn keys_have_a_tag_and_an_age() {
    let (issuer, mut client) = started(settings());
    let first = client.get("/jwks", &[]).expect("an answer");
    assert_eq!(first.header("Cache-Control"), Some("public, max-age=300"));
    let tag = format!("If-None-Match: \"x\", W/{}", first.header("ETag").expect("a tag"));
    let second = client.get("/jwks", &[&tag]).expect("an answer");
    assert_eq!((second.status, second.body.len()), (304, 0));
    issuer.set_max_age(None);
    issuer.rotate(Algorithm::EdDsa);
    let third = client.get("/jwks", &[&tag]).expect("an answer");
    assert_eq!((third.status, third.header("Cache-Control")), (200, None));
    assert_ne!(third.header("ETag"), first.header("ETag"));
}

#[test]
fn a_new_key_is_published_beside_the_old_until_that_is_retired() {
    let (issuer, mut client) = started(settings());
    issuer.add_entry(encryption_entry());
    assert_eq!(issuer.rotate(Algorithm::Ps256).kid(), "key-2");
    assert_eq!(published(&mut client), ["encryption", "key-1", "key-2"]);
    issuer.retire_old();
    assert_eq!(published(&mut client), ["encryption", "key-2"]);
    assert_eq!(super::part(&issuer.token(issuer.claims("alice")), 0)["kid"], "key-2");
}

#[test]
fn an_issuer_comes_back_at_its_address_with_its_keys() {
    let (issuer, mut client) = started(settings());
    issuer.rotate(Algorithm::EdDsa);
    let before = published(&mut client);
    let mut again = issuer.settings().clone();
    (again.address, again.keys) = (issuer.address(), issuer.keys());
    let url = issuer.url().to_owned();
    drop(issuer);
    client.get("/jwks", &[]).expect_err("ended");
    let (issuer, mut client) = started(again);
    assert_eq!((issuer.url(), published(&mut client)), (url.as_str(), before));
}

#[test]
fn plain_http_has_the_same_answers() {
    let mut settings = settings();
    settings.plain_address = Some(ANYWHERE);
    let (issuer, mut secured) = started(settings);
    let mut plain = Client::plain(issuer.plain_address().expect("an address"));
    let one = plain.get("/jwks", &[]).expect("an answer");
    assert_eq!(one.body, secured.get("/jwks", &[]).expect("an answer").body);
    assert_eq!(issuer.connections().now, 2);
}
