//! Rules of authentication rules: each can match, each can work, and none tells by its iteration count which names exist.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;

use super::{ModelFault, Object, Scope, Why, provider_named, require, value};
use crate::model::{Asked, AuthenticationRule, Model, NamePattern, Provider, Transport};
use crate::words::Word;

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    let object = || Object::Policy;
    let usable = model.grants.is_empty() || !model.authentication.is_empty();
    Scope::new(found, &object).whole(require(usable, || {
        Why::new("there are grants but no authentication rule: nobody could get in")
            .help("add `[[authentication]]` with a `name` and a `method`")
    }));
    let mut names = HashMap::new();
    for (index, rule) in model.authentication.iter().enumerate() {
        let object = || Object::Authentication(index);
        let mut scope = Scope::new(found, &object);
        scope.key("name", value::object_name(&rule.name));
        let unique = names.insert(rule.name.as_str(), index).is_none();
        scope.key(
            "name",
            require(unique, || Why::new(format!("another rule is called `{}`", rule.name))),
        );
        check_matchers(rule, &mut scope);
        scope.say_with(Some("method"), None, Some(object()), method_can_work(rule));
        if rule.method.uses_scram() {
            scope.key("scram_iterations", value::SCRAM_ITERATIONS.check(rule.scram_iterations));
        }
        check_providers(model, rule, &mut scope);
        scope.key("answer_floor", value::ANSWER_FLOOR.check(rule.answer_floor));
        if let Some((cover, why)) = never_reached(rule, &model.authentication[..index]) {
            scope.say_with(None, None, Some(Object::Authentication(cover)), Err(why));
        }
    }
    check_iterations(model, found);
}

fn check_matchers(rule: &AuthenticationRule, scope: &mut Scope<'_>) {
    for listener in &rule.listeners {
        scope.text("listeners", listener, value::object_name(listener));
    }
    for network in &rule.networks {
        scope.text("networks", &network.to_string(), value::network(network));
    }
    scope.key(
        "networks",
        require(rule.networks.is_empty() || rule.transport != Transport::Unix, || {
            Why::new("a Unix-socket peer is in no network: the rule could never match")
        }),
    );
    for (key, patterns) in [("databases", &rule.databases), ("users", &rule.users)] {
        for pattern in patterns {
            scope.text(key, &pattern.to_string(), value::name_pattern(pattern));
        }
    }
}

fn method_can_work(rule: &AuthenticationRule) -> Result<(), Why> {
    let (method, transport) = (rule.method.as_str(), rule.transport.as_str());
    let why = || {
        Why::new(format!(
            "`{method}` needs TLS, and the rule's transport is `{transport}`"
        ))
    };
    require(!rule.method.needs_tls() || rule.transport == Transport::Tls, || {
        why().help("write `transport = \"tls\"`, and another rule for what comes without")
    })
}

/// Providers that the method can use, and one to send clients to where it must name one.
fn check_providers(model: &Model, rule: &AuthenticationRule, scope: &mut Scope<'_>) {
    let method = rule.method.as_str();
    let of_kind = |name: &str| {
        let provider = provider_named(model, name)?;
        let fits = match provider {
            Provider::CertificateAuthority(_) => false,
            Provider::Tokens(_) => rule.method.uses_tokens(),
            Provider::Webhook(_) => rule.method.uses_webhook(),
        };
        require(fits, || {
            Why::new(format!("provider `{name}` is not of a kind that `{method}` uses"))
        })
    };
    for name in &rule.providers {
        scope.text("providers", name, of_kind(name));
    }
    let tokens = model
        .providers
        .values()
        .any(|provider| matches!(provider, Provider::Tokens(_)));
    scope.key(
        "method",
        require(!rule.method.uses_tokens() || tokens, || {
            Why::new(format!("`{method}`, and no provider of the policy issues tokens"))
                .help("define one: `[provider.corp]` with `kind = \"tokens\"`")
        }),
    );
    scope.key(
        "providers",
        require(!rule.method.uses_webhook() || rule.providers.len() == 1, || {
            Why::new("a webhook method asks one webhook").help("`providers = [\"...\"]`")
        }),
    );
    if let Some(name) = &rule.discovery {
        scope.key(
            "discovery",
            of_kind(name).and_then(|()| discoverable(model, rule, name)),
        );
    }
    let needs = rule.method.asks() == Asked::OauthBearer;
    scope.key(
        "discovery",
        require(needs == rule.discovery.is_some(), || match needs {
            true => Why::new(format!("`{method}` tells clients where to get a token"))
                .help("`discovery = \"...\"`: the provider to send them to"),
            false => Why::new(format!("`{method}` sends no client anywhere")),
        }),
    );
}

fn discoverable(model: &Model, rule: &AuthenticationRule, name: &str) -> Result<(), Why> {
    let none = || Why::new(format!("provider `{name}` has no discovery document"));
    let Provider::Tokens(issuer) = provider_named(model, name)? else {
        return Err(none());
    };
    value::oauth_challenge(&issuer.challenge_url().ok_or_else(none)?, &issuer.scope)?;
    require(rule.providers.is_empty() || rule.providers.contains(name), || {
        Why::new(format!("tokens of `{name}` do not count under this rule")).help("add it to `providers`")
    })
}

