//! From what a client has proved to one identity of the policy.

use crate::archive::keys::{dns_hash, identity_hash, name_hash, pin_hash};
use crate::archive::layout::{
    ArchivedIdentityRecord, ArchivedImage, ArchivedNameRecord, ArchivedPinRecord, ArchivedProviderKind, ArchivedText,
};
use crate::archive::strings::text_of;
use crate::archive::table::ArchivedHashTable;
use crate::archive::uri::{count_pieces, matches, spiffe_domain};
use crate::id::{IdentityId, ProviderId};
use crate::snapshot::Snapshot;

/// What a certificate says about its holder, and which providers' trust anchors its path leads to.
#[derive(Debug, Clone, Copy)]
pub struct CertificateNames<'a> {
    /// SHA-256 of the certificate (DER).
    pub fingerprint: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo (DER).
    pub public_key: [u8; 32],
    /// Providers of this snapshot whose trust anchors validated the path. Only for them do names count.
    pub validated_by: &'a [ProviderId],
    /// Every SAN URI; they count only if there is exactly one.
    pub uris: &'a [&'a str],
    /// Every SAN DNS name; each counts.
    pub dns: &'a [&'a str],
    /// Every CN of the subject; they count only if there is exactly one.
    pub common_names: &'a [&'a str],
}

/// Why a certificate stands for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("no identity of the policy has this certificate")]
    Unknown,
    #[error("the certificate matches more than one identity")]
    Ambiguous,
}

/// What of a certificate named an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchedBy {
    Fingerprint,
    PublicKey,
    Uri,
    Dns,
    CommonName,
}

impl MatchedBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::PublicKey => "public_key",
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::CommonName => "common_name",
        }
    }
}

/// A stored SCRAM-SHA-256 verifier. Not `Debug`: an offline guess can be tried against it.
#[derive(Clone, Copy)]
pub struct ScramVerifierView<'a> {
    pub iterations: u32,
    pub salt: &'a [u8],
    pub stored_key: &'a [u8; 32],
    pub server_key: &'a [u8; 32],
}

impl Snapshot {
    /// By its name alone: an alias is none (a SCRAM user is the identity itself).
    pub fn identity_by_name(&self, name: &str) -> Option<IdentityId> {
        let image = self.image();
        let same = |number: &u32| {
            let record = image.identities.get(*number as usize);
            record.is_some_and(|record| text_of(&image.strings, &record.name) == name)
        };
        image
            .identity_index
            .candidates(identity_hash(name))
            .find(same)
            .map(IdentityId)
    }

    /// Empty for an id of another snapshot.
    pub fn identity_name(&self, id: IdentityId) -> &str {
        self.identity_record(id)
            .map(|record| text_of(&self.image().strings, &record.name))
            .unwrap_or_default()
    }

    /// Other names a client may put in the start-up `user`, ascending.
    pub fn aliases(&self, id: IdentityId) -> impl Iterator<Item = &str> {
        let aliases = self
            .identity_record(id)
            .and_then(|record| self.image().aliases_of(record).ok());
        aliases
            .unwrap_or_default()
            .iter()
            .map(|alias| text_of(&self.image().strings, alias))
    }

    /// Names of the identity's groups, ascending.
    pub fn groups(&self, id: IdentityId) -> impl Iterator<Item = &str> {
        let image = self.image();
        let groups = self.identity_record(id).and_then(|record| image.groups_of(record).ok());
        let name = |number: usize| image.groups.get(number).map(|name| text_of(&image.strings, name));
        groups
            .unwrap_or_default()
            .iter()
            .filter_map(move |number| name(number.to_native() as usize))
    }

