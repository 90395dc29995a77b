//! What a presented chain shows, before anybody asks whose it is.

use postern_policy::id::ProviderId;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::prelude::X509Certificate;

use super::facts::{self, CertificateFacts};
use super::refusal::CertificateRefusal;
use super::trust::Trust;
use super::verify::{Rejected, Validated, verify};
use crate::time::Utc;

/// Certificates in one chain at most; real ones have up to four.
const MAX_CHAIN: usize = 10;

/// What a chain shows: the facts of its leaf, who vouches for it, and until when that can be relied on.
#[derive(Debug, Clone)]
pub struct Evidence {
    facts: CertificateFacts,
    validated_by: Vec<ProviderId>,
    recheck_at: Utc,
    unvouched: CertificateRefusal,
}

impl Evidence {
    /// What the leaf says of itself.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The providers whose anchor validates the chain, in their order. Only they may speak for its names.
    pub fn validated_by(&self) -> &[ProviderId] {
        &self.validated_by
    }

    /// The first moment at which time alone can change the answer: the end of a certificate, the age of a required CRL.
    pub fn recheck_at(&self) -> Utc {
        self.recheck_at
    }

    /// Bytes of memory, about.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.facts.weight() + size_of_val(&*self.validated_by)
    }

    /// Why nobody vouches for it, to be said where no pin does either.
    pub(super) fn unvouched(&self) -> CertificateRefusal {
        self.unvouched
    }
}

/// Asks every certificate authority that could have issued the chain. `chain` is as presented, the leaf first.
pub fn examine(trust: &Trust, chain: &[CertificateDer<'_>], now: Utc) -> Result<Evidence, CertificateRefusal> {
    let (leaf_der, intermediates) = chain.split_first().ok_or(CertificateRefusal::Malformed)?;
    if chain.len() > MAX_CHAIN {
        return Err(CertificateRefusal::Malformed);
    }
    let leaf = facts::parse(leaf_der).map_err(|_| CertificateRefusal::Malformed)?;
    let facts = CertificateFacts::of(&leaf, leaf_der).map_err(|_| CertificateRefusal::Malformed)?;
    check_dates(&facts, now)?;
    let votes = ask(trust, leaf_der, intermediates, now);
    let unvouched = votes.decide(trust, &leaf)?;
    let recheck_at = votes
        .until
        .into_iter()
        .chain([facts.expires])
        .min()
        .unwrap_or(facts.expires);
    Ok(Evidence {
        facts,
        validated_by: votes.validated_by,
        recheck_at,
        unvouched,
    })
}

fn check_dates(facts: &CertificateFacts, now: Utc) -> Result<(), CertificateRefusal> {
    if now < facts.not_before {
        return Err(CertificateRefusal::NotYetValid);
    }
    if now >= facts.expires {
        return Err(CertificateRefusal::Expired);
    }
    Ok(())
}

fn ask(trust: &Trust, leaf: &CertificateDer<'_>, presented: &[CertificateDer<'_>], now: Utc) -> Votes {
    let mut votes = Votes::default();
    // What webpki cannot read (X.509 v1, an unknown critical extension) no CA vouches for; a pin still can.
    let Ok(end_entity) = EndEntityCert::try_from(leaf) else {
        return votes;
    };
    let intermediates = path_material(presented);
    let chain = std::iter::once(leaf).chain(&intermediates);
    let issuers: Vec<Vec<u8>> = chain
        .filter_map(|der| Some(facts::parse(der).ok()?.issuer().as_raw().to_vec()))
        .collect();
    for authority in trust.named(issuers.iter().map(Vec::as_slice)) {
        votes.count(authority.provider, verify(authority, &end_entity, &intermediates, now));
    }
    votes
}

/// What can be read, at most two of one name (a CA and its cross-signed twin): the number of paths to try grows with every
/// certificate of a name, and a stranger chooses them.
fn path_material<'a>(presented: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    const OF_ONE_NAME: usize = 2;
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut kept = Vec::new();
    for der in presented {
        let Ok(certificate) = facts::parse(der) else { continue };
        let name = certificate.subject().as_raw();
        if names.iter().filter(|known| *known == name).count() < OF_ONE_NAME {
            names.push(name.to_vec());
            kept.push(CertificateDer::from(der.as_ref()));
        }
    }
    kept
}

/// What the authorities said, each for itself.
#[derive(Default)]
struct Votes {
    validated_by: Vec<ProviderId>,
    until: Option<Utc>,
    revoked: bool,
    /// A CA that validates the chain has no usable CRL for it.
    without_crl: Option<CertificateRefusal>,
    wrong_usage: bool,
}

impl Votes {
    fn count(&mut self, provider: ProviderId, vote: Result<Validated, Rejected>) {
        match vote {
            Ok(validated) => {
                self.validated_by.push(provider);
                self.until = self.until.into_iter().chain(validated.until).min();
            }
            Err(Rejected::Revocation(CertificateRefusal::Revoked)) => self.revoked = true,
            Err(Rejected::Revocation(reason)) => self.without_crl = self.without_crl.or(Some(reason)),
            Err(Rejected::Chain(reason)) => self.wrong_usage |= reason == CertificateRefusal::WrongUsage,
        }
    }

    /// What to say when the leaf is bound to nobody, or why it does not matter to whom it is bound.
    fn decide(&self, trust: &Trust, leaf: &X509Certificate<'_>) -> Result<CertificateRefusal, CertificateRefusal> {
        if self.revoked {
            return Err(CertificateRefusal::Revoked);
        }
        if !self.validated_by.is_empty() {
            return Ok(CertificateRefusal::Unknown);
        }
        if let Some(reason) = self.without_crl {
            return Err(reason);
        }
        // Only a pin could let it in now, and a client could hide that it is revoked by leaving out an intermediate.
        if trust.lists_as_revoked(leaf.issuer().as_raw(), leaf.raw_serial()) {
            return Err(CertificateRefusal::Revoked);
        }
        Ok(match () {
            () if trust.is_empty() => CertificateRefusal::Unknown,
            () if self.wrong_usage => CertificateRefusal::WrongUsage,
            () => CertificateRefusal::Untrusted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::certificate::testing::{Ca, Der};

    #[test]
    fn two_of_one_name_are_enough() {
        let maze: Vec<Der> = (0..9).map(|_| Ca::root("Loop").der()).collect();
        let other = Ca::root("Other").der();
        let presented: Vec<Der> = maze.iter().chain([&other, &Der::from(vec![0; 9])]).cloned().collect();
        assert_eq!(path_material(&presented), [maze[0].clone(), maze[1].clone(), other]);
    }
}
