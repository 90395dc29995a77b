//! The issuer over real HTTPS, and its program.

mod client;
mod command;
mod documents;
mod faults;
mod grants;

use std::net::{Ipv4Addr, SocketAddr};

use client::Client;
use postern_issuer::{Issuer, Settings, from_base64url};
use serde_json::Value;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn settings() -> Settings {
    Settings::new(ANYWHERE, "postern").client("app", "alice")
}

fn started(settings: Settings) -> (Issuer, Client) {
    let issuer = Issuer::start(settings).expect("an issuer");
    let client = client_of(&issuer);
    (issuer, client)
}

fn client_of(issuer: &Issuer) -> Client {
    Client::secured(issuer.address(), issuer.root_pem())
}

/// The JSON of one part of a token.
fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).expect("a part");
    serde_json::from_slice(&from_base64url(part).expect("base64url")).expect("JSON")
}
