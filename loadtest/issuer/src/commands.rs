//! What each command does.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};
use postern_issuer::{Algorithm, Claims, Directory, Issuer, Key, KeySet, Settings, Token, now};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use crate::arguments::{self, Broken, Command, value};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(arguments) => serve(arguments),
        Command::Token(arguments) => say(&token(&arguments)?),
        Command::Rotate { dir, algorithm } => rotate(&Directory::open(&dir), algorithm),
        Command::Retire { dir } => Ok(Directory::open(&dir).retire_old()?),
        Command::Fault { dir, faults } => Ok(Directory::open(&dir).set_faults(&faults.join(" "))?),
    }
}

fn serve(arguments: arguments::Serve) -> Outcome {
    // Before there are threads: none of them gets the signal, it waits for us.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block()?;
    let directory = Directory::prepare(&arguments.dir, arguments.algorithm)?;
    let issuer = Issuer::start(settings(arguments, directory.clone())?)?;
    directory.describe(issuer.url(), &issuer.settings().audience)?;
    say(&description(&issuer, &directory))?;
    signals.wait()?;
    drop(issuer);
    Ok(())
}

fn settings(arguments: arguments::Serve, directory: Directory) -> Outcome<Settings> {
    let mut settings = Settings::of_directory(arguments.address, &arguments.audience, directory)?;
    settings.plain_address = arguments.plain_address;
    settings.host = arguments.host.unwrap_or(settings.host);
    settings.lifetime = arguments.lifetime;
    settings.max_age = Some(arguments.max_age);
    for subject in arguments.subject {
        settings = settings.client(&subject, &subject);
    }
    for (id, subject) in arguments.client {
        settings = settings.client(&id, &subject);
    }
    Ok(settings)
}

fn description(issuer: &Issuer, directory: &Directory) -> String {
    let mut lines = vec![
        format!("issuer={}", issuer.url()),
        format!("discovery={}", issuer.url_of(".well-known/openid-configuration")),
        format!("jwks={}", issuer.url_of("jwks")),
        format!("webhook={}", issuer.url_of("webhook")),
        format!("ca={}", directory.root().display()),
        format!("audience={}", issuer.settings().audience),
    ];
    if let Some(address) = issuer.plain_address() {
        lines.push(format!("plain=http://{address}{}", issuer.settings().path));
    }
    lines.join("\n")
}

fn rotate(directory: &Directory, algorithm: Option<Algorithm>) -> Outcome {
    let current = directory.keys()?.current().algorithm();
    say(&directory.rotate(algorithm.unwrap_or(current))?)
}

fn token(arguments: &arguments::Token) -> Outcome<String> {
    let directory = Directory::open(&arguments.dir);
    let keys = directory.keys()?;
    let key = key(&keys, &arguments.kid)?;
    let foreign = Key::generate(key.algorithm(), key.kid());
    let secret = key.public_pem();
    let token = Token::new(&key, claims(arguments, &directory)?);
    let token = match arguments.broken {
        None => token,
        Some(Broken::Signature) => token.with_broken_signature(),
        Some(Broken::ForeignKey) => token.signed_by(&foreign),
        Some(Broken::UnknownKid) => token.header("kid", "unknown"),
        Some(Broken::Unsigned) => token.unsigned(),
        Some(Broken::Confused) => token.signed_with_secret(secret.as_bytes()),
    };
    let headers = arguments.header.iter();
    let token = headers.fold(token, |token, (name, text)| token.header(name, value(text)));
    Ok(token.text())
}

fn claims(arguments: &arguments::Token, directory: &Directory) -> Outcome<Claims> {
    let issuer = or_else(&arguments.issuer, || directory.url())?;
    let audience = or_else(&arguments.audience, || directory.audience())?;
    let mut claims = Claims::new(&issuer, &audience, &arguments.subject);
    claims = match u64::try_from(arguments.expires_in) {
        Ok(seconds) => claims.valid(now(), seconds),
        // It was valid once, an hour long.
        Err(_) => claims.valid(now().saturating_sub(arguments.expires_in.unsigned_abs() + 3600), 3600),
    };
    if !arguments.groups.is_empty() {
        claims = claims.with("groups", arguments.groups.clone());
    }
    if let Some(path) = &arguments.certificate {
        claims = claims.bound_to(&certificate(path)?);
    }
    for (name, text) in &arguments.claim {
        claims = claims.with(name, value(text));
    }
    for name in &arguments.without {
        claims = claims.without(name);
    }
    Ok(claims)
}

fn or_else(given: &Option<String>, other: impl FnOnce() -> std::io::Result<String>) -> std::io::Result<String> {
    given.clone().map_or_else(other, Ok)
}

fn key(keys: &KeySet, name: &str) -> Outcome<std::sync::Arc<Key>> {
    let found = match name {
        "current" => Some(keys.current()),
        "old" => keys.old(),
        name => keys.named(name),
    };
    found.ok_or_else(|| format!("{name}: no such key; there are {}", names(keys)).into())
}

fn names(keys: &KeySet) -> String {
    let jwks = keys.jwks();
    let names = jwks["keys"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|key| key.get("kid").and_then(Value::as_str)).collect();
    names.join(", ")
}

fn certificate(path: &Path) -> Outcome<CertificateDer<'static>> {
    CertificateDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn say(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
