//! What one snapshot trusts, parsed once: the anchors and CRLs of each certificate authority.

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};
use postern_policy::id::ProviderId;
use postern_policy::model::CrlMode;
use postern_policy::snapshot::Snapshot;
use postern_policy::view::CertificateAuthorityView;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::prelude::{CertificateRevocationList, FromDer, ParsedExtension};

use super::facts;
use crate::time::Utc;

/// The certificate authorities of one snapshot. The default trusts nobody.
#[derive(Default)]
pub struct Trust {
    authorities: Vec<Authority>,
    /// Subject of an anchor (DER) to places in `authorities`: an attempt asks only the CAs its chain could end at.
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
    content: [u8; 32],
}

/// A root or CRL of the policy cannot be used. The snapshot must not come into force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("provider {provider}: root {number} cannot be a trust anchor: {fault}")]
    Root {
        provider: String,
        number: usize,
        fault: String,
    },
    #[error("provider {provider}: CRL {number} cannot be used: {fault}")]
    Crl {
        provider: String,
        number: usize,
        fault: String,
    },
}

impl Trust {
    /// Parses every anchor and CRL of the snapshot.
    pub fn of(snapshot: &Snapshot) -> Result<Self, TrustError> {
        let mut authorities = Vec::new();
        let mut by_subject: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (provider, view) in snapshot.certificate_authorities() {
            let place = authorities.len();
            let authority = Authority::of(provider, &view)?;
            for subject in subjects(view.roots()) {
                by_subject.entry(subject).or_default().push(place);
            }
            authorities.push(authority);
        }
        let content = hash(authorities.iter().map(|authority| &authority.content[..]));
        Ok(Self {
            authorities,
            by_subject,
            content,
        })
    }

    /// Whether no certificate authority is configured.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// Hash of everything that [`super::examine`] looks at. While it stays, a chain examined before need not be examined
    /// again before its [`super::Evidence::recheck_at`]: providers have the same numbers too.
    pub fn content(&self) -> &[u8; 32] {
        &self.content
    }

    /// The same for one provider: its name, number, roots, CRLs and how CRLs count.
    pub fn content_of(&self, provider: ProviderId) -> Option<&[u8; 32]> {
        let authority = self
            .authorities
            .iter()
            .find(|authority| authority.provider == provider)?;
        Some(&authority.content)
    }

    /// The authorities with an anchor that bears one of these names (DER), each once, in provider order.
    pub(super) fn named<'a>(&self, issuers: impl Iterator<Item = &'a [u8]>) -> Vec<&Authority> {
        let mut places: Vec<usize> = issuers
            .filter_map(|issuer| self.by_subject.get(issuer))
            .flatten()
            .copied()
            .collect();
        places.sort_unstable();
        places.dedup();
        places
            .into_iter()
            .filter_map(|place| self.authorities.get(place))
            .collect()
    }

    /// Whether a CRL in the name of `issuer` (DER) lists `serial`, with no regard to who signed it: every CRL of a policy
    /// was put there by its operator.
    pub(super) fn lists_as_revoked(&self, issuer: &[u8], serial: &[u8]) -> bool {
        let crls = self.authorities.iter().flat_map(|authority| &authority.crls);
        crls.filter(|crl| crl.issuer == issuer).any(|crl| crl.lists(serial))
    }
}

/// One certificate authority of the policy.
pub(super) struct Authority {
    pub provider: ProviderId,
    pub anchors: Vec<TrustAnchor<'static>>,
    /// Newest first: the first that covers a certificate decides about it.
    pub crls: Vec<Crl>,
    pub mode: CrlMode,
    /// How many different keys, at most, sign CRLs under one issuer name; at least one.
    pub keys_per_name: usize,
    content: [u8; 32],
}

