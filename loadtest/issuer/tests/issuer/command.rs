//! The program, and commands beside it while it runs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::client::Client;
use super::part;

struct Program {
    child: Child,
    directory: PathBuf,
    said: BTreeMap<String, String>,
}

impl Program {
    fn started(name: &str) -> Self {
        // Of this process: another run beside it has its own.
        let name = format!("{name}-{}", std::process::id());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut child = program()
            .args(["serve", "--address", "127.0.0.1:0", "--audience", "postern"])
            .args(["--algorithm", "ES256", "--subject", "alice", "--dir"])
            .arg(&directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let said = lines.map_while(|line| {
            let line = line.expect("a line");
            let (name, value) = line.split_once('=').expect("name=value");
            // The last of them.
            (name != "audience").then(|| (name.to_owned(), value.to_owned()))
        });
        let said = said.collect();
        Self { child, directory, said }
    }

    fn client(&self) -> Client {
        let address = self.said["issuer"].strip_prefix("https://").expect("HTTPS");
        let root = std::fs::read_to_string(&self.said["ca"]).expect("a root");
        Client::secured(address.parse().expect("an address"), &root)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let (command, further) = arguments.split_first().expect("a command");
        let output = program()
            .args([command, "--dir"])
            .arg(&self.directory)
            .args(further)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
        let _gone_already = std::fs::remove_dir_all(&self.directory);
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_postern-issuer"))
}

#[test]
fn tokens_are_made_beside_the_server_by_the_key_that_it_publishes() {
    let program = Program::started("tokens");
    let token = program.run(&[
        "token",
        "--subject",
        "alice",
        "--groups",
        "a,b",
        "--claim",
        "n=1",
        "--claim",
        "t=x",
    ]);
    let claims = part(&token, 1);
    assert_eq!(claims["iss"].as_str(), Some(program.said["issuer"].as_str()));
    assert_eq!(
        [
            &claims["aud"],
            &claims["sub"],
            &claims["groups"],
            &claims["n"],
            &claims["t"]
        ],
        [
            &json!("postern"),
            &json!("alice"),
            &json!(["a", "b"]),
            &json!(1),
            &json!("x")
        ]
    );
    let jwks = program.client().get("/jwks", &[]).expect("an answer").json();
    assert_eq!(jwks["keys"][0]["kid"], part(&token, 0)["kid"]);
    let expired = part(&program.run(&["token", "--subject", "alice", "--expires-in", "-5"]), 1);
    assert!(expired["exp"].as_u64() < claims["iat"].as_u64());
    let unsigned = program.run(&["token", "--subject", "alice", "--broken", "unsigned"]);
    assert_eq!(part(&unsigned, 0)["alg"], "none");
    let bound = ["token", "--subject", "alice", "--certificate", &program.said["ca"]];
    assert!(part(&program.run(&bound), 1)["cnf"]["x5t#S256"].is_string());
}

#[test]
fn the_server_notices_new_keys_and_faults() {
    let program = Program::started("keys");
    let mut client = program.client();
    let mut published = || client.get("/jwks", &[]).expect("an answer");
    assert_eq!(program.run(&["rotate", "--algorithm", "EdDSA"]), "key-2");
    assert_eq!(published().json()["keys"][1]["alg"], "EdDSA");
    let old = program.run(&["token", "--subject", "alice", "--kid", "old"]);
    assert_eq!(part(&old, 0)["kid"], "key-1");
    assert_eq!(program.run(&["rotate"]), "key-3");
    assert_eq!(published().json()["keys"][2]["alg"], "EdDSA");
    program.run(&["retire"]);
    assert_eq!(published().json()["keys"][0]["kid"], "key-3");
    program.run(&["fault", "jwks:500", "token:hang"]);
    assert_eq!(published().status, 500);
    program.run(&["fault", "none"]);
    assert_eq!(published().status, 200);
}

#[test]
fn the_webhook_answers_out_of_a_file() {
    let program = Program::started("webhook");
    let answers = json!({"alice": {"allow": true, "identity": "alice"}});
    std::fs::write(program.directory.join("webhook.json"), answers.to_string()).expect("a file");
    let mut client = program.client();
    assert_eq!(client.post("/webhook", r#"{"user": "alice"}"#).json(), answers["alice"]);
    assert_eq!(
        client.post("/webhook", r#"{"user": "bob"}"#).json(),
        json!({"allow": false})
    );
}

#[test]
fn sigterm_ends_it_well() {
    let mut program = Program::started("sigterm");
    let _idle = program.client().get("/jwks", &[]).expect("an answer");
    let pid = nix::unistd::Pid::from_raw(program.child.id().try_into().expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it lives");
    assert!(program.child.wait().expect("its status").success());
}
