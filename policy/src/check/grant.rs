//! Rules of grants and denies: names that exist, conditions that can hold, settings that are the grant's to fix.

use super::{Item, ModelFault, Names, Object, Scope, Why, dangling, identity_named, require, value};
use crate::model::{Access, Conditions, Grant, Identity, Method, Model, NamePattern, RequiredProofs, Subjects};

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    let names = Names::of(model);
    for (name, grant) in &model.grants {
        let object = || Object::Grant(name.clone());
        let mut scope = Scope::new(found, &object);
        scope.whole(value::object_name(name));
        check_subjects(model, &names, &grant.subjects, &mut scope);
        scope.key(
            "databases",
            require(!grant.databases.is_empty(), || {
                Why::new("no database: it could grant nothing").help("`databases = [\"app\"]`")
            }),
        );
        check_databases(&grant.databases, &mut scope);
        check_conditions(&grant.conditions, &mut scope);
        check_target(model, grant, &mut scope);
        check_proofs(model, grant, &mut scope);
        check_limits(grant, &mut scope);
        check_settings(grant, &mut scope);
    }
    for (name, deny) in &model.denies {
        let object = || Object::Deny(name.clone());
        let mut scope = Scope::new(found, &object);
        scope.whole(value::object_name(name));
        check_subjects(model, &names, &deny.subjects, &mut scope);
        check_databases(&deny.databases, &mut scope);
        check_conditions(&deny.conditions, &mut scope);
    }
}

fn check_subjects(model: &Model, names: &Names<'_>, subjects: &Subjects, scope: &mut Scope<'_>) {
    let somebody = subjects.everyone || !subjects.identities.is_empty() || !subjects.groups.is_empty();
    scope.whole(require(somebody, || {
        Why::new("it is about nobody").help("name `identities` or `groups`, or write `everyone = true`")
    }));
    for identity in &subjects.identities {
        scope.text("identities", identity, identity_named(model, identity).map(|_| ()));
    }
    for group in &subjects.groups {
        scope.text("groups", group, names.group(model, group));
    }
}

fn check_databases(databases: &[NamePattern], scope: &mut Scope<'_>) {
    for pattern in databases {
        scope.text("databases", &pattern.to_string(), value::name_pattern(pattern));
    }
}

fn check_conditions(conditions: &Conditions, scope: &mut Scope<'_>) {
    for network in &conditions.networks {
        scope.text("networks", &network.to_string(), value::network(network));
    }
    if let (Some(from), Some(to)) = (conditions.not_before, conditions.not_after) {
        scope.key(
            "not_after",
            require(from < to, || {
                Why::new(format!("{to} is not after `not_before`, {from}: it could never hold"))
            }),
        );
    }
    for hours in &conditions.hours {
        scope.key("hours", value::hours(hours));
    }
}

fn check_target(model: &Model, grant: &Grant, scope: &mut Scope<'_>) {
    let Some(cluster) = model.clusters.get(&grant.cluster) else {
        let why = dangling("cluster", &grant.cluster, model.clusters.keys().map(String::as_str));
        return scope.text("cluster", &grant.cluster, Err(why));
    };
    scope.text(
        "role",
        &grant.role,
        require(cluster.roles.contains_key(&grant.role), || {
            let why = Why::new(format!("cluster `{}` has no role `{}`", grant.cluster, grant.role));
            match cluster.roles.is_empty() {
                true => why.help(format!("define it: `[cluster.{}.role.{}]`", grant.cluster, grant.role)),
                false => why.suggest(&grant.role, cluster.roles.keys().map(String::as_str)),
            }
        }),
    );
}

/// Proofs that no authentication rule asks for, or that a named identity cannot give, make a grant that never grants.
fn check_proofs(model: &Model, grant: &Grant, scope: &mut Scope<'_>) {
    let needs = grant.proofs;
    scope.say_with(Some("proofs"), None, Some(Object::Policy), asked_for(model, needs));
    for name in &grant.subjects.identities {
        let Some(Err(why)) = model
            .identities
            .get(name)
            .map(|identity| can_give(name, identity, needs))
        else {
            continue;
        };
        let (item, other) = (Item::Text(name.clone()), Object::Identity(name.clone()));
        scope.say_with(Some("identities"), Some(item), Some(other), Err(why));
    }
}

fn asked_for(model: &Model, needs: RequiredProofs) -> Result<(), Why> {
    let asked = model.authentication.is_empty() || model.authentication.iter().any(|rule| gives(rule.method, needs));
    let why = || {
        format!(
            "no authentication rule asks for {}: it could never be used",
            in_words(needs)
        )
    };
    require(asked, || Why::new(why()))
}

fn can_give(name: &str, identity: &Identity, needs: RequiredProofs) -> Result<(), Why> {
    let can = (!needs_certificate(needs) || !identity.keys.is_empty()) && (!needs.scram || identity.scram.is_some());
    let why = || format!("identity `{name}` cannot give {}", in_words(needs));
    require(can, || {
        Why::new(why()).help("a certificate needs `keys`, SCRAM needs `scram`")
    })
}

fn needs_certificate(needs: RequiredProofs) -> bool {
    needs.certificate || needs.key_bound
}

fn gives(method: Method, needs: RequiredProofs) -> bool {
    let (certificate, scram) = match method {
        Method::Certificate => (true, false),
        Method::ScramSha256 => (false, true),
        Method::CertificateAndScram => (true, true),
        Method::Reject => return false,
    };
    (certificate || !needs_certificate(needs)) && (scram || !needs.scram)
}

fn in_words(needs: RequiredProofs) -> &'static str {
    match (needs_certificate(needs), needs.scram) {
        (true, true) => "both a certificate and SCRAM",
        (true, false) => "a certificate",
        (false, true) => "SCRAM",
        (false, false) => "a proof",
    }
}

fn check_limits(grant: &Grant, scope: &mut Scope<'_>) {
    let limits = [
        ("sessions", grant.limits.sessions, value::SESSIONS),
        ("session_length", grant.limits.session_length, value::SESSION_LENGTH),
        ("idle", grant.limits.idle, value::IDLE),
    ];
    for (key, limit, bounds) in limits {
        if let Some(number) = limit {
            scope.key(key, bounds.check(number));
        }
    }
}

fn check_settings(grant: &Grant, scope: &mut Scope<'_>) {
    for (name, value) in &grant.settings {
        scope.text("settings", name, value::setting(name, value));
    }
    let guard = "default_transaction_read_only";
    let clash = grant.access == Access::ReadOnly && grant.settings.contains_key(guard);
    scope.text(
        "settings",
        guard,
        require(!clash, || Why::new(format!("`access = \"read-only\"` sets `{guard}`"))),
    );
    let bytes: usize = grant
        .settings
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    scope.key(
        "settings",
        require(bytes <= value::SETTINGS, || {
            Why::new(format!("settings of {bytes} bytes; {} at most", value::SETTINGS))
        }),
    );
}
