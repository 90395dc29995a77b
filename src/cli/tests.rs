//! What each command says and how it ends. Expected texts stand in `golden/`; `UPDATE_GOLDEN=1` writes them anew, to be
//! looked at before they are committed.

use std::path::Path;

use clap::CommandFactory;

use super::*;
use crate::control::keeper::hex;
use crate::control::scratch::Scratch;
use crate::identity::certificate::CertificateFacts;
use crate::identity::scram::{derive, verifier as scram_verifier};

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

fn postern(arguments: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = std::iter::once("postern")
        .chain(arguments.iter().copied())
        .map(OsString::from);
    let exit = run(
        arguments,
        &mut Terminal {
            out: &mut out,
            err: &mut err,
        },
    );
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        exit,
        out: text(out),
        err: text(err),
    }
}

/// Compares with the file, after the test's own directory was taken out of `text`.
pub(super) fn assert_golden(name: &str, text: &str, dir: Option<&Scratch>) {
    let shown = match dir {
        Some(dir) => text.replace(&dir.path().display().to_string(), "DIR"),
        None => text.to_owned(),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    assert_eq!(
        shown,
        std::fs::read_to_string(&path).unwrap_or_default(),
        "{}",
        path.display()
    );
}

const GOOD: &str = r#"
[identity.alice]
scram = "SCRAM-SHA-256$4096:AQEBAQEBAQEBAQEBAQEBAQ==$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="

[cluster.main]
endpoints = ["127.0.0.1:1"]
tls = "disable"

[cluster.main.role.app]
password_file = "app.password"

[grant.orders]
identities = ["alice"]
databases = ["orders"]
cluster = "main"
role = "app"

[[authentication]]
name = "people"
method = "scram-sha-256"
"#;

fn good_policy() -> Scratch {
    let dir = Scratch::new();
    dir.write("policy.toml", GOOD);
    dir.write_mode("app.password", "secret", 0o600);
    dir
}

fn path(dir: &Scratch) -> &str {
    dir.path().to_str().unwrap()
}

#[test]
fn the_definition_of_every_flag_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn help_is_as_written_and_cannot_fail() {
    for (name, arguments) in [
        ("help.txt", &["--help"][..]),
        ("help-serve.txt", &["serve", "--help"]),
        ("help-check.txt", &["check", "--help"]),
        ("help-explain.txt", &["explain", "--help"]),
        ("help-compile.txt", &["compile", "--help"]),
        ("help-verifier.txt", &["verifier", "--help"]),
        ("help-enroll.txt", &["enroll", "--help"]),
        ("help-token-inspect.txt", &["token", "inspect", "--help"]),
        ("help-providers.txt", &["providers", "--help"]),
        ("help-audit-verify.txt", &["audit", "verify", "--help"]),
    ] {
        let ran = postern(arguments);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{name}");
        assert_golden(name, &ran.out, None);
    }
}

#[test]
fn what_cannot_be_understood_is_usage() {
    for arguments in [
        &["serfe"][..],
        &["check"],
        &["explain", "d", "--from", "nowhere"],
        &["verifier", "--iterations", "1"],
        &["enroll", "alice"],
        &["enroll", "alice", "--password-stdin", "--public-key"],
        &["enroll", "alice", "--password-stdin", "--force"],
        &["enroll", "alice", "--certificate", "a.pem", "--iterations", "5000"],
    ] {
        let ran = postern(arguments);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{arguments:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn a_password_is_no_argument() {
    assert_eq!(postern(&["verifier", "secret"]).exit, Exit::Usage);
}

#[test]
fn a_good_policy_is_nothing_to_talk_about() {
    let dir = good_policy();
    let ran = postern(&["check", path(&dir)]);
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Ok, "", ""));
}

#[test]
fn every_fault_of_a_policy_is_shown_at_once() {
    let dir = good_policy();
    dir.write(
        "more.toml",
        "[grant.late]\nidentities = [\"bob\"]\ndatabases = [\"orders\"]\ncluster = \"man\"\nrole = \"app\"\nrols = 1\n",
    );
    let ran = postern(&["check", path(&dir)]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Found, ""));
    assert_golden("check-faults.txt", &ran.err, Some(&dir));
}

#[test]
fn check_wants_secrets_to_be_usable_and_serving_does_not() {
    let dir = good_policy();
    dir.write_mode("app.password", "secret", 0o644);
    let ran = postern(&["check", path(&dir)]);
    assert_eq!(ran.exit, Exit::Found);
    assert!(ran.err.contains("chmod 0600"), "{}", ran.err);
    let snapshot = dir.path().join("out").display().to_string();
    assert_eq!(postern(&["compile", path(&dir), "-o", &snapshot]).exit, Exit::Ok);
}

#[test]
fn a_live_check_of_a_server_that_is_down_says_so() {
    let dir = good_policy();
    let ran = postern(&["check", path(&dir), "--live"]);
    assert_eq!(ran.exit, Exit::Unavailable);
    assert!(
        ran.out
            .starts_with("cluster main, role app: database orders: no endpoint works: 127.0.0.1:1: "),
        "{}",
        ran.out
    );
}

#[test]
fn a_compiled_policy_is_the_same_policy() {
    let dir = good_policy();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let ran = postern(&["compile", path(&dir), "-o", first.to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let moved = Scratch::new();
    std::fs::copy(&first, moved.path().join("fleet.snapshot")).unwrap();
    assert_eq!(
        postern(&["compile", path(&moved), "-o", second.to_str().unwrap()]).exit,
        Exit::Ok
    );
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
}

#[test]
fn nothing_is_written_for_a_bad_policy_or_to_a_bad_place() {
    let dir = good_policy();
    let nowhere = dir.path().join("no/such/place").display().to_string();
    assert_eq!(
        postern(&["compile", path(&dir), "-o", &nowhere]).exit,
        Exit::CannotWrite
    );
    dir.write("bad.toml", "x = 1");
    let output = dir.path().join("out");
    let ran = postern(&["compile", path(&dir), "-o", output.to_str().unwrap()]);
    assert_eq!((ran.exit, output.exists()), (Exit::BadInput, false));
}

#[test]
fn a_verifier_is_made_from_the_first_line_of_standard_input() {
    for (input, password) in [("pw", "pw"), ("pw\n", "pw"), ("pw\r\nmore", "pw"), (" p w \n", " p w ")] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let exit = verifier::run(
            &arguments::Verifier { iterations: 5000 },
            &mut input.as_bytes(),
            &mut terminal,
        );
        assert_eq!(exit, Exit::Ok);
        let made = scram_verifier::parse(std::str::from_utf8(&out).unwrap().trim_end()).unwrap();
        let keys = derive(password.as_bytes(), &made.salt, 5000);
        assert_eq!(
            (made.iterations, made.stored_key),
            (5000, keys.stored_key()),
            "{input:?}"
        );
    }
}

#[test]
fn no_password_makes_no_verifier() {
    for input in ["", "\n", "a\0b"] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let exit = verifier::run(
            &arguments::Verifier { iterations: 4096 },
            &mut input.as_bytes(),
            &mut terminal,
        );
        assert_eq!((exit, out.is_empty()), (Exit::BadInput, true), "{input:?}");
    }
}

#[test]
fn a_record_is_whole_or_not() {
    let dir = Scratch::new();
    let good = dir.write(
        "good.jsonl",
        r#"{"time":"2026-11-23T11:11:52.836800Z","event":"process.stopped","why":"signal","sessions_ended":0}
"#,
    );
    let ran = postern(&["audit", "verify", good.to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.out);
    let bad = dir.write("bad.jsonl", "garbage\n{}\n");
    assert_eq!(postern(&["audit", "verify", bad.to_str().unwrap()]).exit, Exit::Found);
    assert_eq!(postern(&["audit", "verify", "/no/such/record"]).exit, Exit::BadInput);
}

#[test]
fn a_gate_without_configuration_does_not_start() {
    let dir = Scratch::new();
    let ran = postern(&["serve", "--config", dir.path().join("postern.toml").to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::BadInput);
    assert!(ran.err.contains("postern.toml"), "{}", ran.err);
}

#[test]
fn version_is_one_line() {
    let ran = postern(&["version"]);
    assert_eq!((ran.exit, ran.out.lines().count()), (Exit::Ok, 1));
    assert!(ran.out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_attempt_is_explained_rule_by_rule() {
    let dir = good_policy();
    let ask = |more: &[&str]| {
        let base = [
            "explain",
            path(&dir),
            "--user",
            "alice",
            "--from",
            "10.1.2.3",
            "--at",
            "2026-03-01T03:00:00Z",
        ];
        postern(&[&base[..], more].concat())
    };
    let permitted = ask(&["--database", "orders", "--proof", "scram"]);
    assert_eq!((permitted.exit, permitted.err.as_str()), (Exit::Ok, ""));
    assert_golden("explain-permitted.txt", &permitted.out, None);
    let refused = ask(&["--database", "payroll", "--proof", "scram"]);
    assert_eq!(refused.exit, Exit::Found);
    assert_golden("explain-refused.txt", &refused.out, None);
    let unproven = ask(&["--database", "orders"]);
    assert_eq!(unproven.exit, Exit::Found);
    assert!(!unproven.out.contains("grants"), "{}", unproven.out);
}

#[test]
fn a_certificate_is_judged_as_the_gate_judges_it() {
    let made = rcgen::generate_simple_self_signed(vec!["billing.test".into()]).unwrap();
    let pin = crate::control::keeper::hex(&crate::identity::certificate::fingerprint(made.cert.der()));
    let dir = good_policy();
    let pinned = format!("[identity.\"svc:billing\"]\nkeys = [{{ certificate_sha256 = \"{pin}\" }}]\n");
    let grant = "[grant.billing]\nidentities = [\"svc:billing\"]\ndatabases = [\"orders\"]\ncluster = \"main\"\nrole = \"app\"\n";
    dir.write("billing.toml", format!("{pinned}{grant}"));
    dir.write(
        "policy.toml",
        GOOD.replace(
            "method = \"scram-sha-256\"",
            "transport = \"tls\"\nmethod = \"certificate\"",
        ),
    );
    dir.write("billing.pem", made.cert.pem());
    write_unknown_certificate(&dir);
    let ask = |file: &str| {
        let file = dir.path().join(file).display().to_string();
        postern(&[
            "explain",
            path(&dir),
            "--cert",
            &file,
            "--user",
            "svc:billing",
            "--database",
            "orders",
            "--from",
            "::1",
        ])
    };
    let known = ask("billing.pem");
    assert_eq!(known.exit, Exit::Ok, "{}{}", known.out, known.err);
    assert!(known.out.contains("svc:billing"), "{}", known.out);
    assert_eq!(ask("other.pem").exit, Exit::Found);
    assert_eq!(ask("policy.toml").exit, Exit::BadInput);
}

/// A certificate that nobody knows.
fn write_unknown_certificate(dir: &Scratch) {
    let other = rcgen::generate_simple_self_signed(vec!["other.test".into()]).unwrap();
    dir.write("other.pem", other.cert.pem());
}

/// With `input` on standard input.
fn enroll(arguments: &[&str], input: &str) -> Ran {
    let all = ["postern", "enroll"].iter().chain(arguments);
    let Command::Enroll(arguments) = Arguments::try_parse_from(all).unwrap().command else {
        panic!("another command");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
    };
    let exit = enroll::run(&arguments, &mut input.as_bytes(), &mut terminal);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        exit,
        out: text(out),
        err: text(err),
    }
}

/// A certificate whose subject would like to be policy.
fn write_certificate(dir: &Scratch) -> (String, CertificateFacts) {
    let mut params = rcgen::CertificateParams::new(vec!["billing.test".into()]).unwrap();
    let name = "billing\n[grant.all]\neveryone = true";
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(2031, 5, 6);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    dir.write("billing.pem", made.pem());
    let facts = CertificateFacts::read(made.der()).unwrap();
    (dir.path().join("billing.pem").display().to_string(), facts)
}

#[test]
fn an_enrolled_certificate_is_an_identity_of_the_policy() {
    let dir = good_policy();
    let (certificate, facts) = write_certificate(&dir);
    dir.write("groups.toml", "[group.payments]\n");
    let output = dir.path().join("billing.toml");
    let file = output.to_str().unwrap();
    let fixed = [
        "svc:billing",
        "--certificate",
        &certificate,
        "--alias",
        "billing",
        "--group",
        "payments",
    ];
    let shown = enroll(&fixed, "");
    assert_eq!((shown.exit, shown.err.as_str()), (Exit::Ok, ""));
    let pin = format!("keys = [{{ certificate_sha256 = \"{}\" }}]", hex(&facts.fingerprint));
    for wanted in [
        "\n[identity.\"svc:billing\"]\naliases = [\"billing\"]\ngroups = [\"payments\"]\n",
        &pin,
        "# not after: 2031-05-06T00:00:00Z",
        "# subject:   CN=",
    ] {
        assert!(shown.out.contains(wanted), "{wanted}: {}", shown.out);
    }
    assert!(!shown.out.contains("\n[grant"), "{}", shown.out);
    let saved = enroll(&[&fixed[..], &["-o", file]].concat(), "");
    assert_eq!((saved.exit, saved.err.as_str()), (Exit::Ok, ""));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), shown.out);
    assert_eq!(postern(&["check", path(&dir)]).exit, Exit::Ok);
}

#[test]
fn a_public_key_is_enrolled_instead_of_its_certificate() {
    let dir = Scratch::new();
    let (certificate, facts) = write_certificate(&dir);
    let ran = enroll(&["billing", "--certificate", &certificate, "--public-key"], "");
    let pin = format!("keys = [{{ public_key_sha256 = \"{}\" }}]", hex(&facts.public_key));
    assert!(ran.out.contains(&pin), "{}", ran.out);
}

#[test]
fn an_enrolled_password_is_a_verifier_and_nothing_else() {
    let ran = enroll(&["alice", "--password-stdin", "--iterations", "5000"], "marker-pw\n");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    let line = ran.out.lines().find_map(|line| line.strip_prefix("scram = ")).unwrap();
    let made = scram_verifier::parse(line.trim_matches('"')).unwrap();
    let keys = derive(b"marker-pw", &made.salt, 5000);
    assert_eq!(made.stored_key, keys.stored_key());
    assert!(!ran.out.contains("marker-pw"));
    let none = enroll(&["alice", "--password-stdin"], "\n");
    assert_eq!((none.exit, none.out.as_str()), (Exit::BadInput, ""));
}

#[test]
fn a_file_that_is_there_is_replaced_by_force_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Scratch::new();
    dir.write("alice.toml", "mine");
    let output = dir.path().join("alice.toml");
    let arguments = ["alice", "--password-stdin", "-o", output.to_str().unwrap()];
    let kept = enroll(&arguments, "pw");
    assert_eq!((kept.exit, kept.out.as_str()), (Exit::CannotWrite, ""));
    assert!(kept.err.contains("--force"), "{}", kept.err);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "mine");
    assert_eq!(enroll(&[&arguments[..], &["--force"]].concat(), "pw").exit, Exit::Ok);
    assert!(std::fs::read_to_string(&output).unwrap().contains("scram = "));
    assert_eq!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o027, 0);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn what_the_policy_would_refuse_is_not_written() {
    let dir = Scratch::new();
    let output = dir.path().join("x.toml");
    let file = output.to_str().unwrap();
    for name in ["", "a\nb", "{subject}"] {
        let ran = enroll(&[name, "--password-stdin", "-o", file], "pw");
        assert_eq!((ran.exit, output.exists()), (Exit::BadInput, false), "{name:?}");
    }
    let (certificate, _) = write_certificate(&dir);
    let missing = format!("{certificate}.missing");
    assert_eq!(
        enroll(&["a", "--certificate", &missing, "-o", file], "").exit,
        Exit::BadInput
    );
    assert!(!output.exists());
}
