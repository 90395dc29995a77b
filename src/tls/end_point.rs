//! `tls-server-end-point` channel binding (RFC 5929 4.1): the hash of a server certificate, by the hash of the
//! certificate's own signature algorithm.

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::RsaSsaPssParams;

/// The binding of `certificate` (DER), or `None` where its signature algorithm names no single hash (Ed25519), where
/// PostgreSQL offers none either.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = hash_of(&parsed)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn hash_of(certificate: &X509Certificate<'_>) -> Option<&'static digest::Algorithm> {
    let signature = &certificate.signature_algorithm;
    let oid = signature.algorithm.to_id_string();
    if oid == RSASSA_PSS {
        let parameters = RsaSsaPssParams::try_from(signature.parameters()?).ok()?;
        return by_hash_oid(&parameters.hash_algorithm_oid().to_id_string());
    }
    by_signature_oid(&oid)
}

/// The one signature algorithm whose hash stands in its parameters (RFC 4055 3.1).
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// MD5 and SHA-1 are replaced by SHA-256, as the RFC says.
fn by_signature_oid(oid: &str) -> Option<&'static digest::Algorithm> {
    match oid {
        // md5, sha1, sha256 WithRSAEncryption; ecdsa-with-SHA1, -SHA256
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(&digest::SHA256),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(&digest::SHA256),
        // sha384WithRSAEncryption, ecdsa-with-SHA384
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&digest::SHA384),
        // sha512WithRSAEncryption, ecdsa-with-SHA512
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&digest::SHA512),
        // sha224WithRSAEncryption, ecdsa-with-SHA224
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => Some(&digest::SHA224),
        _ => None,
    }
}

fn by_hash_oid(oid: &str) -> Option<&'static digest::Algorithm> {
    match oid {
        // id-md5, id-sha1, id-sha256
        "1.2.840.113549.2.5" | "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(&digest::SHA256),
        "2.16.840.1.101.3.4.2.2" => Some(&digest::SHA384),
        "2.16.840.1.101.3.4.2.3" => Some(&digest::SHA512),
        "2.16.840.1.101.3.4.2.4" => Some(&digest::SHA224),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA384,
        PKCS_RSA_SHA512, SignatureAlgorithm,
    };

    use super::*;

    fn self_signed(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        rcgen::CertificateParams::new(vec!["db.example".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_certificates_signature() {
        let cases: [(&'static SignatureAlgorithm, &'static digest::Algorithm); 5] = [
            (&PKCS_ECDSA_P256_SHA256, &digest::SHA256),
            (&PKCS_ECDSA_P384_SHA384, &digest::SHA384),
            (&PKCS_RSA_SHA256, &digest::SHA256),
            (&PKCS_RSA_SHA384, &digest::SHA384),
            (&PKCS_RSA_SHA512, &digest::SHA512),
        ];
        for (algorithm, hash) in cases {
            let certificate = self_signed(algorithm);
            let expected = digest::digest(hash, &certificate);
            assert_eq!(end_point(&certificate).unwrap(), expected.as_ref(), "{algorithm:?}");
        }
    }

    #[test]
    fn ed25519_has_no_binding() {
        assert_eq!(end_point(&self_signed(&PKCS_ED25519)), None);
        assert_eq!(end_point(b"no certificate"), None);
    }

    #[test]
    fn md5_and_sha1_become_sha256() {
        for oid in ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"] {
            assert_eq!(by_signature_oid(oid), Some(&digest::SHA256));
        }
        for oid in ["1.2.840.113549.2.5", "1.3.14.3.2.26"] {
            assert_eq!(by_hash_oid(oid), Some(&digest::SHA256));
        }
    }
}
