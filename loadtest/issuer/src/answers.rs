//! What the issuer says at each of its addresses.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::device::{LIFETIME, Poll};
use crate::encoding::{base64url, from_base64};
use crate::fault::Endpoint;
use crate::http::{Request, Response};
use crate::state::{State, lock};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// The address without what leads to it in the issuer's URL (`/realms/demo/jwks`). RFC 8414, 3.1 has that at the end.
pub(crate) fn endpoint(state: &State, path: &str) -> Endpoint {
    let prefix = &state.settings.path;
    let begun = path.strip_prefix(prefix.as_str());
    let ended = path.strip_suffix(prefix.as_str());
    let found = [begun, ended].into_iter().flatten().map(Endpoint::of_path);
    found
        .max_by_key(|found| *found != Endpoint::Unknown)
        .unwrap_or(Endpoint::Unknown)
}

pub(crate) fn answer(state: &State, endpoint: Endpoint, request: &Request) -> Response {
    match (endpoint, request.method.as_str()) {
        (Endpoint::Discovery, "GET") => cached(state, request, &discovery(state)),
        (Endpoint::Jwks, "GET") => {
            let jwks = state.keys().jwks();
            cached(state, request, &jwks)
        }
        (Endpoint::Token, "POST") => token(state, request),
        (Endpoint::DeviceAuthorization, "POST") => device_authorization(state, request),
        (Endpoint::Webhook, "POST") => state.ask_webhook(request),
        (Endpoint::Unknown, _) => Response::new(404),
        _ => Response::new(405),
    }
}

/// OpenID Connect Discovery 1.0, RFC 8414 and RFC 8628, 4.
fn discovery(state: &State) -> Value {
    let at = |path: &str| format!("{}/{path}", state.url);
    json!({
        "issuer": state.url,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "device_authorization_endpoint": at("device_authorization"),
        "jwks_uri": at("jwks"),
        "response_types_supported": ["code"],
        "grant_types_supported": [CLIENT_CREDENTIALS, DEVICE_CODE],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid"],
        "id_token_signing_alg_values_supported": state.keys().algorithms(),
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
    })
}

/// With an `ETag`, by which the client may ask whether it has changed (RFC 9110, 13.1.2).
fn cached(state: &State, request: &Request, body: &Value) -> Response {
    let tag = format!(
        "\"{}\"",
        base64url(&digest(&SHA256, body.to_string().as_bytes()).as_ref()[..12])
    );
    let asked = request.header("if-none-match").unwrap_or_default();
    let unchanged = asked
        .split(',')
        .any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*");
    let response = match unchanged {
        true => Response::new(304),
        false => Response::json(200, body),
    };
    let response = response.with("ETag", &tag);
    match state.max_age() {
        Some(seconds) => response.with("Cache-Control", &format!("public, max-age={seconds}")),
        None => response,
    }
}

/// RFC 6749, 4.4 and RFC 8628, 3.4.
fn token(state: &State, request: &Request) -> Response {
    let Some(client) = client(state, request) else {
        return refused(401, "invalid_client");
    };
    match request.form("grant_type").as_deref() {
        Some(CLIENT_CREDENTIALS) => granted(state, &client, request.form("scope")),
        Some(DEVICE_CODE) => {
            let code = request.form("device_code").unwrap_or_default();
            let poll = lock(&state.devices).poll(&code, &client, Instant::now());
            match poll {
                Poll::Pending => refused(400, "authorization_pending"),
                Poll::Expired => refused(400, "expired_token"),
                Poll::Unknown => refused(400, "invalid_grant"),
                Poll::Approved { scope } => granted(state, &client, scope),
            }
        }
        _ => refused(400, "unsupported_grant_type"),
    }
}

fn granted(state: &State, client: &str, scope: Option<String>) -> Response {
    let mut claims = state.claims(client).with("client_id", client);
    let further = state.settings.clients.get(client).and_then(Value::as_object);
    for (name, value) in further.into_iter().flatten() {
        claims = claims.with(name, value.clone());
    }
    if let Some(scope) = &scope {
        claims = claims.with("scope", scope.as_str());
    }
    let mut body = json!({
        "access_token": state.token(claims),
        "token_type": "Bearer",
        "expires_in": state.settings.lifetime,
    });
    if let Some(scope) = scope {
        body["scope"] = json!(scope);
    }
    Response::json(200, &body).with("Cache-Control", "no-store")
}

/// RFC 8628, 3.2.
fn device_authorization(state: &State, request: &Request) -> Response {
    let Some(client) = client(state, request) else {
        return refused(401, "invalid_client");
    };
    let (scope, waits) = (request.form("scope"), state.settings.device_waits);
    let code = lock(&state.devices).begin(&client, scope, waits, Instant::now());
    let page = format!("{}/device", state.url);
    let body = json!({
        "device_code": code,
        "user_code": "DEMO-CODE",
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code=DEMO-CODE"),
        "expires_in": LIFETIME.as_secs(),
        "interval": 1,
    });
    Response::json(200, &body).with("Cache-Control", "no-store")
}

/// A client of the table, from the form or as the user of `Authorization: Basic`. Its secret is nobody's business here.
fn client(state: &State, request: &Request) -> Option<String> {
    let id = request.form("client_id").or_else(|| basic_user(request))?;
    state.settings.clients.contains_key(&id).then_some(id)
}

fn basic_user(request: &Request) -> Option<String> {
    let (scheme, encoded) = request.header("authorization")?.split_once(' ')?;
    let plain = String::from_utf8(from_base64(encoded.trim())?).ok()?;
    let (user, _secret) = plain.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| user.to_owned())
}

/// RFC 6749, 5.2.
fn refused(status: u16, error: &str) -> Response {
    Response::json(status, &json!({"error": error}))
}
