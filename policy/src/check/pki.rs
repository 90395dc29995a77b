//! Certificates and revocation lists as DER: whether they are what they should be. Validates no path and knows no time.

use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::revocation_list::CertificateRevocationList;

use super::{Why, require};

/// One X.509 certificate that may stand as a trust anchor.
///
/// Version 1 certificates pass: they have no extensions that could say otherwise, and old private authorities use them.
pub fn root(der: &[u8]) -> Result<(), Why> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| Why::new(format!("a root is not an X.509 certificate: {error}")))?;
    require(rest.is_empty(), || Why::new("a root has bytes behind the certificate"))?;
    let constraints = certificate
        .basic_constraints()
        .map_err(|error| Why::new(format!("a root is malformed: {error}")))?;
    let is_authority = match constraints {
        Some(found) => found.value.ca,
        None => certificate.version() == X509Version::V1,
    };
    require(is_authority, || {
        Why::new(format!(
            "`{}` is not the certificate of an authority",
            certificate.subject()
        ))
        .help("`roots` holds the authority that signed it; a single certificate is pinned by its SHA-256 instead")
    })
}

/// One X.509 certificate revocation list.
pub fn revocation_list(der: &[u8]) -> Result<(), Why> {
    let (rest, _) = CertificateRevocationList::from_der(der)
        .map_err(|error| Why::new(format!("a revocation list is not one (X.509 CRL): {error}")))?;
    require(rest.is_empty(), || {
        Why::new("a revocation list has bytes behind its end")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn certificate(is_ca: IsCa) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["test".to_owned()]).expect("parameters");
        params.is_ca = is_ca;
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_root_is_a_whole_certificate_of_an_authority() {
        let mut der = certificate(IsCa::Ca(BasicConstraints::Unconstrained));
        assert_eq!(root(&der), Ok(()));
        der.push(0);
        assert!(root(&der).is_err_and(|why| why.message.contains("bytes behind")));
        assert!(root(b"no").is_err());
        let why = root(&certificate(IsCa::ExplicitNoCa)).expect_err("a leaf");
        assert!(
            why.message.contains("not the certificate of an authority"),
            "{}",
            why.message
        );
    }

    #[test]
    fn garbage_is_no_revocation_list() {
        assert!(revocation_list(b"no").is_err());
        assert!(revocation_list(&certificate(IsCa::NoCa)).is_err());
    }
}
