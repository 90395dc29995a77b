//! Every example is a policy, and means what its comments say.

use std::fs;

use super::{Directory, assert_sound, examples, sources};
use postern_policy::id::IdentityId;
use postern_policy::model::{Method, Model, NamePattern, OnExpiry, ReplicationRight, ServerMethod, ServerTlsMode};
use postern_policy::snapshot::Snapshot;
use postern_policy::text::parse;

fn example(name: &str) -> Model {
    let directory = examples().join(name);
    let model = parse(&sources(&directory), &Directory(directory)).unwrap_or_else(|faults| panic!("{name}\n{faults}"));
    assert_sound(&model);
    model
}

#[test]
fn every_example_is_in_this_test() {
    let mut names: Vec<_> = fs::read_dir(examples())
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let known = [
        "cert-manager",
        "entra",
        "fleet",
        "google",
        "keycloak",
        "okta",
        "replication",
        "small-team",
        "spire",
        "vault-pki",
        "webhook",
    ];
    assert_eq!(names, known);
}

#[test]
fn a_small_team() {
    let model = example("small-team");
    assert_eq!(
        (model.identities.len(), model.grants.len(), model.authentication.len()),
        (5, 4, 3)
    );
    let developers = &model.grants["developers-read"];
    assert_eq!(
        developers.databases,
        [
            NamePattern::Exact("shop".to_owned()),
            NamePattern::Prefix("shop_".to_owned())
        ]
    );
}

#[test]
fn a_fleet() {
    let model = example("fleet");
    assert_eq!(model.identities["alice"].groups.len(), 2);
    assert_eq!(model.clusters["catalogue"].tls.mode, ServerTlsMode::Disable);
    assert!(
        model.clusters["payments"].roles["billing_rw"]
            .methods
            .contains(&ServerMethod::Certificate)
    );
    // Six nights in two pieces each, and Sunday, which touches the end of Saturday's.
    let hours: Vec<_> = model.grants["warehouse-load"]
        .conditions
        .hours
        .iter()
        .map(|h| (h.from / 60, h.to / 60))
        .collect();
    assert_eq!(hours, [(22, 28), (46, 52), (70, 76), (94, 100), (118, 124), (142, 168)]);
    assert_eq!(model.denies.len(), 3);
}

#[test]
fn replication() {
    let model = example("replication");
    assert_eq!(model.grants["standby"].replication, ReplicationRight::Physical);
    assert_eq!(model.grants["change-capture"].replication, ReplicationRight::Database);
    assert_eq!(
        model.grants["analysts"].settings["max_parallel_workers_per_gather"],
        "2".into()
    );
}

/// Whose subject of which provider it is, by the name that the record would have.
fn whose(model: &Model, provider: &str, subject: &str) -> Option<String> {
    let snapshot = Snapshot::of(model, 1).expect("a snapshot");
    let provider = snapshot.provider_named(provider).expect("the provider");
    let name = |identity: IdentityId| snapshot.identity_name_for(identity, Some(subject));
    snapshot.resolve_subject(provider, subject).ok().map(name)
}

#[test]
fn issuers_of_tokens() {
    let keycloak = example("keycloak");
    assert_eq!(whose(&keycloak, "keycloak", "alice").as_deref(), Some("staff:alice"));
    let billing = whose(&keycloak, "keycloak", "service-account-billing");
    assert_eq!(billing.as_deref(), Some("svc:billing"));
    assert_eq!(keycloak.authentication[0].method, Method::OauthBearer);
    assert_eq!(keycloak.grants["dba"].on_expiry, OnExpiry::FinishTransaction);

    let entra = example("entra");
    let reports = whose(&entra, "entra", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
    assert_eq!(reports.as_deref(), Some("svc:reports"));

    let okta = example("okta");
    let bob = whose(&okta, "okta", "bob@example.org");
    assert_eq!(bob.as_deref(), Some("okta:bob@example.org"));
    assert_eq!(whose(&okta, "okta", "bob@example.com"), None);

    let google = example("google");
    let batch = whose(&google, "google", "nightly@batch-prod.iam.gserviceaccount.com");
    assert_eq!(
        batch.as_deref(),
        Some("batch:nightly@batch-prod.iam.gserviceaccount.com")
    );
    assert_eq!(
        whose(&google, "google", "nightly@elsewhere.iam.gserviceaccount.com"),
        None
    );
}

#[test]
fn workloads_and_short_lived_certificates() {
    let spire = example("spire");
    let billing = whose(&spire, "jwt-svids", "spiffe://prod.example.org/ns/eu/sa/billing");
    assert_eq!(billing.as_deref(), Some("svc:billing"));
    assert_eq!(
        whose(&spire, "jwt-svids", "spiffe://other.example.org/ns/eu/sa/billing"),
        None
    );
    assert_eq!(example("vault-pki").grants["shop"].expiry_notice, Some(600));
    assert_eq!(example("cert-manager").grants["search"].on_expiry, OnExpiry::RefuseNew);
}

#[test]
fn a_webhook() {
    let model = example("webhook");
    assert_eq!(whose(&model, "desk", "carol").as_deref(), Some("desk:carol"));
    assert_eq!(model.grants["on-duty"].cluster.named(), None, "the tenant picks it");
}
