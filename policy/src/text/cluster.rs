//! `[cluster.NAME]` and `[cluster.NAME.role.ROLE]`.

use std::collections::{BTreeMap, BTreeSet};

use super::ReferencedFiles;
use super::referenced::{roots, secret};
use super::syntax::{endpoint, sha256};
use super::table::{Table, word};
use crate::check::{Object, value};
use crate::model::{Cluster, Endpoint, RoleCredential, ServerMethod, ServerTls, ServerTlsMode};

const CONNECT_TIMEOUT: u32 = 3_000;
const LOGIN_TIMEOUT: u32 = 10_000;

pub(super) fn read(name: &str, table: Option<Table<'_>>, files: &dyn ReferencedFiles) -> Cluster {
    let mut cluster = Cluster {
        tenant: None,
        endpoints: Vec::new(),
        tls: ServerTls::default(),
        connect_timeout: CONNECT_TIMEOUT,
        login_timeout: LOGIN_TIMEOUT,
        postern_settings: true,
        roles: BTreeMap::new(),
    };
    let Some(mut table) = table else { return cluster };
    table.need("endpoints", "`endpoints = [\"db.example.com:5432\"]`");
    cluster.tenant = table.string("tenant");
    cluster.endpoints = table.list("endpoints", endpoint).unwrap_or_default();
    cluster.tls = read_tls(&mut table, &cluster.endpoints, files);
    cluster.connect_timeout = table
        .duration("connect_timeout", &value::CONNECT_TIMEOUT)
        .unwrap_or(CONNECT_TIMEOUT);
    cluster.login_timeout = table
        .duration("login_timeout", &value::LOGIN_TIMEOUT)
        .unwrap_or(LOGIN_TIMEOUT);
    cluster.postern_settings = table.flag("postern_settings").unwrap_or(true);
    for (role, header, value) in table.entries("role") {
        let object = Object::Role {
            cluster: name.to_owned(),
            role: role.to_owned(),
        };
        let credential = Table::of(table.findings, &object, header, value).map(|table| read_role(table, files));
        cluster.roles.insert(role.to_owned(), credential.unwrap_or_default());
    }
    table.finish();
    cluster
}

fn read_tls(table: &mut Table<'_>, endpoints: &[Endpoint], files: &dyn ReferencedFiles) -> ServerTls {
    let only_unix = !endpoints.is_empty()
        && endpoints
            .iter()
            .all(|endpoint| matches!(endpoint, Endpoint::Unix { .. }));
    let default = if only_unix {
        ServerTlsMode::Disable
    } else {
        ServerTlsMode::VerifyFull
    };
    let tls = ServerTls {
        mode: table.word("tls").unwrap_or(default),
        roots: roots(table, "roots", files),
        server_name: table.string("server_name"),
        pinned_key: table.text("pinned_key_sha256", sha256),
        common_name: table.string("common_name"),
    };
    if (table.has("roots") && tls.roots.is_empty()) || (table.has("pinned_key_sha256") && tls.pinned_key.is_none()) {
        table.spoil("tls");
    }
    tls
}

fn read_role(mut table: Table<'_>, files: &dyn ReferencedFiles) -> RoleCredential {
    let mut credential = RoleCredential {
        password_file: secret(&mut table, "password_file", files),
        certificate_file: secret(&mut table, "certificate_file", files),
        key_file: secret(&mut table, "key_file", files),
        methods: BTreeSet::new(),
    };
    let methods = table.list("methods", word::<ServerMethod>).map(BTreeSet::from_iter);
    credential.methods = methods.unwrap_or_else(|| default_methods(&table));
    table.finish();
    credential
}

/// SCRAM where there is a password, the certificate where there is only that. Trust is never assumed.
fn default_methods(table: &Table<'_>) -> BTreeSet<ServerMethod> {
    match (table.has("password_file"), table.has("certificate_file")) {
        (true, _) => BTreeSet::from([ServerMethod::ScramSha256]),
        (false, true) => BTreeSet::from([ServerMethod::Certificate]),
        (false, false) => BTreeSet::new(),
    }
}
