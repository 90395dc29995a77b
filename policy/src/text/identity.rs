//! `[identity.NAME]` and `[group.NAME]`.

use super::syntax::{scram_verifier, sha256};
use super::table::Table;
use crate::check::{Why, key, suggest};
use crate::model::{GroupMapping, Identity, IdentityKey, Model};

pub(super) fn read(mut table: Table<'_>) -> Identity {
    let identity = Identity {
        aliases: table.strings("aliases").unwrap_or_default(),
        groups: table.strings("groups").unwrap_or_default(),
        keys: table.tables("keys").into_iter().filter_map(read_key).collect(),
        scram: table.text("scram", scram_verifier),
    };
    table.finish();
    identity
}

/// `members` of a group, given to those identities: the same as `groups` there.
pub(super) fn add_members(group: &str, table: &mut Table<'_>, model: &mut Model) {
    let known = &mut model.identities;
    let members = table.list("members", |name| match known.contains_key(name) {
        true => Ok(name.to_owned()),
        false => Err(Why::new(format!("no identity is called `{}`", name.escape_debug()))
            .suggest(name, known.keys().map(String::as_str))),
    });
    for name in members.unwrap_or_default() {
        if let Some(identity) = known.get_mut(&name) {
            identity.groups.insert(group.to_owned());
        }
    }
}

/// `from` of a group: the groups of providers whose members are in it.
pub(super) fn add_mappings(group: &str, table: &mut Table<'_>, model: &mut Model) {
    for mut part in table.tables("from") {
        part.need("provider", "whose group it is");
        part.need("group", "its name there");
        let (provider, external) = (part.string("provider"), part.string("group"));
        part.finish();
        if let (Some(provider), Some(external)) = (provider, external) {
            model.group_mappings.insert(GroupMapping {
                provider,
                external,
                group: group.to_owned(),
            });
        }
    }
}

/// The forms of a key, of which each is one, and whether a provider has to vouch for it.
const FORMS: [(&str, bool); 7] = [
    ("certificate_sha256", false),
    ("public_key_sha256", false),
    ("spiffe", true),
    ("uri", true),
    ("dns", true),
    ("common_name", true),
    ("subject", true),
];

fn read_key(mut table: Table<'_>) -> Option<IdentityKey> {
    let provider = table.string("provider");
    let fingerprint = table.text("certificate_sha256", sha256).map(IdentityKey::Fingerprint);
    let public_key = table.text("public_key_sha256", sha256).map(IdentityKey::PublicKey);
    let spiffe = table.text("spiffe", spiffe);
    let uri = table.text("uri", uri);
    let dns = table.text("dns", |name| Ok(name.to_ascii_lowercase()));
    let common_name = table.string("common_name");
    let subject = table.string("subject");
    let vouched = one_form(&table);
    table.finish();
    let key = match vouched? {
        false => fingerprint.or(public_key)?,
        true => {
            let provider = provider?;
            let pattern = spiffe.or(uri);
            let uri = pattern.map(|pattern| IdentityKey::Uri {
                provider: provider.clone(),
                pattern,
            });
            let dns = dns.map(|name| IdentityKey::Dns {
                provider: provider.clone(),
                name,
            });
            let common_name = common_name.map(|name| IdentityKey::CommonName {
                provider: provider.clone(),
                name,
            });
            let subject = subject.map(|pattern| IdentityKey::Subject { provider, pattern });
            uri.or(dns).or(common_name).or(subject)?
        }
    };
    Some(key)
}

/// Whether the one form that is written needs a provider; a fault where there is none, or two.
fn one_form(table: &Table<'_>) -> Option<bool> {
    let written: Vec<_> = FORMS.iter().filter(|(form, _)| table.has(form)).collect();
    let why = match (written.as_slice(), table.has("provider")) {
        ([(_, true)], true) | ([(_, false)], false) => None,
        ([(form, true)], false) => {
            let why = Why::new(format!("`{form}` means nothing without its `provider`"));
            Some(why.help("who must have vouched for it"))
        }
        ([(form, false)], true) => Some(Why::new(format!(
            "`{form}` is trusted by itself; a `provider` has no part in it"
        ))),
        ([], _) => Some(Why::new("a key that binds nothing").help(suggest::one_of(FORMS.map(|(form, _)| form)))),
        ([(one, _), (other, _), ..], _) => {
            let why = Why::new(format!("`{one}` and `{other}` in one key"));
            Some(why.help("any one key proves the identity: give each its own `{ }`"))
        }
    };
    match why {
        Some(why) => {
            table.fault_here(why);
            None
        }
        None => written.first().map(|(_, vouched)| *vouched),
    }
}

fn spiffe(uri: &str) -> Result<String, Why> {
    match uri.starts_with(key::SPIFFE) {
        true => Ok(uri.to_owned()),
        false => Err(Why::new(format!("`{}` is not a SPIFFE ID", uri.escape_debug()))
            .help("as `spiffe://corp/ns/prod/sa/billing`; other URIs stand at `uri`")),
    }
}

fn uri(uri: &str) -> Result<String, Why> {
    match uri.starts_with(key::SPIFFE) {
        true => Err(Why::new("a SPIFFE ID stands at `spiffe`")),
        false => Ok(uri.to_owned()),
    }
}
