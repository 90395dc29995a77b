//! A token looked at for people: everything that can be said of it, even where its signature is wrong or nobody has the keys.

use postern_policy::id::ProviderId;
use postern_policy::identity::Revocable;
use postern_policy::model::{TokenAlgorithm, TokenIssuer};

use super::{Check, KeySet, TokenRefusal, Unverified, Verified, checks};
use crate::time::Utc;

/// What a token says, and what its signature is worth. It comes out as [`Verified`] only where that is good.
pub struct Examined {
    said: Verified,
    signature: Signature,
    /// `kid` of the header.
    named: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Good,
    Refused(TokenRefusal),
    /// Nobody has the keys.
    Unchecked,
}

impl Examined {
    /// `keys`: those of the issuer whose rules these are.
    ///
    /// # Errors
    /// The gate's refusal, where there are no claims to look at.
    pub fn of(token: Unverified<'_>, keys: Option<(&KeySet, &TokenIssuer)>) -> Result<Self, TokenRefusal> {
        let named: Option<Box<str>> = token.key_id().map(Into::into);
        let (signature, key_id) = match keys.map(|(keys, issuer)| token.check_signed(keys, issuer)) {
            None => (Signature::Unchecked, named.clone()),
            Some(Ok(made_by)) => (Signature::Good, made_by.map(Into::into)),
            Some(Err(refusal)) => (Signature::Refused(refusal), named.clone()),
        };
        match (token.said(key_id), signature) {
            (Ok(said), _) => Ok(Self { said, signature, named }),
            // The signature is looked at before the claims.
            (Err(_), Signature::Refused(refusal)) | (Err(refusal), Signature::Good | Signature::Unchecked) => {
                Err(refusal)
            }
        }
    }

    pub fn signature(&self) -> Signature {
        self.signature
    }

    pub fn checks(&self, issuer: &TokenIssuer, now: Utc, certificate: Option<&[u8; 32]>) -> Vec<Check> {
        checks(&self.said, issuer, now, certificate)
    }

    pub fn algorithm(&self) -> TokenAlgorithm {
        self.said.algorithm()
    }

    /// `typ` of the header.
    pub fn token_type(&self) -> Option<&str> {
        self.said.token_type()
    }

    /// `kid` of the header.
    pub fn key_id(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.said.issuer()
    }

    /// Every name and value that the token says, to be printed.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        self.said.claims().iter()
    }

    /// Whom it is about, where it says so in the way that counts.
    pub fn subject(&self, issuer: &TokenIssuer) -> Option<&str> {
        self.said.check_subject(issuer).ok()
    }

    pub fn groups<'a>(&'a self, issuer: &'a TokenIssuer) -> impl Iterator<Item = &'a str> {
        self.said.groups(issuer)
    }

    /// As the gate does: by the key that has signed it or, where that is not known, by the one that it names.
    pub fn revocable<'a>(&'a self, provider: ProviderId, subject: &'a str) -> Revocable<'a> {
        self.said.revocable(provider, subject)
    }

    /// # Errors
    /// What the signature is worth, where it is not good.
    pub fn verified(self) -> Result<Verified, Signature> {
        match self.signature {
            Signature::Good => Ok(self.said),
            other => Err(other),
        }
    }
}
