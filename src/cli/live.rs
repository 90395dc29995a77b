//! `postern check --live`: logs in everywhere as the gate would, and looks at what roles of read-only grants may do.
//!
//! `access = "read-only"` is enforced by the role and by nothing else, so a role that can write makes it a wish. The login
//! is the gate's own ([`crate::upstream::login`], [`crate::tls`]): what works here works when serving.

mod rights;
mod session;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use postern_policy::model::{Access, Cluster, ClusterChoice, Grant, Model, NamePattern};

use super::{Exit, Terminal, say};
use crate::control::credentials::{CredentialReader, Credentials, RoleSpec};

use rights::Finding;
use session::{LiveFault, Session};

/// One role of one cluster and what the grants make of it.
#[derive(Debug, Default)]
struct Use {
    /// Names of the grants that give it for reading alone.
    read_only: BTreeSet<String>,
    writes: bool,
    databases: BTreeSet<String>,
}

/// Cluster and role.
type Place<'a> = (&'a str, &'a str);

pub fn run(model: &Model, secrets: PathBuf, terminal: &mut Terminal<'_>) -> Exit {
    let uses = uses_of(model);
    let credentials = CredentialReader::new(secrets)
        .read(&specs(model, &uses), &Credentials::default())
        .table;
    let mut exit = Exit::Ok;
    for ((cluster_name, role), usage) in &uses {
        let Some(cluster) = model.clusters.get(*cluster_name) else {
            continue;
        };
        let writers = writers_beside(&uses, cluster_name, role);
        let lines = look(cluster_name, cluster, role, usage, &writers, &credentials);
        for (line, worse) in lines {
            exit = worst(exit, worse);
            exit = worst(
                exit,
                say(
                    terminal.out,
                    Exit::Ok,
                    format_args!("cluster {cluster_name}, role {role}: {line}"),
                ),
            );
        }
    }
    exit
}

/// What is to be said about one role.
fn look(
    cluster_name: &str,
    cluster: &Cluster,
    role: &str,
    usage: &Use,
    writers: &BTreeSet<&str>,
    credentials: &Credentials,
) -> Vec<(String, Exit)> {
    let credential = match credentials.find(cluster_name, role) {
        Ok(credential) => credential,
        Err(unusable) => return vec![(format!("cannot log in: {unusable}"), Exit::Unavailable)],
    };
    let mut lines = Vec::new();
    for database in &usage.databases {
        match Session::open(cluster, role, credential, database).and_then(|session| examine(session, usage, writers)) {
            Ok(findings) => lines.extend(
                findings
                    .iter()
                    .map(|finding| (shown(finding, usage, database), Exit::Found)),
            ),
            Err(fault) => lines.push((format!("database {database}: {fault}"), Exit::Unavailable)),
        }
    }
    lines
}

fn examine(mut session: Session, usage: &Use, writers: &BTreeSet<&str>) -> Result<Vec<Finding>, LiveFault> {
    match usage.read_only.is_empty() {
        true => Ok(Vec::new()),
        false => rights::examine(&mut session, writers),
    }
}

fn shown(finding: &Finding, usage: &Use, database: &str) -> String {
    let grants = usage
        .read_only
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    format!("database {database}: {finding} (read-only in {grants})")
}

/// A finding says more than a server that is down, and that more than nothing.
fn worst(one: Exit, other: Exit) -> Exit {
    let weight = |exit: Exit| match exit {
        Exit::Ok => 0,
        Exit::Unavailable => 1,
        Exit::Found => 2,
        Exit::Usage | Exit::BadInput | Exit::Ring(_) | Exit::Internal | Exit::CannotWrite | Exit::Address => 3,
    };
    if weight(other) > weight(one) { other } else { one }
}

fn uses_of(model: &Model) -> BTreeMap<Place<'_>, Use> {
    let mut uses: BTreeMap<Place<'_>, Use> = BTreeMap::new();
    for (name, grant) in &model.grants {
        for cluster in clusters_of(model, grant) {
            let usage = uses.entry((cluster, &grant.role)).or_default();
            match grant.access {
                Access::ReadOnly => {
                    usage.read_only.insert(name.clone());
                }
                Access::ReadWrite => usage.writes = true,
            }
            usage.databases.extend(databases_of(grant));
        }
    }
    uses
}

/// Where a grant may lead: its cluster, or each that has a tenant.
fn clusters_of<'m>(model: &'m Model, grant: &'m Grant) -> impl Iterator<Item = &'m String> {
    model.clusters.iter().filter_map(|(name, cluster)| {
        let leads = match &grant.cluster {
            ClusterChoice::Named(named) => named == name,
            ClusterChoice::ByTenant(_) => cluster.tenant.is_some(),
        };
        leads.then_some(name)
    })
}

/// A pattern names no database; `postgres` is where roles can be looked at in its stead.
fn databases_of(grant: &Grant) -> impl Iterator<Item = String> {
    grant.databases.iter().map(|pattern| match pattern {
        NamePattern::Exact(name) => name.clone(),
        NamePattern::Prefix(_) | NamePattern::Any => "postgres".to_owned(),
    })
}

/// Other roles of the cluster that grants give for writing.
fn writers_beside<'a>(uses: &BTreeMap<Place<'a>, Use>, cluster: &str, role: &str) -> BTreeSet<&'a str> {
    let beside = uses
        .iter()
        .filter(|((its, other), usage)| *its == cluster && *other != role && usage.writes);
    beside.map(|((_, role), _)| *role).collect()
}

fn specs(model: &Model, uses: &BTreeMap<Place<'_>, Use>) -> Vec<RoleSpec> {
    let spec = |(cluster_name, role): &Place<'_>| {
        let cluster = model.clusters.get(*cluster_name)?;
        let credential = cluster.roles.get(*role)?.clone();
        let tls = cluster.tls.clone();
        Some(RoleSpec {
            cluster: (*cluster_name).to_owned(),
            role: (*role).to_owned(),
            credential,
            tls,
        })
    };
    uses.keys().filter_map(spec).collect()
}
