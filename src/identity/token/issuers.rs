//! The token issuers of one snapshot, read once: whose a token is, and with which keys it is verified.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use postern_policy::id::ProviderId;
use postern_policy::model::{KeySource, TokenForm, TokenIssuer};
use postern_policy::snapshot::Snapshot;

use super::{KeySet, KeySetError, Unverified, spiffe};

/// The token issuers of a snapshot. The default knows none.
#[derive(Default)]
pub struct Issuers {
    known: Vec<KnownIssuer>,
    /// `iss` or trust domain to the place in `known`.
    by_authority: HashMap<Box<str>, usize>,
}

/// One of them.
pub struct KnownIssuer {
    pub provider: ProviderId,
    pub name: Arc<str>,
    pub rules: TokenIssuer,
    /// The keys, where they stand in the policy; otherwise control fetches them.
    pub inline: Option<Arc<KeySet>>,
    pub origin: KeyOrigin,
}

/// Where the policy says that an issuer's keys come from, and whom it trusts to say so. Keys of another origin are somebody
/// else's, whatever the provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOrigin([u8; 32]);

impl KeyOrigin {
    pub fn of(rules: &TokenIssuer) -> Self {
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut add = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        match &rules.keys {
            KeySource::Inline(jwks) => {
                add(b"inline");
                add(jwks);
            }
            KeySource::Url(url) => {
                add(b"url");
                add(url.as_bytes());
            }
            KeySource::Discovery => {
                add(b"discovery");
                // What the document has to say of itself: a slash at its end has the same document and is another issuer.
                if let TokenForm::Oidc { issuer } = &rules.form {
                    add(issuer.as_bytes());
                }
            }
        }
        rules.roots.iter().for_each(|root| add(root));
        let mut origin = [0; 32];
        origin.copy_from_slice(digest.finish().as_ref());
        Self(origin)
    }
}

impl Issuers {
    /// # Errors
    /// The name of the provider whose key set cannot be used, and why.
    pub fn of(snapshot: &Snapshot) -> Result<Self, (String, KeySetError)> {
        let mut issuers = Self::default();
        for (provider, name, rules) in snapshot.token_issuers() {
            let inline = match &rules.keys {
                KeySource::Inline(jwks) => {
                    let keys = KeySet::parse(jwks).map_err(|fault| (name.to_owned(), fault))?;
                    Some(Arc::new(keys))
                }
                KeySource::Discovery | KeySource::Url(_) => None,
            };
            let place = issuers.known.len();
            for authority in authorities(&rules) {
                issuers.by_authority.insert(authority.into(), place);
            }
            issuers.known.push(KnownIssuer {
                origin: KeyOrigin::of(&rules),
                provider,
                name: name.into(),
                rules,
                inline,
            });
        }
        Ok(issuers)
    }

    /// Whose token it says it is. Nothing of that is verified.
    pub fn claimed_by(&self, token: &Unverified<'_>) -> Option<&KnownIssuer> {
        self.of_authority(token.issuer(), token.subject())
    }

    /// The issuer of `iss`, or else of the trust domain of the SPIFFE ID `sub`.
    pub fn of_authority(&self, issuer: Option<&str>, subject: Option<&str>) -> Option<&KnownIssuer> {
        let find = |authority: &str| self.known.get(*self.by_authority.get(authority)?);
        let oidc = issuer.and_then(find).filter(|known| is_oidc(known));
        let domain = || subject.and_then(spiffe::trust_domain).and_then(find);
        oidc.or_else(|| domain().filter(|known| !is_oidc(known)))
    }

    pub fn named(&self, name: &str) -> Option<&KnownIssuer> {
        self.known.iter().find(|known| *known.name == *name)
    }

    pub fn by_id(&self, provider: ProviderId) -> Option<&KnownIssuer> {
        self.known.iter().find(|known| known.provider == provider)
    }

    pub fn iter(&self) -> impl Iterator<Item = &KnownIssuer> {
        self.known.iter()
    }
}

fn is_oidc(known: &KnownIssuer) -> bool {
    matches!(known.rules.form, TokenForm::Oidc { .. })
}

fn authorities(rules: &TokenIssuer) -> impl Iterator<Item = &str> {
    let (one, many) = match &rules.form {
        TokenForm::Oidc { issuer } => (Some(issuer.as_str()), None),
        TokenForm::JwtSvid { trust_domains } => (None, Some(trust_domains)),
    };
    one.into_iter().chain(many.into_iter().flatten().map(String::as_str))
}
