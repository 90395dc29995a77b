//! What is said of tokens, and that it is what the gate says.

use postern_issuer::{Algorithm, Certificate, Endpoint, Fault, Issuer, Key, Settings, Token};
use serde_json::{Value, json};

use super::super::tests::assert_golden;
use super::super::{Exit, Terminal, run as command};
use crate::control::scratch::Scratch;
use crate::identity::certificate::fingerprint;
use crate::identity::token::testing::{Mint, NOW, claims, claims_with, encode};

const POLICY: &str = r#"
[provider.corp]
kind = "tokens"
issuer = "https://idp.example"
audiences = ["postern"]
algorithms = ["EdDSA"]
jwks_file = "keys.json"

[identity.alice]
keys = [{ provider = "corp", subject = "alice" }]

[cluster.main]
endpoints = ["127.0.0.1:5432"]
tls = "disable"

[cluster.main.role.app]
methods = ["trust"]

[grant.app]
identities = ["alice"]
databases = ["app"]
cluster = "main"
role = "app"

[[authentication]]
name = "tokens"
transport = "tls"
method = "token"
"#;

const RULES: &[&str] = &["--user", "alice", "--database", "app"];

struct Place(Scratch);

impl Place {
    fn new() -> Self {
        Self::with(POLICY)
    }

    fn with(policy: &str) -> Self {
        let dir = Scratch::new();
        dir.write_mode("policy.toml", policy, 0o644);
        dir.write_mode("keys.json", Mint::fixed("k").jwks(), 0o644);
        Self(dir)
    }

    /// With keys at a URL, and those of the test in a file beside.
    fn at_a_url() -> Self {
        let url = "jwks_url = \"https://idp.example/keys\"";
        Self::with(&POLICY.replace("jwks_file = \"keys.json\"", url))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, words: &[&str], token: &str, more: &[&str]) -> (Exit, String) {
        let file = self.0.write_mode("token", token, 0o600).display().to_string();
        let (directory, at) = (self.0.path().display().to_string(), NOW.to_string());
        let given = ["--token", &file, "--at", &at];
        let arguments = [&["postern"], words, &[&directory], &given, more].concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let exit = command(arguments.into_iter().map(Into::into), &mut terminal);
        let said = String::from_utf8([out, err].concat()).expect("text");
        let signature = token.rsplit('.').next().unwrap_or_default();
        assert!(signature.len() < 20 || !said.contains(signature), "a signature: {said}");
        (exit, said)
    }

    fn inspect(&self, token: &str, more: &[&str]) -> (Exit, String) {
        self.run(&["token", "inspect"], token, more)
    }

    fn explain(&self, token: &str, more: &[&str]) -> (Exit, String) {
        self.run(&["explain"], token, &[&["--from", "127.0.0.1"], RULES, more].concat())
    }
}

fn token(claims: Value) -> String {
    Mint::fixed("k").token(claims)
}

#[test]
fn a_good_token_is_told_claim_by_claim_and_rule_by_rule() {
    let place = Place::new();
    let (exit, said) = place.inspect(&token(claims()), RULES);
    assert_eq!(exit, Exit::Ok, "{said}");
    assert_golden("token-good.txt", &said, None);
    let (exit, said) = place.inspect(&token(claims()), &["--user", "alice", "--database", "other"]);
    assert_eq!(exit, Exit::Found, "{said}");
}

#[test]
fn every_check_that_fails_is_told() {
    let mut bad = claims_with("aud", json!(["others", "\u{1b}[2J"]));
    bad["exp"] = json!(NOW.seconds() - 60);
    bad["nbf"] = json!(NOW.seconds() + 60);
    let (exit, said) = Place::new().inspect(&token(bad), &[]);
    assert_eq!(exit, Exit::Found);
    assert_golden("token-bad.txt", &said, None);
}

#[test]
fn what_cannot_be_read_and_whose_issuer_is_unknown_is_told() {
    let place = Place::new();
    let (exit, said) = place.inspect("nonsense", &[]);
    assert!(exit == Exit::Found && said.contains("token_malformed"), "{said}");
    let strange = token(claims_with("iss", json!("https://idp.example/")));
    let (exit, said) = place.inspect(&strange, RULES);
    assert_eq!(exit, Exit::Found);
    assert_golden("token-strange.txt", &said, None);
}

