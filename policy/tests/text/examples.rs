//! Every example is a policy, and means what its comments say.

use std::fs;

use super::{Directory, assert_sound, examples, sources};
use postern_policy::model::{Model, NamePattern, ReplicationRight, ServerMethod, ServerTlsMode};
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
    assert_eq!(names, ["fleet", "replication", "small-team"]);
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
