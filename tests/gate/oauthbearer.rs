//! OAUTHBEARER byte for byte, as RFC 7628 and PostgreSQL's documentation ("OAUTHBEARER Authentication", "Message Formats")
//! have it, over TLS to a running gate.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::support::issuer::{OAUTH, TokenGate};
use crate::support::place::wait_for;
use crate::support::record::at;
use crate::support::servers::Server;
use crate::support::stranger::startup;
use crate::support::tls_stranger::{TlsStranger, arrive, configuration};

const SOON: Duration = Duration::from_secs(10);
/// AuthenticationSASL: one mechanism, and the end of the list.
const ASKED: &[u8] = b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0";
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
/// SASLResponse of one separator: the client's answer to the challenge (RFC 7628, 3.2.3).
const DUMMY: &[u8] = b"p\0\0\0\x05\x01";

struct Client(TlsStranger);

impl Client {
    fn asked_for_a_token(world: &TokenGate) -> Self {
        let gate = &world.gate;
        let tls = configuration(&gate.ca, &gate.policy.cards.nobody);
        let mut client = Self(arrive(gate.ports.passwords, &tls));
        client.say(&startup(&[("user", OAUTH), ("database", &gate.database.name)]));
        client.hears(ASKED);
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it is sent");
    }

    #[track_caller]
    fn hears(&mut self, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).expect("an answer");
        assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[track_caller]
    fn hears_nothing_more(mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("a clean end");
        assert_eq!(rest, b"");
    }
}

#[test]
fn a_token_in_the_first_message_and_in_one_of_its_own() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let token = world.token(world.claims());
    let mut client = Client::asked_for_a_token(&world);
    client.say(&first(&bearer(&token)));
    client.hears(OK);

    let mut client = Client::asked_for_a_token(&world);
    // No initial response: its length is -1.
    client.say(&message(&[b"OAUTHBEARER\0", &[0xff; 4]]));
    client.hears(b"R\0\0\0\x08\0\0\0\x0b");
    client.say(&message(&[&bearer(&token)]));
    client.hears(OK);
}

#[test]
fn no_token_and_a_wrong_one_hear_where_to_get_one() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let json = format!(
        "{{\"status\":\"invalid_token\",\"openid-configuration\":\"{}/.well-known/openid-configuration\",\"scope\":\"openid postern\"}}",
        world.issuer.url()
    );
    let challenge = tagged(b'R', &[b"\0\0\0\x0b", json.as_bytes()]);
    let error = format!("SFATAL\0VFATAL\0C28000\0MOAuth bearer authentication failed for user \"{OAUTH}\"\0\0");
    let error = tagged(b'E', &[error.as_bytes()]);
    let wrong = world.signed(|token| token.with_broken_signature());
    for (data, outcome) in [
        (b"n,,\x01auth=\x01\x01".to_vec(), "discovery"),
        (bearer(&wrong), "denied"),
    ] {
        let mut client = Client::asked_for_a_token(&world);
        client.say(&first(&data));
        client.hears(&challenge);
        client.say(DUMMY);
        client.hears(&error);
        client.hears_nothing_more();
        world.gate.record.attempt_where(outcome, |attempt| {
            at(attempt, "outcome") == outcome && at(attempt, "rule") == "oauth"
        });
    }
}

/// PostgreSQL's words, and its SQLSTATE, for what is none of its messages.
#[test]
fn what_is_no_message_of_rfc_7628_is_told_as_that() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    for (data, sqlstate) in [
        (&b"p=tls-exporter,,\x01auth=\x01\x01"[..], "C08P01"),
        (b"n,a=somebody,\x01auth=\x01\x01", "C0A000"),
        (b"n,,\x01host=x\x01\x01", "C08P01"),
        (b"", "C08P01"),
    ] {
        let mut client = Client::asked_for_a_token(&world);
        client.say(&first(data));
        let mut heard = Vec::new();
        client.0.read_to_end(&mut heard).expect("a clean end");
        assert_eq!(heard.first(), Some(&b'E'), "{}", heard.escape_ascii());
        let said = String::from_utf8_lossy(&heard).into_owned();
        assert!(said.split('\0').any(|field| field == sqlstate), "{said}");
    }
    wait_for("the record has them all", SOON, || {
        let attempts = world.gate.record.events("attempt");
        let malformed = attempts
            .iter()
            .filter(|line| at(line, "reason") == "oauthbearer_malformed");
        (malformed.count() == 4).then_some(())
    });
}

fn bearer(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

/// SASLInitialResponse.
fn first(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a length");
    message(&[b"OAUTHBEARER\0", &length.to_be_bytes(), data])
}

fn message(parts: &[&[u8]]) -> Vec<u8> {
    tagged(b'p', parts)
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len() + 4).expect("a length");
    [&[tag][..], &length.to_be_bytes(), &body].concat()
}
