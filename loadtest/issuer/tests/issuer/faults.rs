//! The issuer when it fails, and what is counted.

use std::time::{Duration, Instant};

use postern_issuer::{Certificate, Endpoint, Fault, Issuer, Response};

use super::client::Client;
use super::{client_of, settings, started};

#[test]
fn an_endpoint_fails_as_told_while_the_others_answer() {
    let (issuer, mut client) = started(settings());
    issuer.set_fault(Endpoint::Jwks, Fault::Status(503));
    assert_eq!(client.get("/jwks", &[]).expect("an answer").status, 503);
    let discovery = "/.well-known/openid-configuration";
    assert_eq!(client.get(discovery, &[]).expect("an answer").status, 200);
    issuer.set_fault(Endpoint::Jwks, Fault::Garbage);
    let garbage = client.get("/jwks", &[]).expect("an answer");
    assert_eq!(garbage.header("Content-Type"), Some("application/json"));
    serde_json::from_slice::<serde_json::Value>(&garbage.body).expect_err("no JSON");
    let moved = Response::new(302).with("Location", "https://elsewhere/jwks");
    issuer.set_fault(Endpoint::Jwks, Fault::Answer(moved));
    let answer = client.get("/jwks", &[]).expect("an answer");
    assert_eq!(
        (answer.status, answer.header("Location")),
        (302, Some("https://elsewhere/jwks"))
    );
    issuer.set_fault(Endpoint::Jwks, Fault::None);
    assert_eq!(client.get("/jwks", &[]).expect("an answer").status, 200);
    assert_eq!(
        (issuer.requests(Endpoint::Jwks), issuer.requests(Endpoint::Discovery)),
        (4, 1)
    );
}

#[test]
fn a_connection_ends_or_hangs() {
    let (issuer, mut client) = started(settings());
    issuer.set_faults(&Fault::CloseAtOnce);
    client.get("/jwks", &[]).expect_err("no answer");
    issuer.set_faults(&Fault::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec(),
    ));
    client_of(&issuer).get("/jwks", &[]).expect_err("half an answer");
    issuer.set_faults(&Fault::Hang);
    let error = client_of(&issuer).get("/jwks", &[]).expect_err("no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
}

#[test]
fn an_answer_is_late() {
    let (issuer, mut client) = started(settings());
    issuer.set_fault(Endpoint::Jwks, Fault::Delay(Duration::from_millis(200)));
    let begin = Instant::now();
    assert_eq!(client.get("/jwks", &[]).expect("an answer").status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn the_right_answer_comes_in_chunks_or_in_drops() {
    let (issuer, mut client) = started(settings());
    let whole = client.get("/jwks", &[]).expect("an answer").body;
    issuer.set_fault(Endpoint::Jwks, Fault::Chunked);
    let chunked = client.get("/jwks", &[]).expect("an answer");
    assert_eq!((chunked.header("Content-Length"), &chunked.body), (None, &whole));
    issuer.set_fault(Endpoint::Jwks, Fault::Drip(Duration::from_millis(1)));
    let begin = Instant::now();
    let slow = client.get("/jwks", &[]).expect("an answer");
    assert_eq!(slow.body, whole);
    assert!(begin.elapsed() >= Duration::from_millis(whole.len().try_into().expect("short")));
}

#[test]
fn a_certificate_may_have_another_name_or_another_root() {
    let mut other = settings();
    other.certificate = Certificate::for_names(&["elsewhere"]);
    let (_issuer, mut client) = started(other);
    let error = client.get("/jwks", &[]).expect_err("another name");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let issuer = Issuer::start(settings()).expect("an issuer");
    let mut client = Client::secured(issuer.address(), &Certificate::generate().root);
    let error = client.get("/jwks", &[]).expect_err("another root");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[test]
fn connections_are_counted_and_can_be_ended() {
    let (issuer, mut one) = started(settings());
    let mut two = client_of(&issuer);
    for client in [&mut one, &mut two] {
        assert_eq!(client.get("/jwks", &[]).expect("an answer").status, 200);
    }
    assert_eq!((issuer.connections().now, issuer.connections().most), (2, 2));
    drop(two);
    wait_until(|| issuer.connections().now == 1);
    issuer.close_connections();
    wait_until(|| issuer.connections().now == 0);
    one.get("/jwks", &[]).expect_err("ended");
    assert_eq!((issuer.connections().most, issuer.connections().ever), (2, 2));
}

#[test]
fn it_ends_at_once_while_clients_hang() {
    let (issuer, _idle) = started(settings());
    issuer.set_faults(&Fault::Hang);
    let mut hanging = client_of(&issuer);
    let hangs = std::thread::spawn(move || hanging.get("/jwks", &[]).expect_err("no answer").kind());
    wait_until(|| issuer.requests(Endpoint::Jwks) == 1);
    let begin = Instant::now();
    drop(issuer);
    assert!(begin.elapsed() < Duration::from_secs(1));
    let kind = hangs.join().expect("it ended");
    assert_ne!(kind, std::io::ErrorKind::WouldBlock);
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
}