#[test]
fn a_bad_signature_proves_nothing_and_hides_nothing() {
    let (place, forged) = (Place::new(), Mint::ed25519("k").token(claims()));
    let (exit, said) = place.inspect(&forged, RULES);
    assert_eq!(exit, Exit::Found);
    assert_golden("token-forged.txt", &said, None);
}

#[test]
fn keys_at_a_url_are_given_or_the_signature_is_not_checked() {
    let (place, token) = (Place::at_a_url(), token(claims()));
    let (exit, said) = place.inspect(&token, RULES);
    assert_eq!(exit, Exit::BadInput);
    assert_golden("token-unchecked.txt", &said, None);
    let keys = place.path("keys.json");
    assert_eq!(place.inspect(&token, &[RULES, &["--jwks", &keys]].concat()).0, Exit::Ok);
    let late = self::token(claims_with("exp", json!(NOW.seconds() - 60)));
    assert_eq!(
        place.inspect(&late, &[]).0,
        Exit::Found,
        "what is wrong for sure comes first"
    );
}

#[test]
fn a_revoked_token_is_permitted_by_no_rule() {
    let revoked = "[revocation.lost]\nprovider = \"corp\"\nsubjects = [\"alice\"]\n";
    let place = Place::with(&format!("{POLICY}\n{revoked}"));
    for (exit, said) in [
        place.inspect(&token(claims()), RULES),
        place.explain(&token(claims()), &[]),
    ] {
        assert_eq!(exit, Exit::Found);
        assert!(said.contains("token_revoked") && !said.contains("permitted"), "{said}");
    }
    let (_, said) = place.inspect(&token(claims()), &[]);
    assert!(
        said.contains("no  revocation: wanted none, got lost: token_revoked"),
        "{said}"
    );
}

#[test]
fn a_rule_that_wants_both_gets_certificate_and_token() {
    let made = rcgen::generate_simple_self_signed(vec!["alice.test".into()]).expect("a certificate");
    let print = fingerprint(made.cert.der());
    let pin = crate::control::keeper::hex(&print);
    let keys = format!("keys = [{{ certificate_sha256 = \"{pin}\" }}, {{");
    let both = POLICY.replace("keys = [{", &keys);
    let both = both.replace("method = \"token\"", "method = \"certificate+token\"");
    let place = Place::with(&both.replace("role = \"app\"\n\n[[", "role = \"app\"\nkey_bound = true\n\n[["));
    place.0.write_mode("alice.pem", made.cert.pem(), 0o644);
    let other = rcgen::generate_simple_self_signed(vec!["other.test".into()]).expect("a certificate");
    place.0.write_mode("other.pem", other.cert.pem(), 0o644);
    let (alice, other) = (place.path("alice.pem"), place.path("other.pem"));
    let bound = token(claims_with("cnf", json!({ "x5t#S256": encode(&print) })));
    for (certificate, exit, wanted) in [
        (&["--cert", &alice][..], Exit::Ok, "permitted by grant app"),
        (&["--cert", &other], Exit::Found, "  refused: the certificate is "),
        (&[], Exit::Found, "the rule wants a certificate and there is none"),
    ] {
        let inspected = place.inspect(&bound, &[RULES, certificate].concat());
        let explained = place.explain(&bound, certificate);
        for (ended, said) in [inspected, explained] {
            assert!(ended == exit && said.contains(wanted), "{wanted}: {said}");
        }
    }
    let (_, said) = place.inspect(&bound, &["--cert", &other]);
    assert!(
        said.contains("got bound to another certificate: token_binding_mismatch"),
        "{said}"
    );
}

