//! Rules of clusters: endpoints that can be reached, TLS that verifies something, credentials that fit their methods.

use std::collections::BTreeSet;

use super::{Item, ModelFault, Object, Scope, Why, key, pki, require, value};
use crate::model::{Cluster, Endpoint, Model, RoleCredential, ServerMethod, ServerTls, ServerTlsMode};
use crate::words::Word;

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    for (name, cluster) in &model.clusters {
        let object = || Object::Cluster(name.clone());
        let mut scope = Scope::new(found, &object);
        scope.whole(value::object_name(name));
        if let Some(tenant) = &cluster.tenant {
            scope.key("tenant", value::object_name(tenant));
        }
        check_endpoints(cluster, &mut scope);
        check_tls(cluster, &mut scope);
        scope.key("connect_timeout", value::CONNECT_TIMEOUT.check(cluster.connect_timeout));
        scope.key("login_timeout", value::LOGIN_TIMEOUT.check(cluster.login_timeout));
        for (role, credential) in &cluster.roles {
            let object = || Object::Role {
                cluster: name.clone(),
                role: role.clone(),
            };
            check_role(role, credential, &cluster.tls, &mut Scope::new(found, &object));
        }
    }
}

fn check_endpoints(cluster: &Cluster, scope: &mut Scope<'_>) {
    scope.key(
        "endpoints",
        require(!cluster.endpoints.is_empty(), || Why::new("no endpoint to connect to")),
    );
    let mut seen = BTreeSet::new();
    for (index, endpoint) in cluster.endpoints.iter().enumerate() {
        scope.index("endpoints", index, value::endpoint(endpoint));
        scope.index(
            "endpoints",
            index,
            require(seen.insert(endpoint), || Why::new("the same endpoint twice")),
        );
    }
}

fn check_tls(cluster: &Cluster, scope: &mut Scope<'_>) {
    let tls = &cluster.tls;
    let verifies = matches!(tls.mode, ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull);
    let only_unix =
        !cluster.endpoints.is_empty() && cluster.endpoints.iter().all(|e| matches!(e, Endpoint::Unix { .. }));
    if only_unix && tls.mode != ServerTlsMode::Disable {
        let why = Why::new("there is no TLS on Unix sockets, and this cluster has nothing else");
        scope.key("tls", Err(why.help("leave `tls` out, or write `tls = \"disable\"`")));
    } else if verifies && tls.roots.is_empty() && tls.pinned_key.is_none() {
        let why = Why::new(format!("`{}` has nothing to verify the server with", tls.mode.as_str()));
        scope.key(
            "tls",
            Err(why.help("add `roots = [\"ca.pem\"]` or `pinned_key_sha256`")),
        );
    }
    check_tls_effects(tls, verifies, scope);
    check_tls_values(tls, scope);
}

/// What is written and would not be looked at makes a policy that says more than it does.
fn check_tls_effects(tls: &ServerTls, verifies: bool, scope: &mut Scope<'_>) {
    let pinned = tls.pinned_key.is_some();
    let full = tls.mode == ServerTlsMode::VerifyFull;
    let keys = [
        ("roots", !tls.roots.is_empty(), verifies),
        ("pinned_key_sha256", pinned, verifies),
        ("common_name", tls.common_name.is_some(), full),
        (
            "server_name",
            tls.server_name.is_some(),
            tls.mode != ServerTlsMode::Disable,
        ),
    ];
    for (key, written, effective) in keys {
        let unused = || {
            let why = Why::new(format!("has no effect with `tls = \"{}\"`", tls.mode.as_str()));
            why.help("`verify-full` verifies the server")
        };
        scope.say_with(
            Some(key),
            None,
            Some((scope.object)()),
            require(!written || effective, unused),
        );
    }
    for (key, written) in [
        ("roots", !tls.roots.is_empty()),
        ("common_name", tls.common_name.is_some()),
    ] {
        let unused =
            || Why::new("has no effect beside `pinned_key_sha256`").help("the pinned key is trusted by itself");
        scope.say_with(
            Some(key),
            None,
            Some((scope.object)()),
            require(!(written && pinned && verifies), unused),
        );
    }
}

fn check_tls_values(tls: &ServerTls, scope: &mut Scope<'_>) {
    for root in &tls.roots {
        scope.key("roots", pki::root(root));
    }
    if let Some(name) = &tls.server_name {
        scope.key("server_name", value::host_name(name));
    }
    if let Some(name) = &tls.common_name {
        scope.key("common_name", key::common_name(name));
    }
}

fn check_role(role: &str, credential: &RoleCredential, tls: &ServerTls, scope: &mut Scope<'_>) {
    scope.whole(value::postgres_name(role));
    let files = [
        ("password_file", &credential.password_file),
        ("certificate_file", &credential.certificate_file),
        ("key_file", &credential.key_file),
    ];
    for (key, file) in files {
        if let Some(path) = file {
            scope.key(key, value::file_path(path));
        }
    }
    check_certificate_files(credential, tls, scope);
    scope.whole(require(!credential.methods.is_empty(), || {
        Why::new("no way to log in")
            .help("add `password_file`, or `certificate_file` and `key_file`; trust must be written")
    }));
    for method in &credential.methods {
        let item = Some(Item::Text(method.as_str().to_owned()));
        scope.say(Some("methods"), item, check_method(*method, credential, tls));
    }
    let uses_password = credential.methods.iter().any(|method| needs_password(*method));
    scope.key(
        "password_file",
        require(uses_password || credential.password_file.is_none(), || {
            Why::new("none of the role's `methods` uses a password")
        }),
    );
}

fn check_certificate_files(credential: &RoleCredential, tls: &ServerTls, scope: &mut Scope<'_>) {
    let (certificate, key) = (credential.certificate_file.is_some(), credential.key_file.is_some());
    scope.key(
        "certificate_file",
        require(key || !certificate, || Why::new("a certificate without a `key_file`")),
    );
    scope.key(
        "key_file",
        require(certificate || !key, || Why::new("a key without a `certificate_file`")),
    );
    let sent = tls.mode != ServerTlsMode::Disable;
    scope.key(
        "certificate_file",
        require(sent || !certificate, || {
            Why::new("a client certificate is sent only under TLS, and the cluster has `tls = \"disable\"`")
        }),
    );
}

fn check_method(method: ServerMethod, credential: &RoleCredential, tls: &ServerTls) -> Result<(), Why> {
    require(!needs_password(method) || credential.password_file.is_some(), || {
        Why::new(format!("`{}` needs a `password_file`", method.as_str()))
    })?;
    match method {
        ServerMethod::Certificate => require(credential.certificate_file.is_some(), || {
            Why::new("`certificate` needs a `certificate_file` and a `key_file`")
        }),
        // Whoever is at the other end gets the password: it must be the server.
        ServerMethod::Password => require(tls.mode == ServerTlsMode::VerifyFull, || {
            Why::new("a cleartext password is sent only to a server verified with `tls = \"verify-full\"`")
        }),
        ServerMethod::Trust | ServerMethod::Md5 | ServerMethod::ScramSha256 => Ok(()),
    }
}

fn needs_password(method: ServerMethod) -> bool {
    match method {
        ServerMethod::Password | ServerMethod::Md5 | ServerMethod::ScramSha256 => true,
        ServerMethod::Trust | ServerMethod::Certificate => false,
    }
}
