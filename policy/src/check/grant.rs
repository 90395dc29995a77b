//! Rules of grants and denies: names that exist, conditions that can hold, settings that are the grant's to fix.

use super::{Item, ModelFault, Names, Object, Scope, Why, dangling, identity_named, require, value};
use crate::model::{
    Access, Asked, CERTIFICATE_ATTRIBUTES, ClusterChoice, Conditions, Grant, Identity, IdentityKey, Method, Model,
    NamePattern, Provider, RequiredProofs, Subjects,
};
use crate::template::{Part, Template, parts};

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
        scope.key(
            "token_max_age",
            require(deny.conditions.token_max_age.is_none(), || {
                Why::new("a deny of fresh tokens only").help("old ones are kept out by `token_max_age` of a grant")
            }),
        );
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
    for (name, test) in &conditions.claims {
        scope.text("claims", name, value::claim_test(name, test));
    }
    for (name, test) in &conditions.certificate {
        let known = CERTIFICATE_ATTRIBUTES.contains(&name.as_str());
        scope.text(
            "certificate",
            name,
            require(known, || {
                Why::new(format!("a certificate has no `{name}` to look at")).suggest(name, CERTIFICATE_ATTRIBUTES)
            }),
        );
        scope.text("certificate", name, value::claim_test(name, test));
    }
    if let Some(age) = conditions.token_max_age {
        scope.key("token_max_age", value::TOKEN_MAX_AGE.check(age));
    }
}

fn check_target(model: &Model, grant: &Grant, scope: &mut Scope<'_>) {
    if let Some(template) = &grant.connect_database {
        scope.key("connect_database", value::template(&template.0, of_the_subject));
        scope.key("connect_database", value::plain_text("a database", &template.0));
        scope.key("connect_database", value::one_place(&template.0));
    }
    match &grant.cluster {
        ClusterChoice::Named(name) => check_role(model, grant, name, scope),
        ClusterChoice::ByTenant(template) => check_tenants(model, grant, template, scope),
    }
}

fn check_role(model: &Model, grant: &Grant, name: &str, scope: &mut Scope<'_>) {
    let Some(cluster) = model.clusters.get(name) else {
        let why = dangling("cluster", name, model.clusters.keys().map(String::as_str));
        return scope.text("cluster", name, Err(why));
    };
    scope.text(
        "role",
        &grant.role,
        require(cluster.roles.contains_key(&grant.role), || {
            let why = Why::new(format!("cluster `{name}` has no role `{}`", grant.role));
            match cluster.roles.is_empty() {
                true => why.help(format!("define it: `[cluster.{name}.role.{}]`", grant.role)),
                false => why.suggest(&grant.role, cluster.roles.keys().map(String::as_str)),
            }
        }),
    );
}

/// Any cluster that has a tenant may be the one, so each must have the role, and none the tenant of another.
fn check_tenants(model: &Model, grant: &Grant, template: &Template, scope: &mut Scope<'_>) {
    scope.key("tenant", value::template(&template.0, of_the_subject));
    scope.key("tenant", value::one_place(&template.0));
    let open = parts(&template.0).any(|part| !matches!(part, Part::Text(_)));
    scope.key(
        "tenant",
        require(open, || {
            Why::new("always the same tenant").help("name its `cluster`, or write `tenant = \"{claim.tenant}\"`")
        }),
    );
    let mut owners = std::collections::BTreeMap::new();
    for (name, cluster) in &model.clusters {
        let Some(tenant) = &cluster.tenant else { continue };
        if let Some(owner) = owners.insert(tenant, name) {
            let why = format!("clusters `{owner}` and `{name}` are both of tenant `{tenant}`");
            scope.key(
                "tenant",
                Err(Why::new(why).help("a route by tenant leads to one cluster")),
            );
        }
        if !cluster.roles.contains_key(&grant.role) {
            let why = format!("cluster `{name}`, of tenant `{tenant}`, has no role `{}`", grant.role);
            scope.text("role", &grant.role, Err(Why::new(why)));
        }
    }
    scope.key(
        "tenant",
        require(!owners.is_empty(), || Why::new("no cluster has a `tenant`")),
    );
}

/// Everything but what only a start-up setting can be made of.
fn of_the_subject(place: Part<'_>) -> bool {
    matches!(place, Part::Subject | Part::Claim(_))
}

