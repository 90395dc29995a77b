//! Faults of providers of tokens and webhooks, of what asks for them, and of what looks at what they say.

use std::collections::{BTreeMap, BTreeSet};

use super::{Files, source, told_with};
use crate::model::{
    ClaimTest, ClusterChoice, Glob, GroupMapping, IdentityKey, KeySource, Method, Model, OnExpiry, Provider,
    Revocation, TokenAlgorithm, TokenForm, TokenIssuer, Webhook,
};
use crate::text::parse;

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

const JWKS: &str = "{\"keys\": []}";

fn files() -> Files {
    Files(BTreeMap::from([("keys.json", JWKS.into())]))
}

fn faults(old: &str, new: &str) -> Vec<String> {
    assert!(POLICY.contains(old), "{old}");
    told_with(&POLICY.replacen(old, new, 1), &files())
}

/// The policy with `old`, which is in it, replaced: without a fault.
#[track_caller]
fn model(old: &str, new: &str) -> Model {
    assert!(POLICY.contains(old), "{old}");
    let text = POLICY.replacen(old, new, 1);
    parse(&[source("policy.toml", &text)], &files()).unwrap_or_else(|faults| panic!("{faults}"))
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
        ("\"{claim.tenant}\"", "\"{claim.org}-{claim.tenant}\"", "has 2 places"),
        (
            "tenant = \"{claim.tenant}\"",
            "tenant = \"{claim.tenant}\"\nconnect_database = \"{claim.org}_{subject}\"",
            "has 2 places",
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

#[test]
fn what_would_have_no_effect_is_told() {
    let (file, domains) = ("jwks_file = \"keys.json\"", "trust_domains = [\"mesh\"]");
    for (beside, line) in [
        (file, "refresh = \"10m\""),
        (file, "keys_max_age = \"2d\""),
        (domains, "subject_claim = \"sub\""),
        (domains, "scope = \"openid\""),
    ] {
        check(&[(beside, &format!("{beside}\n{line}"), "has no effect here")]);
    }
    let told = faults(file, &format!("{file}\nroots = []"));
    assert!(told[0].contains("`roots` has no effect here"), "{told:#?}");
    let claims = "claims = { plan = \"gold\" }";
    let notice = format!("{claims}\non_expiry = \"ignore\"\nexpiry_notice = \"1m\"");
    check(&[(claims, &notice, "`expiry_notice` has no effect here")]);
}

#[test]
fn numbers_of_providers_and_grants_have_bounds() {
    let issuer = "issuer = \"https://login.example.org\"";
    for (key, bad) in [
        ("max_age", "0s"),
        ("max_age", "366d"),
        ("refresh", "59s"),
        ("keys_max_age", "31d"),
    ] {
        check(&[(issuer, &format!("{issuer}\n{key} = \"{bad}\""), "out of range")]);
    }
    let url = "url = \"https://desk.example.org/ask\"";
    for line in [
        "deadline = \"9ms\"",
        "deadline = \"31s\"",
        "concurrency = 0",
        "concurrency = 10001",
        "cache_max_age = \"25h\"",
    ] {
        check(&[(url, &format!("{url}\n{line}"), "out of range")]);
    }
    let claims = "claims = { plan = \"gold\" }";
    for line in [
        "token_max_age = \"366d\"",
        "expiry_notice = \"25h\"",
        "expiry_notice = \"0s\"",
    ] {
        check(&[(claims, line, "out of range")]);
    }
}

/// Whatever else is told, this is.
#[track_caller]
fn tells(old: &str, new: &str, expected: &str) {
    let told = faults(old, new);
    assert!(
        told.iter().any(|told| told.contains(expected)),
        "{new}\n told: {told:#?}"
    );
}

#[test]
fn what_providers_can_vouch_for() {
    let key = "{ provider = \"login\", subject = \"*\" }";
    for (other, kind) in [
        (
            "{ provider = \"login\", spiffe = \"spiffe://mesh/a\" }",
            "an issuer of tokens",
        ),
        ("{ provider = \"mesh\", subject = \"a\" }", "an issuer of JWT-SVIDs"),
        ("{ provider = \"mesh\", dns = \"a.mesh\" }", "an issuer of JWT-SVIDs"),
        ("{ provider = \"desk\", common_name = \"a\" }", "a webhook"),
    ] {
        tells(key, other, &format!("its provider is {kind}, which names nobody so"));
    }
    tells(
        "[provider.desk]",
        "[provider.twin]\nkind = \"tokens\"\nissuer = \"https://login.example.org\"\naudiences = [\"x\"]\n\n[provider.desk]",
        "`https://login.example.org` is the issuer of provider `login` already",
    );
}

#[test]
fn names_made_of_subjects() {
    let header = "[identity.\"staff:{subject}\"]";
    let scram = "SCRAM-SHA-256$4096:AQEBAQEBAQEBAQEBAQEBAQ==$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    tells(
        header,
        &format!("{header}\nscram = \"{scram}\""),
        "that has other proofs than tokens and webhooks",
    );
    tells(
        header,
        &format!("{header}\naliases = [\"{{claim.login}}\"]"),
        "a name has no place but `{subject}`",
    );
    tells(
        header,
        &format!("{header}\naliases = [\"{{subject}}{{subject}}\"]"),
        "`{subject}` twice in one name",
    );
    tells(
        "[group.dba]",
        "[identity.\"{subject}\"]\nkeys = [{ provider = \"desk\", subject = \"*\" }]\n\n[group.dba]",
        "can come to the same name",
    );
}

#[test]
fn a_deny_of_fresh_tokens_makes_no_sense() {
    let deny = "[deny.young]\neveryone = true\ntoken_max_age = \"5m\"\n\n[revocation.stolen]";
    check(&[("[revocation.stolen]", deny, "a deny of fresh tokens only")]);
}

/// Two texts for the one value of a claim keep grants apart; lists, and texts with `*`, may both hold.
#[test]
fn claims_settle_ties() {
    let second = |claims: &str| {
        format!(
            "[grant.read]\nidentities = [\"staff:{{subject}}\"]\ngroups = [\"dba\"]\ndatabases = [\"app\"]\ntenant = \"{{claim.tenant}}\"\nrole = \"app\"\naccess = \"read-only\"\nproofs = [\"token\"]\nclaims = {{ {claims} }}\n\n[revocation.stolen]"
        )
    };
    model("[revocation.stolen]", &second("plan = \"free\""));
    for claims in ["plan = [\"free\"]", "plan = \"f*\"", "tenant = \"acme\""] {
        tells("[revocation.stolen]", &second(claims), "with a different access");
    }
}

fn issuer(model: &Model, name: &str) -> TokenIssuer {
    match &model.providers[name] {
        Provider::Tokens(issuer) => issuer.clone(),
        other => panic!("{other:?}"),
    }
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_is_left_out_of_a_provider_has_a_default() {
    let model = model("", "");
    let login = TokenIssuer {
        form: TokenForm::Oidc {
            issuer: "https://login.example.org".to_owned(),
        },
        audiences: set(&["postern"]),
        keys: KeySource::Discovery,
        algorithms: BTreeSet::from([TokenAlgorithm::Rs256, TokenAlgorithm::Es256]),
        types: BTreeSet::new(),
        clock_skew: 30,
        max_age: None,
        required_claims: BTreeMap::new(),
        subject_claim: "sub".to_owned(),
        groups_claim: None,
        one_time: false,
        scope: String::new(),
        roots: Vec::new(),
        refresh: 300,
        keys_max_age: 86_400,
    };
    assert_eq!(issuer(&model, "login"), login);
    let mesh = TokenIssuer {
        form: TokenForm::JwtSvid {
            trust_domains: set(&["mesh"]),
        },
        keys: KeySource::Inline(JWKS.into()),
        ..login
    };
    assert_eq!(issuer(&model, "mesh"), mesh);
    let desk = Webhook {
        url: "https://desk.example.org/ask".to_owned(),
        roots: Vec::new(),
        authorization_file: None,
        deadline: 2_000,
        concurrency: 64,
        cache_max_age: 60,
    };
    assert_eq!(model.providers["desk"], Provider::Webhook(desk));
}

#[test]
fn what_is_written_of_a_provider_is_what_it_has() {
    let model = model(
        "issuer = \"https://login.example.org\"",
        r#"issuer = "https://login.example.org"
jwks_url = "https://login.example.org/keys"
algorithms = ["PS512", "EdDSA"]
types = ["at+jwt"]
clock_skew = "0ms"
max_age = "1h"
required_claims = { email_verified = true, level = 3, roles = ["b", "a", "b"], "https://example.org/x" = "y*" }
subject_claim = "email"
groups_claim = "realm_access.roles"
one_time = true
scope = "openid postern"
refresh = "10m"
keys_max_age = "12h""#,
    );
    let login = issuer(&model, "login");
    assert_eq!(login.keys, KeySource::Url("https://login.example.org/keys".to_owned()));
    let algorithms = BTreeSet::from([TokenAlgorithm::Ps512, TokenAlgorithm::EdDsa]);
    assert_eq!((login.algorithms, login.types), (algorithms, set(&["at+jwt"])));
    assert_eq!(
        (login.clock_skew, login.max_age, login.refresh, login.keys_max_age),
        (0, Some(3_600), 600, 43_200)
    );
    let is = |text: &str| ClaimTest::Is(Glob(text.to_owned()));
    let roles = ClaimTest::HasOneOf(["a", "b"].map(|text| Glob(text.to_owned())).into());
    let required = [
        ("email_verified", is("true")),
        ("https://example.org/x", is("y*")),
        ("level", is("3")),
        ("roles", roles),
    ];
    assert_eq!(
        login.required_claims,
        required.map(|(name, test)| (name.to_owned(), test)).into()
    );
    assert_eq!(
        (&*login.subject_claim, login.groups_claim.as_deref(), &*login.scope),
        ("email", Some("realm_access.roles"), "openid postern")
    );
    assert!(login.one_time);
}

#[test]
fn what_grants_and_rules_make_of_tokens() {
    let model = model(
        "claims = { plan = \"gold\" }",
        r#"connect_database = "app_{claim.tenant}"
on_expiry = "refuse_new"
token_max_age = "10m"
certificate = { organization = "Example" }
settings = { Application_Name = "{subject}", "postern.tenant" = "{claim.tenant}" }"#,
    );
    let grant = &model.grants["app"];
    assert_eq!(grant.cluster, ClusterChoice::ByTenant("{claim.tenant}".into()));
    assert_eq!(grant.connect_database, Some("app_{claim.tenant}".into()));
    assert!(grant.proofs.token && !grant.proofs.webhook && !grant.proofs.certificate);
    assert_eq!((grant.on_expiry, grant.expiry_notice), (OnExpiry::RefuseNew, Some(60)));
    assert_eq!(grant.conditions.token_max_age, Some(600));
    assert!(grant.conditions.certificate.contains_key("organization") && grant.conditions.claims.is_empty());
    let settings: Vec<_> = grant
        .settings
        .iter()
        .map(|(name, value)| (&**name, &*value.0))
        .collect();
    assert_eq!(
        settings,
        [("application_name", "{subject}"), ("postern.tenant", "{claim.tenant}")]
    );
    let [oauth, desk, tokens] = &*model.authentication else {
        panic!("{:?}", model.authentication)
    };
    assert_eq!(
        [oauth.method, desk.method, tokens.method],
        [Method::OauthBearer, Method::Webhook, Method::Token]
    );
    assert_eq!((oauth.discovery.as_deref(), tokens.answer_floor), (Some("login"), 100));
    assert_eq!(
        (&desk.providers, &tokens.providers),
        (&set(&["desk"]), &BTreeSet::new())
    );
}

#[test]
fn subjects_groups_and_revocations() {
    let model = model(
        "token_ids = [\"1\"]",
        "token_ids = [\"1\"]\nsubjects = [\"mallory\"]\nkey_ids = [\"k\"]\nissued_before = 2026-11-23T09:00:00+01:00",
    );
    let key = IdentityKey::Subject {
        provider: "login".to_owned(),
        pattern: "*".to_owned(),
    };
    assert_eq!(model.identities["staff:{subject}"].keys, [key]);
    let mapping = GroupMapping {
        provider: "login".to_owned(),
        external: "dba".to_owned(),
        group: "dba".to_owned(),
    };
    assert_eq!(model.group_mappings, BTreeSet::from([mapping]));
    let stolen = Revocation {
        provider: "login".to_owned(),
        token_ids: set(&["1"]),
        subjects: set(&["mallory"]),
        key_ids: set(&["k"]),
        issued_before: Some("2026-11-23T08:00:00Z".parse().expect("a moment")),
    };
    assert_eq!(model.revocations["stolen"], stolen);
}
