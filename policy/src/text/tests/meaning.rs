//! What keys mean in the model, and that order means nothing where it should not.

use std::collections::BTreeSet;

use super::{Files, GOOD, changed, read, source};
use crate::model::{
    Access, Endpoint, IdentityKey, Model, NamePattern, Provider, ReplicationRight, ServerMethod, ServerTlsMode,
    WeeklyHours,
};
use crate::text::parse;
use crate::time::Utc;

fn model(text: &str) -> Model {
    read(text).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_good_policy() {
    let model = model(GOOD);
    let grant = &model.grants["billing"];
    assert_eq!(grant.databases, [NamePattern::Exact("billing".to_owned())]);
    assert_eq!(
        (grant.access, grant.replication),
        (Access::ReadWrite, ReplicationRight::No)
    );
    let cluster = &model.clusters["main"];
    assert_eq!(
        (cluster.connect_timeout, cluster.login_timeout, cluster.postern_settings),
        (3_000, 10_000, true)
    );
    assert_eq!(cluster.tls.mode, ServerTlsMode::VerifyFull);
    assert_eq!(
        cluster.roles["billing_rw"].methods,
        BTreeSet::from([ServerMethod::ScramSha256])
    );
    let Provider::CertificateAuthority(authority) = &model.providers["corp"] else {
        panic!("an authority");
    };
    assert_eq!(authority.roots.len(), 1);
    let names: Vec<_> = model.authentication.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["services", "people"]);
    assert_eq!(model.authentication[1].scram_iterations, 4_096);
}

#[test]
fn everything_a_grant_can_say() {
    let model = model(&changed(
        "role = \"billing_rw\"",
        r#"role = "billing_rw"
access = "read-only"
networks = ["192.0.2.7", "10.0.0.0/8"]
unix = true
not_before = 2026-01-01T00:00:00+01:00
not_after = 2027-01-01T00:00:00Z
hours = [{ days = ["sun"], from = "22:00", to = "02:00", zone = "Europe/Berlin" }]
key_bound = true
replication = "database"
sessions = 20
session_length = "8h"
idle = "30m"
settings = { Statement_Timeout = "30s", jit = false, work_mem = 4096 }"#,
    ));
    let grant = &model.grants["billing"];
    let networks: Vec<_> = grant.conditions.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32"]);
    assert!(grant.conditions.unix && grant.proofs.key_bound && !grant.proofs.scram);
    assert_eq!(grant.conditions.not_before, Some(Utc(1_767_222_000_000_000)));
    let berlin = |from, to| WeeklyHours {
        from,
        to,
        zone: "Europe/Berlin".to_owned(),
    };
    assert_eq!(grant.conditions.hours, [berlin(0, 120), berlin(9_960, 10_080)]);
    assert_eq!(
        (grant.limits.sessions, grant.limits.session_length, grant.limits.idle),
        (Some(20), Some(28_800), Some(1_800))
    );
    let settings: Vec<_> = grant
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.0.as_str()))
        .collect();
    assert_eq!(
        settings,
        [("jit", "off"), ("statement_timeout", "30s"), ("work_mem", "4096")]
    );
}

#[test]
fn every_kind_of_key_and_endpoint() {
    let sha = ["0A"; 32].join(":");
    let keys = format!(
        r#"{{ certificate_sha256 = "{sha}" }}, {{ public_key_sha256 = "{sha}" }}, {{ provider = "corp", uri = "urn:x:y" }},
    {{ provider = "corp", dns = "Billing.Corp" }}, {{ provider = "corp", common_name = "Billing" }}"#
    );
    let text = changed(
        "{ provider = \"corp\", spiffe = \"spiffe://corp/ns/prod/sa/billing\" }",
        &keys,
    );
    let text = text.replace("[\"db:5432\"]", r#"["db:5432", "[::1]:5433", "unix:/run/x"]"#);
    let model = model(&text);
    let provider = || "corp".to_owned();
    assert_eq!(
        model.identities["svc:billing"].keys,
        [
            IdentityKey::Fingerprint([10; 32]),
            IdentityKey::PublicKey([10; 32]),
            IdentityKey::Uri {
                provider: provider(),
                pattern: "urn:x:y".to_owned()
            },
            IdentityKey::Dns {
                provider: provider(),
                name: "billing.corp".to_owned()
            },
            IdentityKey::CommonName {
                provider: provider(),
                name: "Billing".to_owned()
            },
        ]
    );
    assert_eq!(
        model.clusters["main"].endpoints,
        [
            Endpoint::Tcp {
                host: "db".to_owned(),
                port: 5432
            },
            Endpoint::Tcp {
                host: "::1".to_owned(),
                port: 5433
            },
            Endpoint::Unix {
                path: "/run/x".to_owned()
            },
        ]
    );
}

#[test]
fn members_and_groups_say_the_same() {
    let by_identity = model(GOOD);
    let by_group = changed("groups = [\"payments\"]\n", "")
        .replace("[group.payments]", "[group.payments]\nmembers = [\"svc:billing\"]");
    assert_eq!(
        model(&by_group).identities["svc:billing"].groups,
        by_identity.identities["svc:billing"].groups
    );
}

#[test]
fn neither_the_order_of_files_nor_of_objects_matters() {
    let files = Files::new();
    let parts: Vec<_> = GOOD.split_inclusive("\n\n").collect();
    // The authentication rules stay together and in order.
    let (objects, rules) = parts.split_at(parts.len() - 2);
    let mut sources: Vec<_> = objects
        .iter()
        .enumerate()
        .map(|(n, text)| source(&format!("{n}.toml"), text))
        .collect();
    // Role tables have to be in the file of their cluster.
    let role = sources
        .iter()
        .position(|file| file.text.contains("role.billing_rw"))
        .expect("the role");
    let role = sources.remove(role).text;
    let cluster = sources
        .iter_mut()
        .find(|file| file.text.contains("[cluster.main]"))
        .expect("the cluster");
    cluster.text.push_str(&role);
    sources.push(source("rules.toml", &rules.concat()));
    let whole = parse(&[source("policy.toml", GOOD)], &files).unwrap_or_else(|faults| panic!("{faults}"));
    for turn in 0..sources.len() {
        sources.rotate_left(turn);
        assert_eq!(parse(&sources, &files).as_ref(), Ok(&whole));
    }
}

#[test]
fn no_file_is_an_empty_policy() {
    assert_eq!(parse(&[], &Files::new()), Ok(Model::default()));
    assert_eq!(read(""), Ok(Model::default()));
}