/// The position of an earlier rule that leaves nothing for this one.
fn never_reached(rule: &AuthenticationRule, before: &[AuthenticationRule]) -> Option<(usize, Why)> {
    let (index, cover) = before.iter().enumerate().find(|(_, earlier)| covers(earlier, rule))?;
    let why = format!(
        "rule `{}` is never reached: `{}` before it matches all it does",
        rule.name, cover.name
    );
    Some((
        index,
        Why::new(why).help("the first match counts: put the narrower rule first"),
    ))
}

/// An unknown name is shown the rule's count. A verifier with another would show that its name is known.
fn check_iterations(model: &Model, found: &mut Vec<ModelFault>) {
    let rules = scram_rules(&model.authentication);
    for (name, identity) in &model.identities {
        let Some(verifier) = &identity.scram else { continue };
        let differs = |rule: &&ScramRule<'_>| rule.rule.scram_iterations != verifier.iterations && rule.reaches(name);
        let Some(other) = rules.iter().find(differs) else {
            continue;
        };
        let (own, shown) = (verifier.iterations, other.rule.scram_iterations);
        found.push(ModelFault {
            object: Object::Identity(name.clone()),
            key: Some("scram"),
            item: None,
            other: Some(Object::Authentication(other.index)),
            why: Why::new(format!(
                "a verifier with {own} iterations, but authentication rule `{}` shows {shown} to unknown names",
                other.rule.name
            ))
            .help("one count per rule, or the answer tells which names exist: make a new verifier, or another rule"),
        });
    }
}

struct ScramRule<'m> {
    index: usize,
    rule: &'m AuthenticationRule,
    /// Earlier rules that, for the users they name, match all that this one does.
    shadows: Vec<&'m AuthenticationRule>,
}

impl ScramRule<'_> {
    fn reaches(&self, user: &str) -> bool {
        matches(&self.rule.users, user) && !self.shadows.iter().any(|earlier| matches(&earlier.users, user))
    }
}

fn scram_rules(rules: &[AuthenticationRule]) -> Vec<ScramRule<'_>> {
    let with_shadows = |(index, rule)| {
        let shadows = rules[..index]
            .iter()
            .filter(|earlier| covers_but_for_users(earlier, rule))
            .collect();
        ScramRule {
            index,
            rule: &rules[index],
            shadows,
        }
    };
    rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.method.uses_scram())
        .map(with_shadows)
        .collect()
}

fn covers(earlier: &AuthenticationRule, later: &AuthenticationRule) -> bool {
    covers_but_for_users(earlier, later) && patterns_cover(&earlier.users, &later.users)
}

fn covers_but_for_users(earlier: &AuthenticationRule, later: &AuthenticationRule) -> bool {
    listeners_cover(&earlier.listeners, &later.listeners)
        && (earlier.transport == Transport::Any || earlier.transport == later.transport)
        && networks_cover(&earlier.networks, &later.networks)
        && patterns_cover(&earlier.databases, &later.databases)
}

fn listeners_cover(earlier: &BTreeSet<String>, later: &BTreeSet<String>) -> bool {
    earlier.is_empty() || (!later.is_empty() && later.is_subset(earlier))
}

fn networks_cover(earlier: &[IpNet], later: &[IpNet]) -> bool {
    let covered = |network: &IpNet| earlier.iter().any(|wider| wider.contains(network));
    earlier.is_empty() || (!later.is_empty() && later.iter().all(covered))
}

/// No pattern at all is every name.
fn patterns_cover(earlier: &[NamePattern], later: &[NamePattern]) -> bool {
    let covered = |narrow: &NamePattern| earlier.iter().any(|wide| pattern_covers(wide, narrow));
    earlier.is_empty() || earlier.contains(&NamePattern::Any) || (!later.is_empty() && later.iter().all(covered))
}

fn pattern_covers(wide: &NamePattern, narrow: &NamePattern) -> bool {
    match (wide, narrow) {
        (NamePattern::Any, _) => true,
        (NamePattern::Prefix(prefix), NamePattern::Prefix(name) | NamePattern::Exact(name)) => name.starts_with(prefix),
        (NamePattern::Exact(a), NamePattern::Exact(b)) => a == b,
        (NamePattern::Exact(_), NamePattern::Prefix(_) | NamePattern::Any) => false,
        (NamePattern::Prefix(_), NamePattern::Any) => false,
    }
}

fn matches(patterns: &[NamePattern], name: &str) -> bool {
    patterns.is_empty()
        || patterns.iter().any(|pattern| match pattern {
            NamePattern::Any => true,
            NamePattern::Prefix(prefix) => name.starts_with(prefix),
            NamePattern::Exact(exact) => name == exact,
        })
}