#[test]
fn a_token_that_counts_once_says_so() {
    let place = Place::with(&POLICY.replace("jwks_file", "one_time = true\nmax_age = \"5m\"\njwks_file"));
    let (exit, said) = place.inspect(&token(claims()), &[]);
    assert!(exit == Exit::Found && said.contains("token_id_missing"), "{said}");
    let mut named = claims_with("jti", json!("one"));
    named["iat"] = json!(NOW.seconds() - 100);
    let (exit, said) = place.inspect(&token(named), &[]);
    assert_eq!(exit, Exit::Ok, "{said}");
    assert!(said.contains("got 100s, holds for 230s more"), "{said}");
    assert!(said.contains("counts once"), "{said}");
}

/// What a gate refuses when it starts, `check` tells before.
#[test]
fn a_key_set_that_no_gate_takes_is_told_of() {
    let place = Place::new();
    let directory = place.0.path().display().to_string();
    let output = place.path("policy.snapshot");
    let told = |keys: &str| {
        place.0.write_mode("keys.json", keys, 0o644);
        for words in [
            &["postern", "check", &directory][..],
            &["postern", "compile", &directory, "-o", &output],
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut terminal = Terminal {
                out: &mut out,
                err: &mut err,
            };
            let exit = command(words.iter().map(Into::into), &mut terminal);
            let said = String::from_utf8(err).expect("text");
            assert!(
                exit != Exit::Ok && said.contains("provider corp: the key set"),
                "{words:?}: {said}"
            );
            assert!(!std::fs::exists(&output).expect("a directory"));
        }
    };
    told(r#"{"keys": []}"#);
    told(r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#);
}

#[test]
fn explain_takes_a_token() {
    let (place, good) = (Place::new(), token(claims()));
    let (exit, said) = place.explain(&good, &[]);
    assert_eq!(exit, Exit::Ok, "{said}");
    assert_golden("explain-token.txt", &said, None);
    let late = token(claims_with("exp", json!(NOW.seconds() - 60)));
    for (bad, reason) in [
        (late.as_str(), "token_expired"),
        ("nonsense", "token_malformed"),
        (&Mint::ed25519("k").token(claims()), "token_signature_invalid"),
    ] {
        let (exit, said) = place.explain(bad, &[]);
        assert!(exit == Exit::Found && said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn explain_needs_the_keys() {
    let (place, good) = (Place::at_a_url(), token(claims()));
    let (exit, said) = place.explain(&good, &[]);
    assert!(exit == Exit::BadInput && said.contains("--jwks"), "{said}");
    let keys = place.path("keys.json");
    assert_eq!(place.explain(&good, &["--jwks", &keys]).0, Exit::Ok);
}

#[test]
fn a_token_comes_by_standard_input_too() {
    use super::super::arguments::{Arguments, Command};
    use clap::Parser;
    let place = Place::new();
    let directory = place.0.path().display().to_string();
    let at = NOW.to_string();
    for token_place in ["--token=-", "--jwks=keys.json"] {
        let keys = format!("--jwks={}", place.path("keys.json"));
        let token_place = token_place.replace("--jwks=keys.json", &keys);
        let words = ["postern", "token", "inspect", &directory, "--at", &at, &token_place];
        let Command::Token(inspected) = Arguments::try_parse_from(words).expect("usage").command else {
            panic!("another command");
        };
        let super::super::arguments::TokenCommand::Inspect(arguments) = inspected.command;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let line = format!("{}\r\n", token(claims()));
        assert_eq!(super::run(&arguments, &mut line.as_bytes(), &mut terminal), Exit::Ok);
    }
}

/// With the fetched keys' own provider on this machine. What the gate's room does with it is tested there.
#[test]
fn keys_are_fetched_from_the_provider() {
    let issuer = Issuer::start(settings()).expect("an issuer");
    let place = Place::with(&of_issuer(&issuer));
    place.0.write_mode("root.pem", issuer.root_pem(), 0o644);
    let claims = || issuer.claims("alice").valid(NOW.seconds().unsigned_abs(), 600);
    let good = issuer.token(claims());
    let (exit, said) = place.inspect(&good, &[RULES, &["--fetch"]].concat());
    assert_eq!(exit, Exit::Ok, "{said}");
    assert!(said.contains("the gate takes it for `alice`"), "{said}");
    assert_eq!(place.explain(&good, &["--fetch"]).0, Exit::Ok);
    let forged = Token::new(&Key::generate(Algorithm::EdDsa, "0"), claims()).text();
    let (exit, said) = place.inspect(&forged, &["--fetch"]);
    assert!(exit == Exit::Found && said.contains("token_unknown_key"), "{said}");
}

#[test]
fn a_provider_that_gives_no_keys_is_told_of() {
    let issuer = Issuer::start(settings()).expect("an issuer");
    let place = Place::with(&of_issuer(&issuer));
    let good = issuer.token(issuer.claims("alice"));
    place.0.write_mode("root.pem", Certificate::generate().root, 0o644);
    let failed = |why: &str| {
        for (exit, said) in [place.inspect(&good, &["--fetch"]), place.explain(&good, &["--fetch"])] {
            assert_eq!(exit, Exit::Unavailable, "{said}");
            let words = format!("provider corp: its keys cannot be fetched: {}", issuer.url());
            assert!(said.contains(&words) && said.contains(why), "{said}");
        }
    };
    failed("invalid peer certificate");
    place.0.write_mode("root.pem", issuer.root_pem(), 0o644);
    issuer.set_fault(Endpoint::Jwks, Fault::Status(500));
    failed("answered with status 500");
    let (exit, said) = place.inspect(&token(claims()), &["--fetch"]);
    assert!(
        exit == Exit::Found && said.contains("token_issuer_unknown"),
        "nobody is asked: {said}"
    );
}

fn settings() -> Settings {
    Settings {
        certificate: Certificate::generate(),
        ..Settings::new(([127, 0, 0, 1], 0).into(), "postern")
    }
}

fn of_issuer(issuer: &Issuer) -> String {
    let said = format!("issuer = \"{}\"", issuer.url());
    let policy = POLICY.replace("issuer = \"https://idp.example\"", &said);
    let policy = policy.replace("[\"EdDSA\"]", "[\"EdDSA\", \"ES256\", \"RS256\"]");
    policy.replace("jwks_file = \"keys.json\"", "roots = [\"root.pem\"]")
}

/// Nobody is asked: the answer is given, and read and judged as the gate does.
#[test]
fn explain_takes_the_answer_of_a_webhook() {
    let desk = "kind = \"webhook\"\nurl = \"https://desk.example/ask\"\n\n[provider.other]\n";
    let policy = POLICY
        .replace("kind = \"tokens\"", &format!("{desk}kind = \"tokens\""))
        .replace("method = \"token\"", "method = \"webhook\"\nproviders = [\"corp\"]");
    let place = Place::with(&policy);
    let directory = place.0.path().display().to_string();
    let explained = |answer: &str, user: &str| {
        let file = place.0.write_mode("answer.json", answer, 0o644).display().to_string();
        let words = [
            "postern",
            "explain",
            &directory,
            "--answer",
            &file,
            "--from",
            "127.0.0.1",
        ];
        let rest = ["--user", user, "--database", "app"];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let exit = command(words.into_iter().chain(rest).map(Into::into), &mut terminal);
        (exit, String::from_utf8([out, err].concat()).expect("text"))
    };
    for (answer, exit, says) in [
        (
            r#"{"allow": true, "identity": "alice"}"#,
            Exit::Ok,
            "permitted by grant app",
        ),
        (
            r#"{"allow": true, "identity": "mallory"}"#,
            Exit::Found,
            "subject_unknown",
        ),
        (
            r#"{"allow": false, "reason": "off duty"}"#,
            Exit::Found,
            "webhook_denied",
        ),
        (r#"{"allow": true}"#, Exit::BadInput, "without an identity"),
    ] {
        let (ended, said) = explained(answer, "alice");
        assert!(ended == exit && said.contains(says), "{answer}: {ended:?} {said}");
    }
    let place = Place::new();
    let (exit, said) = place.run(
        &["explain"],
        "x",
        &[
            "--from",
            "127.0.0.1",
            "--user",
            "alice",
            "--answer",
            &place.path("keys.json"),
        ],
    );
    assert_eq!(exit, Exit::Usage, "a token and an answer: {said}");
}
