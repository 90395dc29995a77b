//! Judging a server's certificate as a cluster's TLS mode asks for, and saying what to configure where it fails.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::possession;

/// Why a server's certificate is refused. The texts are for the operator and name the key of the cluster's `tls` table
/// that helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerCertificateFault {
    #[error("it is no readable X.509 certificate")]
    Malformed,
    #[error("its public key is not the pinned one; the SHA-256 of its SubjectPublicKeyInfo is {0}")]
    PinMismatch(String),
    #[error(
        "it is an X.509 version 1 certificate, which path validation does not accept; reissue it as version 3, or pin \
         its key with `pinned_key` (the SHA-256 of its SubjectPublicKeyInfo is {0})"
    )]
    Version1(String),
    #[error("no configured root has signed it; check `roots`, or pin its key with `pinned_key` (SHA-256 {0})")]
    UnknownIssuer(String),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("its path to a root is not acceptable: {0}")]
    Path(String),
    #[error("it is for {presented}, not for {expected}; set `server_name` if that is right")]
    NameMismatch { expected: String, presented: String },
    #[error(
        "it has no subject alternative name, only the common name {0}; reissue it with one, or accept the common name \
         with `common_name`, or pin its key with `pinned_key`"
    )]
    OnlyCommonName(String),
    #[error("its common name is {presented}, not the configured {expected}")]
    CommonNameMismatch { expected: String, presented: String },
}

impl ServerCertificateFault {
    /// The stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed => "tls_server_certificate_malformed",
            Self::PinMismatch(_) => "tls_server_pin_mismatch",
            Self::Version1(_) => "tls_server_certificate_version_1",
            Self::UnknownIssuer(_) => "tls_server_unknown_issuer",
            Self::Expired => "tls_server_certificate_expired",
            Self::NotYetValid => "tls_server_certificate_not_yet_valid",
            Self::Path(_) => "tls_server_path",
            Self::NameMismatch { .. } => "tls_server_name_mismatch",
            Self::OnlyCommonName(_) => "tls_server_only_common_name",
            Self::CommonNameMismatch { .. } => "tls_server_common_name_mismatch",
        }
    }
}

/// What a server's certificate must satisfy, beside that the server holds its key.
#[derive(Debug)]
pub(super) enum Demand {
    /// `require`: nothing.
    Possession,
    /// This key (SHA-256 of the SubjectPublicKeyInfo), whatever else the certificate says.
    PinnedKey([u8; 32]),
    /// `verify-ca`: a path to one of the roots.
    Path(Roots),
    /// `verify-full`: a path, and the name that was connected to, or this common name where it has no other.
    PathAndName(Roots, Option<String>),
}

/// Trust anchors, and the certificates they were made of.
pub(super) struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({})", self.anchors.len())
    }
}

impl Roots {
    /// From DER; gives the index of a root that cannot be read.
    pub(super) fn new(roots: &[Vec<u8>]) -> Result<Self, usize> {
        let certificates: Vec<_> = roots.iter().map(|root| CertificateDer::from(root.clone())).collect();
        let anchors = certificates
            .iter()
            .enumerate()
            .map(|(index, root)| Ok(webpki::anchor_from_trusted_cert(root).map_err(|_| index)?.to_owned()))
            .collect::<Result<_, usize>>()?;
        Ok(Self { anchors, certificates })
    }
}

/// The verifier of one cluster role's connections.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) demand: Demand,
}

impl ServerVerifier {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), ServerCertificateFault> {
        let parsed = possession::parse(leaf).map_err(|_| ServerCertificateFault::Malformed)?;
        match &self.demand {
            Demand::Possession => Ok(()),
            Demand::PinnedKey(pin) => match key_hash(&parsed) {
                hash if hash == *pin => Ok(()),
                hash => Err(ServerCertificateFault::PinMismatch(hex(&hash))),
            },
            Demand::Path(roots) => self.check_path(roots, leaf, &parsed, intermediates, now),
            Demand::PathAndName(roots, common_name) => {
                self.check_path(roots, leaf, &parsed, intermediates, now)?;
                check_name(leaf, &parsed, name, common_name.as_deref())
            }
        }
    }

    fn check_path(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        parsed: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), ServerCertificateFault> {
        // A self-signed server certificate that is configured as its own root, as PostgreSQL's documentation makes one.
        // It usually says that it is an authority, which webpki refuses in a leaf.
        if roots.certificates.iter().any(|root| root.as_ref() == leaf.as_ref()) {
            return check_dates(parsed, now);
        }
        let fault = |error| path_fault(error, parsed);
        let end_entity = EndEntityCert::try_from(leaf).map_err(fault)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        end_entity
            .verify_for_usage(
                algorithms,
                &roots.anchors,
                intermediates,
                now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(|_| ())
            .map_err(fault)
    }
}

