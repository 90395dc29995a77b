//! Faults of providers of tokens and webhooks, of what asks for them, and of what looks at what they say.

use std::collections::BTreeMap;

use super::{Files, told_with};

const POLICY: &str = r#"
[provider.login]
kind = "tokens"
issuer = "https://login.example.org"
audiences = ["postern"]

[provider.mesh]
kind = "jwt-svid"
trust_domains = ["mesh"]
audiences = ["postern"]
jwks_file = "keys.json"

[provider.desk]
kind = "webhook"
url = "https://desk.example.org/ask"

[identity."staff:{subject}"]
keys = [{ provider = "login", subject = "*" }]

[group.dba]
from = [{ provider = "login", group = "dba" }]

[cluster.main]
tenant = "acme"
endpoints = ["db:5432"]
tls = "require"

[cluster.main.role.app]
password_file = "/run/secrets/app"

[grant.app]
identities = ["staff:{subject}"]
groups = ["dba"]
databases = ["app"]
tenant = "{claim.tenant}"
role = "app"
proofs = ["token"]
claims = { plan = "gold" }

[revocation.stolen]
provider = "login"
token_ids = ["1"]

[[authentication]]
name = "oauth"
transport = "tls"
users = ["o_*"]
method = "oauthbearer"
discovery = "login"

[[authentication]]
name = "desk"
transport = "tls"
users = ["d_*"]
method = "webhook"
providers = ["desk"]

[[authentication]]
name = "tokens"
transport = "tls"
method = "token"
"#;

fn faults(old: &str, new: &str) -> Vec<String> {
    assert!(POLICY.contains(old), "{old}");
    let files = Files(BTreeMap::from([("keys.json", b"{\"keys\": []}".to_vec())]));
    told_with(&POLICY.replacen(old, new, 1), &files)
}

/// One change, and a part of the one fault that is told for it.
#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (old, new, expected) in cases {
        let told = faults(old, new);
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{new}\n told: {told:#?}\n expected: {expected}"
        );
    }
}

#[test]
fn it_is_good() {
    assert_eq!(faults("", ""), Vec::<String>::new());
}

#[test]
fn issuers() {
    check(&[
        (
            "https://login.example.org\"",
            "http://login.example.org\"",
            "is not an HTTPS URL",
        ),
        (
            "https://login.example.org\"",
            "https://user@login.example.org\"",
            "is not an HTTPS URL",
        ),
        (
            "audiences = [\"postern\"]\n\n[provider.mesh]",
            "\n[provider.mesh]",
            "`audiences` is missing",
        ),
        (
            "https://login.example.org\"",
            "https://login.example.org/{realm}\"",
            "is not an HTTPS URL",
        ),
        (
            "issuer = \"https://login.example.org\"",
            "issuer = \"https://login.example.org\"\nalgorithms = [\"HS256\"]",
            "`HS256` is not one of",
        ),
        (
            "issuer = \"https://login.example.org\"",
            "issuer = \"https://login.example.org\"\nalgorithms = [\"none\"]",
            "`none` is not one of",
        ),
        (
            "issuer = \"https://login.example.org\"",
            "issuer = \"https://login.example.org\"\nclock_skew = \"10m\"",
            "out of range",
        ),
        (
            "issuer = \"https://login.example.org\"",
            "issuer = \"https://login.example.org\"\nrefresh = \"1h\"\nkeys_max_age = \"30m\"",
            "too old before they are fetched again",
        ),
        (
            "issuer = \"https://login.example.org\"",
            "issuer = \"https://login.example.org\"\njwks_url = \"https://x/y\"\njwks_file = \"keys.json\"",
            "from where do the keys come?",
        ),
        (
            "jwks_file = \"keys.json\"",
            "",
            "a trust domain has no discovery document",
        ),
        ("\"keys.json\"", "\"missing.json\"", "cannot read missing.json"),
        (
            "url = \"https://desk.example.org/ask\"",
            "url = \"desk\"",
            "is not an HTTPS URL",
        ),
    ]);
}

#[test]
fn who_a_subject_is() {
    check(&[
        ("subject = \"*\"", "subject = \"a*b*c\"", "has more than one `*`"),
        ("group = \"dba\" }", "group = \"dba\", x = 1 }", "unknown key `x`"),
    ]);
    let two = "[identity.\"other:{subject}\"]\nkeys = [{ provider = \"login\", subject = \"a*\" }]\n\n[group.dba]";
    let told = faults("[group.dba]", two);
    assert!(
        told.iter().any(|told| told.contains("can be the same subject")),
        "{told:#?}"
    );
}

#[test]
fn what_rules_ask_for() {
    check(&[
        ("discovery = \"login\"\n", "", "tells clients where to get a token"),
        (
            "discovery = \"login\"",
            "discovery = \"mesh\"",
            "has no discovery document",
        ),
        (
            "method = \"webhook\"\nproviders = [\"desk\"]",
            "method = \"webhook\"",
            "asks one webhook",
        ),
        (
            "method = \"token\"",
            "method = \"token\"\nproviders = [\"desk\"]",
            "is not of a kind that `token` uses",
        ),
        (
            "transport = \"tls\"\nmethod = \"token\"",
            "method = \"token\"",
            "needs TLS",
        ),
        (
            "discovery = \"login\"",
            "discovery = \"login\"\nanswer_floor = \"11s\"",
            "out of range",
        ),
    ]);
}

/// libpq takes 2,000 bytes of a message before login.
#[test]
fn what_clients_are_told_to_ask_for_fits_a_message() {
    let (long, scope) = ("a".repeat(1_400), "b".repeat(512));
    let told = faults(
        "issuer = \"https://login.example.org\"",
        &format!("issuer = \"https://login.example.org/{long}\"\nscope = \"{scope}\""),
    );
    assert!(told[0].contains("1971 bytes; 1900 at most"), "{told:#?}");
}

#[test]
fn what_grants_look_at() {
    check(&[
        ("\"{claim.tenant}\"", "\"acme\"", "always the same tenant"),
        (
            "\"{claim.tenant}\"",
            "\"{clam.tenant}\"",
            "nothing stands for `{clam.tenant}`",
        ),
        ("tenant = \"acme\"\n", "", "no cluster has a `tenant`"),
        (
            "tenant = \"{claim.tenant}\"",
            "tenant = \"{claim.tenant}\"\ncluster = \"main\"",
            "where does it lead?",
        ),
        (
            "claims = { plan = \"gold\" }",
            "claims = { plan = 1.5 }",
            "compared with a string",
        ),
        (
            "claims = { plan = \"gold\" }",
            "certificate = { serial = \"1\" }",
            "has no `serial` to look at",
        ),
        (
            "claims = { plan = \"gold\" }",
            "on_expiry = \"explode\"",
            "`explode` is not one of",
        ),
        (
            "claims = { plan = \"gold\" }",
            "settings = { \"postern.identity\" = \"x\" }",
            "cannot be set: the gate writes it",
        ),
        ("token_ids = [\"1\"]", "", "it revokes nothing"),
        (
            "provider = \"login\"\ntoken_ids",
            "provider = \"desk\"\ntoken_ids",
            "issues no tokens",
        ),
    ]);
}
