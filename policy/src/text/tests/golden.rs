//! Whole texts of faults, and faults of several files.

use super::{Files, GOOD, changed, read, source};
use crate::text::parse;

#[test]
fn all_faults_at_once_as_a_compiler_shows_them() {
    let text = changed(
        "identities = [\"svc:billing\"]",
        "identities = [\"svc:biling\"]\nnetworks = [\"10.0.0.1/8\"]",
    )
    .replace("cluster = \"main\"", "cluser = \"main\"");
    let shown = read(&text).expect_err("faults").to_string();
    let expected = "\
error: no identity is called `svc:biling`
  --> policy.toml:24:15
   |
24 | identities = [\"svc:biling\"]
   |               ^^^^^^^^^^^^
   = help: did you mean `svc:billing`?

error: `10.0.0.1/8` has host bits set
  --> policy.toml:25:13
   |
25 | networks = [\"10.0.0.1/8\"]
   |             ^^^^^^^^^^^^
   = help: did you mean `10.0.0.0/8`?

error: unknown key `cluser`
  --> policy.toml:27:1
   |
27 | cluser = \"main\"
   | ^^^^^^
   = help: did you mean `cluster`?";
    assert_eq!(shown, expected, "{shown}");
}

#[test]
fn a_name_in_two_files_names_both_places() {
    let faults = parse(
        &[source("b.toml", "[group.payments]\n"), source("a.toml", GOOD)],
        &Files::new(),
    );
    let shown = faults.expect_err("a duplicate").to_string();
    let expected = "\
error: group `payments` is defined twice
 --> b.toml:1:8
  |
1 | [group.payments]
  |        ^^^^^^^^
  = help: first defined at a.toml:14:8";
    assert_eq!(shown, expected, "{shown}");
}

#[test]
fn a_name_twice_in_one_file_names_both_lines() {
    let shown = read(&format!("{GOOD}[group.payments]\n"))
        .expect_err("a duplicate")
        .to_string();
    assert!(
        shown.starts_with("error: duplicate key\n  --> policy.toml:37:8"),
        "{shown}"
    );
    assert!(shown.ends_with("= help: first defined on line 14"), "{shown}");
}

#[test]
fn authentication_rules_live_in_one_file() {
    let rule = "[[authentication]]\nname = \"x\"\nmethod = \"reject\"\n";
    let faults = parse(&[source("a.toml", GOOD), source("b.toml", rule)], &Files::new()).expect_err("two files");
    let shown = faults.to_string();
    assert!(shown.contains("authentication rules in two files"), "{shown}");
    assert!(shown.contains("they live in one: a.toml:29:1"), "{shown}");
}

#[test]
fn a_file_that_is_not_toml_brings_no_echo() {
    let (head, tail) = GOOD.split_once("[group.payments]").expect("two halves");
    let broken = format!("[group.payments]\nmembers = [\"alice\"\n{tail}");
    let faults = parse(&[source("a.toml", head), source("b.toml", &broken)], &Files::new()).expect_err("no TOML");
    assert!(faults.iter().all(|fault| fault.file == "b.toml"), "{faults}");
    let members = source("c.toml", "[group.x]\nmembers = [\"defined-in-b\"]\n");
    let faults = parse(&[source("b.toml", "["), members], &Files::new()).expect_err("no TOML");
    assert!(faults.iter().all(|fault| fault.file == "b.toml"), "{faults}");
}

#[test]
fn a_verifier_is_never_shown() {
    let text = changed("SCRAM-SHA-256$4096", "SCRAM-SHA-256$1");
    let shown = read(&text).expect_err("too few iterations").to_string();
    assert!(shown.contains("1 is out of range"), "{shown}");
    assert!(!shown.contains("AQEB") && !shown.contains("AgIC"), "{shown}");
}