/// Proofs that no authentication rule asks for, or that a named identity cannot give, make a grant that never grants.
fn check_proofs(model: &Model, grant: &Grant, scope: &mut Scope<'_>) {
    let needs = grant.proofs;
    scope.say_with(Some("proofs"), None, Some(Object::Policy), asked_for(model, needs));
    for name in &grant.subjects.identities {
        let Some(Err(why)) = model
            .identities
            .get(name)
            .map(|identity| can_give(model, name, identity, needs))
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

fn can_give(model: &Model, name: &str, identity: &Identity, needs: RequiredProofs) -> Result<(), Why> {
    let has = |kind: fn(&Provider) -> bool| {
        let of_kind = |provider: &String| model.providers.get(provider).is_some_and(kind);
        identity.keys.iter().any(|key| match key {
            IdentityKey::Subject { provider, .. } | IdentityKey::Uri { provider, .. } => of_kind(provider),
            IdentityKey::Fingerprint(_)
            | IdentityKey::PublicKey(_)
            | IdentityKey::Dns { .. }
            | IdentityKey::CommonName { .. } => false,
        })
    };
    let token = has(|provider| matches!(provider, Provider::Tokens(_)));
    let webhook = has(|provider| matches!(provider, Provider::Webhook(_)));
    let certificate = identity.keys.iter().any(|key| match key {
        IdentityKey::Fingerprint(_)
        | IdentityKey::PublicKey(_)
        | IdentityKey::Dns { .. }
        | IdentityKey::CommonName { .. } => true,
        IdentityKey::Uri { provider, .. } => {
            matches!(
                model.providers.get(provider),
                Some(Provider::CertificateAuthority(_)) | None
            )
        }
        IdentityKey::Subject { .. } => false,
    });
    let can = (!needs.certificate || certificate)
        && (!needs.key_bound || certificate || token)
        && (!needs.scram || identity.scram.is_some())
        && (!needs.token || token)
        && (!needs.webhook || webhook);
    let why = || format!("identity `{name}` cannot give {}", in_words(needs));
    require(can, || {
        Why::new(why()).help("a certificate, a token or a webhook's answer needs `keys`, SCRAM needs `scram`")
    })
}

fn gives(method: Method, needs: RequiredProofs) -> bool {
    let certificate = method.uses_certificates();
    // A token may be bound to a certificate's key, whether or not the rule asks for the certificate.
    let key_bound = certificate || method.uses_tokens();
    method != Method::Reject
        && (certificate || !needs.certificate)
        && (key_bound || !needs.key_bound)
        && (method.asks() == Asked::Scram || !needs.scram)
        && (method.uses_tokens() || !needs.token)
        && (method.uses_webhook() || !needs.webhook)
}

fn in_words(needs: RequiredProofs) -> String {
    let named = [
        (needs.certificate, "a certificate"),
        (needs.key_bound && !needs.certificate, "a proof bound to a key"),
        (needs.scram, "SCRAM"),
        (needs.token, "a token"),
        (needs.webhook, "a webhook's answer"),
    ];
    let named: Vec<&str> = named
        .into_iter()
        .filter_map(|(needed, word)| needed.then_some(word))
        .collect();
    match named.as_slice() {
        [] => "a proof".to_owned(),
        [one] => (*one).to_owned(),
        [one, other] => format!("both {one} and {other}"),
        more => more.join(" and "),
    }
}

fn check_limits(grant: &Grant, scope: &mut Scope<'_>) {
    let limits = [
        ("sessions", grant.limits.sessions, value::SESSIONS),
        ("session_length", grant.limits.session_length, value::SESSION_LENGTH),
        ("idle", grant.limits.idle, value::IDLE),
    ];
    if let Some(notice) = grant.expiry_notice {
        scope.key("expiry_notice", value::EXPIRY_NOTICE.check(notice));
    }
    for (key, limit, bounds) in limits {
        if let Some(number) = limit {
            scope.key(key, bounds.check(number));
        }
    }
}

fn check_settings(grant: &Grant, scope: &mut Scope<'_>) {
    for (name, value) in &grant.settings {
        scope.text("settings", name, value::setting(name, &value.0));
        scope.text("settings", name, value::template(&value.0, |_| true));
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
        .map(|(name, value)| name.len() + value.0.len() + 2)
        .sum();
    scope.key(
        "settings",
        require(bytes <= value::SETTINGS, || {
            Why::new(format!("settings of {bytes} bytes; {} at most", value::SETTINGS))
        }),
    );
}
