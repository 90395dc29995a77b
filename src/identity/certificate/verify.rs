//! One chain before one certificate authority: path, dates, usage, constraints and revocation, by rustls-webpki.

use postern_policy::model::CrlMode;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    EndEntityCert, Error, KeyUsage, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::facts;
use super::refusal::CertificateRefusal;
use super::trust::{Authority, Crl};
use crate::time::Utc;

/// The authority's anchor validates the chain and nothing of it is revoked.
pub(super) struct Validated {
    /// When time alone could change that: the end of a CA certificate in between, the age of a required CRL.
    pub until: Option<Utc>,
}

/// Why an authority does not vouch for a chain.
pub(super) enum Rejected {
    /// It is not this CA's certificate, or not a good one.
    Chain(CertificateRefusal),
    /// It is this CA's certificate, and its revocation speaks against it.
    Revocation(CertificateRefusal),
}

/// Asks one authority about a leaf and the certificates presented beside it. The leaf's own dates have been checked.
pub(super) fn verify(
    authority: &Authority,
    leaf: &EndEntityCert<'_>,
    intermediates: &[CertificateDer<'_>],
    now: Utc,
) -> Result<Validated, Rejected> {
    let attempt = Attempt {
        authority,
        leaf,
        intermediates,
        now,
    };
    match authority.mode {
        CrlMode::Optional => attempt.with_optional_crls(),
        CrlMode::Required => attempt.with_required_crls(),
    }
}

struct Attempt<'a> {
    authority: &'a Authority,
    leaf: &'a EndEntityCert<'a>,
    intermediates: &'a [CertificateDer<'a>],
    now: Utc,
}

impl<'a> Attempt<'a> {
    /// Whatever CRLs there are count for what they revoke, however old they are.
    fn with_optional_crls(&self) -> Result<Validated, Rejected> {
        let path = self.path(&self.every_crl(), UnknownStatusPolicy::Allow)?;
        Ok(Validated { until: end_of(&path) })
    }

    /// Every certificate below the anchor needs a fresh CRL of its issuer.
    fn with_required_crls(&self) -> Result<Validated, Rejected> {
        let every = self.every_crl();
        let fresh: Vec<&Crl> = every.iter().copied().filter(|crl| !crl.is_stale(self.now)).collect();
        if fresh.len() < every.len() {
            // What a stale one revokes stays revoked.
            self.path(&every, UnknownStatusPolicy::Allow)?;
        }
        match self.path(&fresh, UnknownStatusPolicy::Deny) {
            Ok(path) => {
                let stale_at = fresh.iter().filter_map(|crl| crl.stale_at).min();
                Ok(Validated {
                    until: end_of(&path).into_iter().chain(stale_at).min(),
                })
            }
            Err(Rejected::Revocation(CertificateRefusal::CrlMissing)) => Err(self.missing_or_stale(&every)),
            Err(other) => Err(other),
        }
    }

    fn missing_or_stale(&self, every: &[&Crl]) -> Rejected {
        Rejected::Revocation(match self.path(every, UnknownStatusPolicy::Deny) {
            Ok(_) => CertificateRefusal::CrlStale,
            Err(_) => CertificateRefusal::CrlMissing,
        })
    }

    fn every_crl(&self) -> Vec<&'a Crl> {
        self.authority.crls.iter().collect()
    }

    fn path(&self, crls: &[&Crl], unknown: UnknownStatusPolicy) -> Result<VerifiedPath<'a>, Rejected> {
        let answers = self.by_each_key(crls, |crls| self.build(self.intermediates, crls, unknown));
        answers.map_err(|_| self.why_not(crls, unknown))
    }

    /// Asks about the chain alone, then about the revocation of that one chain. What a client sends beside it could
    /// otherwise hide one error behind another: of several paths, webpki reports what it finds most telling.
    fn why_not(&self, crls: &[&Crl], unknown: UnknownStatusPolicy) -> Rejected {
        let path = match self.build(self.intermediates, &[], UnknownStatusPolicy::Allow) {
            Ok(path) => path,
            Err(Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension) => {
                return Rejected::Chain(CertificateRefusal::WrongUsage);
            }
            Err(_) => return Rejected::Chain(CertificateRefusal::Untrusted),
        };
        let chain: Vec<CertificateDer<'_>> = path.intermediate_certificates().map(|issuer| issuer.der()).collect();
        let errors = self.by_each_key(crls, |crls| self.build(&chain, crls, unknown).map(|_| ()));
        let errors = errors.err().unwrap_or_default();
        Rejected::Revocation(if errors.contains(&Error::CertRevoked) {
            CertificateRefusal::Revoked
        } else if errors.contains(&Error::UnknownRevocationStatus) {
            CertificateRefusal::CrlMissing
        } else {
            CertificateRefusal::CrlUnusable
        })
    }

    /// webpki asks the first CRL in the issuer's name and fails when another key has signed it. A CA that has changed its
    /// key has several under one name, so each key's CRLs get to be first once. Returns the first success or every error.
    fn by_each_key<T>(&self, crls: &[&Crl], ask: impl Fn(&[&Crl]) -> Result<T, Error>) -> Result<T, Vec<Error>> {
        let keys = self.authority.keys_per_name;
        let mut crls = crls.to_vec();
        let mut errors = Vec::new();
        for first in 0..keys {
            crls.sort_by_key(|crl| (crl.key_rank + keys - first) % keys);
            match ask(&crls) {
                Ok(answer) => return Ok(answer),
                Err(error) => errors.push(error),
            }
        }
        Err(errors)
    }

    fn build<'p>(
        &self,
        intermediates: &'p [CertificateDer<'p>],
        crls: &[&Crl],
        unknown: UnknownStatusPolicy,
    ) -> Result<VerifiedPath<'p>, Error>
    where
        'a: 'p,
    {
        let lists: Vec<_> = crls.iter().map(|crl| &crl.list).collect();
        let path = self.leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.authority.anchors,
            intermediates,
            unix_time(self.now),
            KeyUsage::client_auth(),
            revocation(&lists, unknown),
            None,
        )?;
        match unknown {
            UnknownStatusPolicy::Deny if lists.is_empty() => Err(Error::UnknownRevocationStatus),
            UnknownStatusPolicy::Deny | UnknownStatusPolicy::Allow => Ok(path),
        }
    }
}

/// `None` without CRLs: webpki takes no empty list. Staleness is ours to judge: webpki knows no greatest age.
fn revocation<'l>(
    lists: &'l [&'l webpki::CertRevocationList<'l>],
    unknown: UnknownStatusPolicy,
) -> Option<RevocationOptions<'l>> {
    Some(
        RevocationOptionsBuilder::new(lists)
            .ok()?
            .with_status_policy(unknown)
            .build(),
    )
}

fn unix_time(now: Utc) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        u64::try_from(now.seconds()).unwrap_or(0),
    ))
}

/// When the first CA certificate between leaf and anchor expires.
fn end_of(path: &VerifiedPath<'_>) -> Option<Utc> {
    path.intermediate_certificates()
        .filter_map(|issuer| Some(facts::end_of(&facts::parse(&issuer.der()).ok()?)))
        .min()
}
