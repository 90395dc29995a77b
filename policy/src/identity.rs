//! From what a client has proved to one identity of the policy.

use crate::archive::keys::{dns_hash, identity_hash, name_hash, pin_hash};
use crate::archive::layout::{
    ArchivedIdentityRecord, ArchivedImage, ArchivedNameRecord, ArchivedPinRecord, ArchivedProviderKind, ArchivedText,
    ArchivedTokenFormRecord,
};
use crate::archive::strings::text_of;
use crate::archive::table::ArchivedHashTable;
use crate::archive::uri::{count_pieces, matches, spiffe_domain};
use crate::attributes::glob_matches;
use crate::id::{GroupId, IdentityId, ProviderId};
use crate::snapshot::Snapshot;
use crate::template::{Part, Values, render};
use crate::time::Utc;

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

/// Why a proof stands for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("no identity of the policy has this certificate or subject")]
    Unknown,
    #[error("the certificate or subject matches more than one identity")]
    Ambiguous,
}

/// What a revocation may know a token by.
#[derive(Debug, Clone, Copy)]
pub struct Revocable<'a> {
    pub provider: ProviderId,
    pub subject: &'a str,
    pub token_id: Option<&'a str>,
    pub key_id: Option<&'a str>,
    pub issued_at: Option<Utc>,
}

/// What fills the places in an identity's name.
pub(crate) struct OfSubject<'a>(pub Option<&'a str>);

impl Values for OfSubject<'_> {
    fn value(&self, place: Part<'_>) -> Option<&str> {
        match place {
            Part::Subject => self.0,
            Part::Text(_) | Part::Identity | Part::ApplicationName | Part::Claim(_) | Part::Unknown(_) => None,
        }
    }
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

    /// The identity's name with the subject in its place; as it stands where there is no place, or nothing to fill it.
    pub fn identity_name_for(&self, id: IdentityId, subject: Option<&str>) -> String {
        let name = self.identity_name(id);
        render(name, &OfSubject(subject)).unwrap_or_else(|_| name.to_owned())
    }

    /// The one identity that this subject of a token issuer or a webhook is: one that names it exactly, or else the one whose
    /// pattern it fits. A subject whose name would be that of an identity of the policy is nobody.
    pub fn resolve_subject(&self, provider: ProviderId, subject: &str) -> Result<IdentityId, Unresolved> {
        let image = self.image();
        let keys = &image.keys;
        let mut owners = Owners::default();
        if spiffe_domain(subject).is_some() && self.names_spiffe_ids(provider) {
            each_uri(image, provider.0, subject, |owner| owners.add(owner));
            return owners.only();
        }
        let exact = (&*keys.subjects, &keys.subject_index);
        let hash = || name_hash(provider.0, subject);
        each_name(
            image,
            exact,
            provider.0,
            hash,
            |text| text == subject,
            |owner| owners.add(owner),
        );
        if owners.is_empty() {
            for record in keys
                .subject_patterns
                .iter()
                .filter(|record| record.provider == provider.0)
            {
                if glob_matches(text_of(&image.strings, &record.text), subject) {
                    owners.add(IdentityId(record.owner.to_native()));
                }
            }
        }
        let owner = owners.only()?;
        if self.identity_name(owner).contains('{') {
            let name = self.identity_name_for(owner, Some(subject));
            if self.identity_by_name(&name).is_some() {
                return Err(Unresolved::Ambiguous);
            }
        }
        Ok(owner)
    }

    /// The groups of the policy that a provider's group `external` stands for.
    pub fn mapped_groups(&self, provider: ProviderId, external: &str) -> impl Iterator<Item = GroupId> {
        let image = self.image();
        let place = (provider.0, external);
        let key = |record: &crate::archive::layout::ArchivedGroupMappingRecord| {
            (record.provider.to_native(), text_of(&image.strings, &record.external))
        };
        let from = image.group_mappings.partition_point(|record| key(record) < place);
        let rest = image.group_mappings.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |record| key(record) == place)
            .map(|record| GroupId(record.group.to_native()))
    }

    pub fn group_name(&self, id: GroupId) -> Option<&str> {
        let image = self.image();
        image
            .groups
            .get(id.0 as usize)
            .map(|name| text_of(&image.strings, name))
    }

    /// The first revocation that the token falls under.
    pub fn revoked(&self, token: &Revocable<'_>) -> Option<&str> {
        let image = self.image();
        let has = |texts: &[ArchivedText], wanted: Option<&str>| {
            wanted.is_some_and(|wanted| {
                texts
                    .binary_search_by(|text| text_of(&image.strings, text).cmp(wanted))
                    .is_ok()
            })
        };
        let mut of_provider = image
            .revocations
            .iter()
            .filter(|record| record.provider == token.provider.0);
        let found = of_provider.find(|record| {
            let early = record.issued_before.as_ref().is_none_or(|before| {
                // A token that does not say when it was issued may be as old as any.
                token.issued_at.is_none_or(|issued| issued.0 < before.to_native())
            });
            let everything = record.token_ids.is_empty() && record.subjects.is_empty() && record.key_ids.is_empty();
            let named = has(&record.token_ids, token.token_id)
                || has(&record.subjects, Some(token.subject))
                || has(&record.key_ids, token.key_id);
            early && (named || everything)
        });
        found.map(|record| text_of(&image.strings, &record.name))
    }

    fn names_spiffe_ids(&self, provider: ProviderId) -> bool {
        let kind = self
            .image()
            .providers
            .get(provider.0 as usize)
            .map(|record| &record.kind);
        matches!(kind, Some(ArchivedProviderKind::Tokens(issuer)) if matches!(issuer.form, ArchivedTokenFormRecord::JwtSvid { .. }))
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
        let mut owners = Owners::default();
        self.each_match(names, |_, found| owners.add(found));
        owners.only()
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

/// Whoever a proof matches: one, or more than one.
#[derive(Default)]
struct Owners {
    one: Option<IdentityId>,
    ambiguous: bool,
}

impl Owners {
    fn add(&mut self, found: IdentityId) {
        self.ambiguous |= self.one.is_some_and(|one| one != found);
        self.one = Some(found);
    }

    fn is_empty(&self) -> bool {
        self.one.is_none()
    }

    fn only(self) -> Result<IdentityId, Unresolved> {
        match self.one {
            Some(_) if self.ambiguous => Err(Unresolved::Ambiguous),
            Some(one) => Ok(one),
            None => Err(Unresolved::Unknown),
        }
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
    let trust_domains = match &provider.kind {
        ArchivedProviderKind::CertificateAuthority(authority) => &authority.trust_domains,
        ArchivedProviderKind::Tokens(issuer) => match &issuer.form {
            ArchivedTokenFormRecord::JwtSvid { trust_domains } => trust_domains,
            ArchivedTokenFormRecord::Oidc { .. } => return false,
        },
        ArchivedProviderKind::Webhook(_) => return false,
    };
    trust_domains
        .iter()
        .any(|known: &ArchivedText| text_of(&image.strings, known) == domain)
}