impl Authority {
    fn of(provider: ProviderId, view: &CertificateAuthorityView<'_>) -> Result<Self, TrustError> {
        let anchors = numbered(view.roots())
            .map(|(number, der)| {
                anchor(der).map_err(|fault| TrustError::Root {
                    provider: view.name().to_owned(),
                    number,
                    fault,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut crls = numbered(view.crls())
            .map(|(number, der)| {
                Crl::read(der, view.crl_max_age()).map_err(|fault| TrustError::Crl {
                    provider: view.name().to_owned(),
                    number,
                    fault,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        crls.sort_by_key(|crl| std::cmp::Reverse(crl.this_update));
        let keys_per_name = rank_by_key(&mut crls);
        let content = content_of(provider, view);
        Ok(Self {
            provider,
            anchors,
            crls,
            mode: view.crl_mode(),
            keys_per_name,
            content,
        })
    }
}

/// One revocation list.
pub(super) struct Crl {
    pub list: CertRevocationList<'static>,
    /// From this moment on it is too old where one is required; `None` never.
    pub stale_at: Option<Utc>,
    /// Which of the keys under its issuer's name signed it, counted from zero (a CA that changes its key keeps its name).
    pub key_rank: usize,
    /// DER.
    issuer: Vec<u8>,
    this_update: Utc,
    signing_key: Option<Vec<u8>>,
}

impl Crl {
    fn read(der: &[u8], max_age: Option<u32>) -> Result<Self, String> {
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| error.to_string())?;
        let (_, read) = CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
        let this_update = read.last_update().timestamp();
        let ages = max_age.map(|age| this_update.saturating_add(i64::from(age)));
        let stale_at = read
            .next_update()
            .map(|next| next.timestamp())
            .into_iter()
            .chain(ages)
            .min()
            .map(facts::utc);
        let signing_key = read
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.as_ref().map(|id| id.0.to_vec()),
                _ => None,
            });
        let issuer = read.issuer().as_raw().to_vec();
        let this_update = facts::utc(this_update);
        Ok(Self {
            list: list.into(),
            stale_at,
            key_rank: 0,
            issuer,
            this_update,
            signing_key,
        })
    }

    pub fn is_stale(&self, now: Utc) -> bool {
        self.stale_at.is_some_and(|stale_at| stale_at <= now)
    }

    /// A list that cannot be searched counts as listing everything.
    fn lists(&self, serial: &[u8]) -> bool {
        self.list.find_serial(serial).map_or(true, |found| found.is_some())
    }
}

/// Numbers the signing keys under each issuer name and returns how many there are under one name at most.
fn rank_by_key(crls: &mut [Crl]) -> usize {
    let mut keys: HashMap<Vec<u8>, Vec<Option<Vec<u8>>>> = HashMap::new();
    for crl in crls.iter_mut() {
        let known = keys.entry(crl.issuer.clone()).or_default();
        crl.key_rank = known.iter().position(|key| *key == crl.signing_key).unwrap_or_else(|| {
            known.push(crl.signing_key.clone());
            known.len() - 1
        });
    }
    keys.values().map(Vec::len).max().unwrap_or(1)
}

fn anchor(der: &[u8]) -> Result<TrustAnchor<'static>, String> {
    facts::parse(der).map_err(|error| error.to_string())?;
    let der = CertificateDer::from(der);
    webpki::anchor_from_trusted_cert(&der)
        .map(|anchor| anchor.to_owned())
        .map_err(|error| error.to_string())
}

/// The names anchors stand under (DER), each once per CA.
fn subjects<'a>(roots: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let read = roots.filter_map(|der| facts::parse(der).ok());
    let mut subjects: Vec<Vec<u8>> = read.map(|root| root.subject().as_raw().to_vec()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    subjects
}

/// Counted from one, as people do.
fn numbered<'a>(items: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = (usize, &'a [u8])> {
    (1..).zip(items)
}

fn content_of(provider: ProviderId, view: &CertificateAuthorityView<'_>) -> [u8; 32] {
    let mode = match view.crl_mode() {
        CrlMode::Optional => [0],
        CrlMode::Required => [1],
    };
    let max_age = view.crl_max_age().map(u32::to_le_bytes);
    let head = [view.name().as_bytes(), &provider.number().to_le_bytes(), &mode].map(<[u8]>::to_vec);
    let max_age = max_age.iter().map(|age| age.to_vec());
    let roots = view.roots().map(<[u8]>::to_vec);
    let parts: Vec<Vec<u8>> = head
        .into_iter()
        .chain(max_age)
        .chain([b"roots".to_vec()])
        .chain(roots)
        .chain([b"crls".to_vec()])
        .chain(view.crls().map(<[u8]>::to_vec))
        .collect();
    hash(parts.iter().map(Vec::as_slice))
}

/// SHA-256 over the parts, each with its length, so that no two lists of parts look alike.
fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
