//! `docs/policy.md` cannot rot: its policies are read, and it has every key that the program knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{assert_sound, examples, parse_one};
use postern_policy::text::{ReferencedFiles, SourceFile, parse};

/// What a block of the page that is not marked `complete` may refer to.
const AROUND: &str = r#"
[provider.corp]
kind = "certificates"
roots = ["small-team/team-ca.pem"]
trust_domains = ["corp"]

[identity.alice]
scram = "SCRAM-SHA-256$4096:K9gGyX8OAK8aH8Myj6djqQ==$0LIYXDH3nW6agcZVcY7NmeBsO3ZZguNfgrU4d44XAik=:+1R0ug2dJN7Etyot6dMvQP8u9zn17lyq7M6thD2I4og="

[group.payments]
GROUP

LOGIN
MESH
[cluster.main]
tenant = "acme"
endpoints = ["db.internal:5432"]
roots = ["database-ca.pem"]

[cluster.main.role.app_ro]
password_file = "/run/secrets/postern/app_ro"
"#;
const LOGIN: &str = r#"
[provider.login]
kind = "tokens"
issuer = "https://login.example.org"
audiences = ["postern"]
"#;
const MESH: &str = r#"
[provider.mesh]
kind = "jwt-svid"
trust_domains = ["mesh"]
audiences = ["postern"]
jwks_file = "spire/bundle.json"
"#;
const RULE: &str = "\n[[authentication]]\nname = \"everybody\"\nmethod = \"scram-sha-256\"\n";

/// The page speaks of files by their names alone.
struct ExampleFiles;

impl ReferencedFiles for ExampleFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let places = ["", "fleet", "small-team"].map(|directory| examples().join(directory).join(path));
        let place = places
            .iter()
            .find(|place| place.is_file())
            .ok_or("no such example file")?;
        fs::read(place).map_err(|error| error.to_string())
    }
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    fs::read_to_string(path).expect("docs/policy.md")
}

/// Blocks that start with this line, with the line number of their first line.
fn blocks<'p>(page: &'p str, start: &str) -> Vec<(usize, &'p str)> {
    let mut found = Vec::new();
    for (at, _) in page.match_indices(&format!("\n{start}\n")) {
        let body = &page[at + start.len() + 2..];
        let line = page[..at].matches('\n').count() + 3;
        found.push((line, body.split("```").next().unwrap_or_default()));
    }
    found
}

fn assert_policy(line: usize, sources: &[(&str, &str)]) {
    let sources: Vec<_> = sources
        .iter()
        .map(|(name, text)| SourceFile {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        })
        .collect();
    match parse(&sources, &ExampleFiles) {
        Ok(model) => assert_sound(&model),
        Err(faults) => panic!("the block at docs/policy.md:{line}\n{faults}"),
    }
}

#[test]
fn complete_policies_are_complete() {
    let page = page();
    let blocks = blocks(&page, "```toml complete");
    assert_eq!(blocks.len(), 2);
    for (line, text) in blocks {
        assert_policy(line, &[("docs/policy.md", text)]);
    }
}

#[test]
fn the_other_blocks_are_parts_of_policies() {
    let page = page();
    let blocks = blocks(&page, "```toml");
    assert!(blocks.len() >= 8, "every section has one");
    for (line, text) in blocks {
        let group = if text.contains("[group.reporting]") {
            ""
        } else {
            "[group.reporting]"
        };
        let rule = if text.contains("[[authentication]]") { "" } else { RULE };
        assert_policy(
            line,
            &[
                ("docs/policy.md", text),
                ("around", &(around(text).replace("GROUP", group) + rule)),
            ],
        );
    }
}

/// With the providers that the block does not define itself.
fn around(text: &str) -> String {
    let missing = |header: &str, provider| if text.contains(header) { "" } else { provider };
    AROUND
        .replace("LOGIN", missing("[provider.login]", LOGIN))
        .replace("MESH", missing("[provider.mesh]", MESH))
}

const UNKNOWN: &str = "qqqqqqqqqqqq = 1";

/// The keys that faults about the unknown key in `text` list.
fn known_keys(text: &str) -> BTreeSet<String> {
    let faults = parse_one(text, &examples()).expect_err("an unknown key");
    let helps = faults
        .iter()
        .filter_map(|fault| fault.help.as_deref())
        .filter(|help| help.starts_with("one of "));
    let keys: BTreeSet<String> = helps
        .flat_map(|help| help.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert!(!keys.is_empty(), "{text}: {faults}");
    keys
}

#[test]
fn every_key_has_its_row_and_its_example() {
    let page = page();
    let all_blocks: String = blocks(&page, "```toml").iter().map(|(_, text)| *text).collect();
    for (heading, object) in [
        ("## `[provider.NAME]`", "[provider.x]\nkind = \"certificates\""),
        ("## Token issuers", "[provider.x]\nkind = \"tokens\""),
        ("## Token issuers", "[provider.x]\nkind = \"jwt-svid\""),
        ("## Webhooks", "[provider.x]\nkind = \"webhook\""),
        ("## `[revocation.NAME]`", "[revocation.x]"),
        ("## `[identity.NAME]`", "[identity.x]"),
        ("## `[identity.NAME]`", "[identity.x]\nkeys = [{ @ }]"),
        ("## `[group.NAME]`", "[group.x]"),
        ("## `[cluster.NAME]`", "[cluster.x]"),
        ("## `[cluster.NAME.role.ROLE]`", "[cluster.x.role.y]"),
        ("## `[grant.NAME]`", "[grant.x]"),
        ("## `[grant.NAME]`", "[grant.x]\nhours = [{ @ }]"),
        ("## `[deny.NAME]`", "[deny.x]"),
        ("## `[[authentication]]`", "[[authentication]]"),
    ] {
        let section = page
            .split(&format!("\n{heading}\n"))
            .nth(1)
            .unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let text = match object.contains('@') {
            true => object.replace('@', UNKNOWN),
            false => format!("{object}\n{UNKNOWN}\n"),
        };
        for key in known_keys(&text) {
            let row = section.contains(&format!("| `{key}` |"));
            // These have no table of their own.
            let prose = (heading.contains("deny") || key == "provider") && section.contains(&format!("`{key}`"));
            assert!(row || prose, "{heading} says nothing about `{key}`");
            let shown = all_blocks.contains(&format!("{key} = ")) || all_blocks.contains(&format!(".{key}."));
            assert!(shown, "no example of `{key}`");
        }
    }
}

#[test]
fn links_within_the_page_lead_somewhere() {
    let page = page();
    let anchor = |heading: &str| -> String {
        let kept = heading
            .trim_start_matches('#')
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
            .collect()
    };
    let anchors: BTreeSet<String> = page.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    for target in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(target), "#{target} is none of {anchors:?}");
    }
}
