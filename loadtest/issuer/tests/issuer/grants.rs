//! Tokens and the webhook.

use postern_issuer::{Endpoint, Response};
use serde_json::json;

use super::{part, settings, started};

#[test]
fn a_client_gets_a_token_about_its_subject() {
    let settings = settings().client_with("other", json!({"sub": "bob", "groups": ["dba"]}));
    let (issuer, mut client) = started(settings);
    let body = "grant_type=client_credentials&client_id=other&scope=openid";
    let answer = client.post("/token", body).json();
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("Bearer"), &json!(300))
    );
    let claims = part(answer["access_token"].as_str().expect("a token"), 1);
    assert_eq!(claims["iss"], issuer.url());
    assert_eq!(
        [&claims["sub"], &claims["aud"], &claims["groups"], &claims["scope"]],
        [&json!("bob"), &json!("postern"), &json!(["dba"]), &json!("openid")]
    );
    assert_eq!(
        claims["exp"].as_u64().expect("exp") - claims["iat"].as_u64().expect("iat"),
        300
    );
}

#[test]
fn a_client_may_name_itself_in_the_head() {
    let (_issuer, mut client) = started(settings());
    // app:secret
    let headers = ["Authorization: Basic YXBwOnNlY3JldA=="];
    let answer = client.ask("POST", "/token", &headers, "grant_type=client_credentials");
    assert_eq!(answer.expect("an answer").status, 200);
}

#[test]
fn whoever_is_not_known_gets_nothing() {
    let (_issuer, mut client) = started(settings());
    for (path, body, status, error) in [
        ("/token", "grant_type=client_credentials", 401, "invalid_client"),
        (
            "/token",
            "grant_type=client_credentials&client_id=x",
            401,
            "invalid_client",
        ),
        (
            "/token",
            "grant_type=password&client_id=app",
            400,
            "unsupported_grant_type",
        ),
        ("/device_authorization", "client_id=x", 401, "invalid_client"),
    ] {
        let answer = client.post(path, body);
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({"error": error})),
            "{path} {body}"
        );
    }
}

#[test]
fn a_device_waits_and_gets_its_token() {
    let (issuer, mut client) = started(settings());
    let begun = client
        .post("/device_authorization", "client_id=app&scope=openid%20groups")
        .json();
    assert_eq!(begun["interval"], 1);
    assert!(begun["user_code"].is_string() && begun["verification_uri"].is_string());
    let code = begun["device_code"].as_str().expect("a code");
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let poll = format!("grant_type={grant}&client_id=app&device_code={code}");
    let first = client.post("/token", &poll);
    assert_eq!(
        (first.status, first.json()),
        (400, json!({"error": "authorization_pending"}))
    );
    let claims = part(
        client.post("/token", &poll).json()["access_token"]
            .as_str()
            .expect("a token"),
        1,
    );
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("alice"), &json!("openid groups"))
    );
    assert_eq!(client.post("/token", &poll).json(), json!({"error": "invalid_grant"}));
    assert_eq!(issuer.requests(Endpoint::Token), 3);
}

#[test]
fn a_webhook_denies_until_it_is_told_what_to_say() {
    let (issuer, mut client) = started(settings());
    assert_eq!(
        client.post("/webhook", r#"{"user": "alice"}"#).json(),
        json!({"allow": false})
    );
    issuer.on_webhook(|request| {
        let known = request.json()["user"] == "alice" && request.header("authorization") == Some("Bearer x");
        Response::json(200, &json!({"allow": known, "identity": "alice"}))
    });
    let answer = client.ask("POST", "/webhook", &["Authorization: Bearer x"], r#"{"user": "alice"}"#);
    assert_eq!(
        answer.expect("an answer").json(),
        json!({"allow": true, "identity": "alice"})
    );
    assert_eq!(client.post("/webhook", r#"{"user": "alice"}"#).json()["allow"], false);
}