    pub fn scram_verifier(&self, id: IdentityId) -> Option<ScramVerifierView<'_>> {
        let record = self.image().verifier_of(self.identity_record(id)?).ok()??;
        Some(ScramVerifierView {
            iterations: record.iterations.to_native(),
            salt: &record.salt,
            stored_key: &record.stored_key,
            server_key: &record.server_key,
        })
    }

    /// The one identity that has any of the certificate's keys or names. All that match must agree.
    pub fn resolve_certificate(&self, names: &CertificateNames<'_>) -> Result<IdentityId, Unresolved> {
        let mut owner = None;
        let mut ambiguous = false;
        self.each_match(names, |_, found| {
            ambiguous |= owner.is_some_and(|owner| owner != found);
            owner = Some(found);
        });
        match owner {
            Some(_) if ambiguous => Err(Unresolved::Ambiguous),
            Some(owner) => Ok(owner),
            None => Err(Unresolved::Unknown),
        }
    }

    /// Every match of the certificate, pins first. An identity comes once for each key that matches.
    pub fn each_match(&self, names: &CertificateNames<'_>, mut found: impl FnMut(MatchedBy, IdentityId)) {
        let image = self.image();
        let keys = &image.keys;
        each_pin(
            &keys.fingerprints,
            &keys.fingerprint_index,
            &names.fingerprint,
            |owner| {
                found(MatchedBy::Fingerprint, owner);
            },
        );
        each_pin(&keys.public_keys, &keys.public_key_index, &names.public_key, |owner| {
            found(MatchedBy::PublicKey, owner)
        });
        for provider in names.validated_by.iter().map(|provider| provider.0) {
            if let [uri] = names.uris {
                each_uri(image, provider, uri, |owner| found(MatchedBy::Uri, owner));
            }
            for name in names.dns {
                each_dns(image, provider, name, |owner| found(MatchedBy::Dns, owner));
            }
            if let [name] = names.common_names {
                let hash = || name_hash(provider, name);
                let table = (&*keys.common_names, &keys.common_name_index);
                each_name(
                    image,
                    table,
                    provider,
                    hash,
                    |text| text == *name,
                    |owner| found(MatchedBy::CommonName, owner),
                );
            }
        }
    }

    pub(crate) fn identity_record(&self, id: IdentityId) -> Option<&ArchivedIdentityRecord> {
        self.image().identities.get(id.0 as usize)
    }
}

fn each_pin(
    pins: &[ArchivedPinRecord],
    index: &ArchivedHashTable,
    digest: &[u8; 32],
    mut found: impl FnMut(IdentityId),
) {
    if pins.is_empty() {
        return;
    }
    for pin in index
        .candidates(pin_hash(digest))
        .filter_map(|number| pins.get(number as usize))
    {
        if pin.digest == *digest {
            found(IdentityId(pin.owner.to_native()));
        }
    }
}

/// A SPIFFE ID counts only within the trust domains of the provider that vouches for it.
fn each_uri(image: &ArchivedImage, provider: u32, uri: &str, mut found: impl FnMut(IdentityId)) {
    if spiffe_domain(uri).is_some_and(|domain| !speaks_for(image, provider, domain)) {
        return;
    }
    let keys = &image.keys;
    let exact = (&*keys.uris, &keys.uri_index);
    each_name(
        image,
        exact,
        provider,
        || name_hash(provider, uri),
        |text| text == uri,
        &mut found,
    );
    if keys.uri_shapes.is_empty() {
        return;
    }
    let pieces = count_pieces(uri) as u64;
    let patterns = (&*keys.uri_patterns, &keys.uri_pattern_index);
    for shape in keys.uri_shapes.iter().filter(|shape| shape.pieces == pieces) {
        let shape = shape.native();
        each_name(
            image,
            patterns,
            provider,
            || shape.hash(provider, uri),
            |text| matches(text, uri),
            &mut found,
        );
    }
}

fn each_dns(image: &ArchivedImage, provider: u32, name: &str, found: impl FnMut(IdentityId)) {
    let Some(hash) = dns_hash(provider, name) else { return };
    let table = (&*image.keys.dns, &image.keys.dns_index);
    each_name(
        image,
        table,
        provider,
        || hash,
        |text| text.eq_ignore_ascii_case(name),
        found,
    );
}

fn each_name(
    image: &ArchivedImage,
    (names, index): (&[ArchivedNameRecord], &ArchivedHashTable),
    provider: u32,
    hash: impl FnOnce() -> u64,
    same: impl Fn(&str) -> bool,
    mut found: impl FnMut(IdentityId),
) {
    if names.is_empty() {
        return;
    }
    for name in index.candidates(hash()).filter_map(|number| names.get(number as usize)) {
        if name.provider == provider && same(text_of(&image.strings, &name.text)) {
            found(IdentityId(name.owner.to_native()));
        }
    }
}

fn speaks_for(image: &ArchivedImage, provider: u32, domain: &str) -> bool {
    let Some(provider) = image.providers.get(provider as usize) else {
        return false;
    };
    let ArchivedProviderKind::CertificateAuthority(authority) = &provider.kind;
    authority
        .trust_domains
        .iter()
        .any(|known: &ArchivedText| text_of(&image.strings, known) == domain)
}