fn check_dates(parsed: &X509Certificate<'_>, now: UnixTime) -> Result<(), ServerCertificateFault> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > parsed.validity().not_after.timestamp() {
        return Err(ServerCertificateFault::Expired);
    }
    match now < parsed.validity().not_before.timestamp() {
        true => Err(ServerCertificateFault::NotYetValid),
        false => Ok(()),
    }
}

fn path_fault(error: webpki::Error, parsed: &X509Certificate<'_>) -> ServerCertificateFault {
    match error {
        webpki::Error::UnsupportedCertVersion => ServerCertificateFault::Version1(hex(&key_hash(parsed))),
        // The second is a root of the right name and another key.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            ServerCertificateFault::UnknownIssuer(hex(&key_hash(parsed)))
        }
        webpki::Error::CertExpired { .. } => ServerCertificateFault::Expired,
        webpki::Error::CertNotValidYet { .. } => ServerCertificateFault::NotYetValid,
        other => ServerCertificateFault::Path(other.to_string()),
    }
}

/// RFC 6125, without its fallback to the common name, which is taken only where the policy says so.
fn check_name(
    leaf: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    name: &ServerName<'_>,
    common_name: Option<&str>,
) -> Result<(), ServerCertificateFault> {
    let presented = alternative_names(parsed)?;
    if presented.is_empty() {
        return check_common_name(parsed, common_name);
    }
    let end_entity = EndEntityCert::try_from(leaf).map_err(|error| path_fault(error, parsed))?;
    end_entity
        .verify_is_valid_for_subject_name(name)
        .map_err(|_| ServerCertificateFault::NameMismatch {
            expected: name.to_str().into_owned(),
            presented: presented.join(", "),
        })
}

fn check_common_name(parsed: &X509Certificate<'_>, wanted: Option<&str>) -> Result<(), ServerCertificateFault> {
    let mut names = parsed
        .subject()
        .iter_common_name()
        .map(|name| name.as_str().unwrap_or_default());
    let presented = match (names.next(), names.next()) {
        (Some(one), None) => one,
        (Some(_), Some(_)) | (None, _) => "",
    };
    match wanted {
        None => Err(ServerCertificateFault::OnlyCommonName(presented.to_owned())),
        Some(wanted) if !presented.is_empty() && presented.eq_ignore_ascii_case(wanted) => Ok(()),
        Some(wanted) => Err(ServerCertificateFault::CommonNameMismatch {
            expected: wanted.to_owned(),
            presented: presented.to_owned(),
        }),
    }
}

/// The DNS names and IP addresses, as text.
fn alternative_names(parsed: &X509Certificate<'_>) -> Result<Vec<String>, ServerCertificateFault> {
    let extension = parsed
        .subject_alternative_name()
        .map_err(|_| ServerCertificateFault::Malformed)?;
    let names = extension
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    Ok(names.iter().filter_map(name_text).collect())
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|octets| core::net::IpAddr::from(octets).to_string());
            let v6 = <[u8; 16]>::try_from(*bytes).map(|octets| core::net::IpAddr::from(octets).to_string());
            Some(v4.or(v6).unwrap_or_else(|_| "an unreadable address".to_owned()))
        }
        _ => None,
    }
}

fn key_hash(parsed: &X509Certificate<'_>) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.tbs_certificate.subject_pki.raw);
    digest.as_ref().try_into().unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.judge(end_entity, intermediates, server_name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(fault) => Err(CertificateError::Other(OtherError(Arc::new(fault))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession::verify_tls12(&self.provider.signature_verification_algorithms, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession::verify_tls13(&self.provider.signature_verification_algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
