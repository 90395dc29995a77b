//! Certificate authorities and certificates for tests, valid today.

use std::path::PathBuf;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};

use super::place::Place;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key as PEM files.
#[derive(Debug, Clone)]
pub struct Card {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For `127.0.0.1` and `localhost`.
    pub fn server(&self, place: &Place, file: &str) -> Card {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = common_name("localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(place, file, params)
    }

    /// A client certificate with one URI SAN.
    pub fn client(&self, place: &Place, file: &str, uri: &str, serial: u8) -> Card {
        self.client_named(place, file, file, &[uri], serial)
    }

    /// A client certificate with this common name and these URI SANs.
    pub fn client_named(&self, place: &Place, file: &str, name: &str, uris: &[&str], serial: u8) -> Card {
        let san = |uri: &&str| SanType::URI((*uri).try_into().expect("a URI"));
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.subject_alt_names = uris.iter().map(san).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        self.issue(place, file, params)
    }

    fn issue(&self, place: &Place, file: &str, mut params: CertificateParams) -> Card {
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + DAY).into();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Card {
            certificate: place.write(&format!("{file}.crt"), certificate.pem()),
            key: place.write_secret(&format!("{file}.key"), key.serialize_pem()),
        }
    }

    /// PEM of a list that revokes these serial numbers.
    pub fn crl(&self, number: u8, revoked: &[u8]) -> String {
        let revoke = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: (SystemTime::now() - DAY / 2).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: (SystemTime::now() - DAY / 2).into(),
            next_update: (SystemTime::now() + DAY).into(),
            crl_number: SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("a list").pem().expect("PEM")
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
