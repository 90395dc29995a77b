//! What a certificate says, read once from its DER. Believes nothing: whether a CA vouches for it is `verify`'s.

use aws_lc_rs::digest::{SHA256, digest};
use postern_policy::attributes::Attributes;
use postern_policy::time::Utc;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate, X509Name};

/// Bytes of one certificate at most: what fits a TLS certificate entry in practice, far above real ones.
const MAX_DER: usize = 64 * 1024;
/// Subject alternative names of one certificate at most.
const MAX_NAMES: usize = 512;
/// Bytes of one name at most: a SPIFFE ID's bound (SPIFFE-ID, section 2.3).
const MAX_NAME: usize = 2048;
/// Bytes of the issuer's text for the record.
const MAX_ISSUER: usize = 256;

/// The certificate cannot be read, or is larger than anything we keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read")]
pub struct Unreadable;

/// What one leaf certificate says of itself.
///
/// Of a kind of name where one cannot be read (not text, say) there are none: leaving out that one alone could turn two
/// names into the one that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the certificate (DER).
    pub fingerprint: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo (DER).
    pub public_key: [u8; 32],
    /// Every SAN URI, in the certificate's order.
    pub uris: Vec<String>,
    /// Every SAN DNS name.
    pub dns: Vec<String>,
    /// Every CN of the subject.
    pub common_names: Vec<String>,
    /// What conditions of a policy may look at, by the names that the policy has for it.
    pub attributes: Attributes,
    /// The first moment of validity.
    pub not_before: Utc,
    /// The first moment that is no longer valid: the second after notAfter, which itself is valid (RFC 5280, 4.1.2.5).
    pub expires: Utc,
    /// Lower-case hexadecimal, for the record.
    pub serial: String,
    /// The issuer's name as text, cut to 256 bytes, for the record.
    pub issuer: String,
}

impl CertificateFacts {
    pub fn read(der: &[u8]) -> Result<Self, Unreadable> {
        Self::of(&parse(der)?, der)
    }

    /// Bytes of memory behind it, about.
    pub(super) fn weight(&self) -> usize {
        let names = [&self.uris, &self.dns, &self.common_names].into_iter().flatten();
        let names: usize = names.map(|name| size_of::<String>() + name.len()).sum();
        names + self.attributes.weight() + self.serial.len() + self.issuer.len()
    }

    /// `der` is what `certificate` was parsed from.
    pub(super) fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<Self, Unreadable> {
        let (uris, dns) = alternative_names(certificate)?;
        let common_names = common_names(certificate.subject());
        Ok(Self {
            attributes: attributes(certificate, &uris, &dns, &common_names),
            fingerprint: sha256(der),
            public_key: sha256(certificate.public_key().raw),
            uris,
            dns,
            common_names,
            not_before: utc(certificate.validity().not_before.timestamp()),
            expires: end_of(certificate),
            serial: hex(certificate.raw_serial()),
            issuer: cut(certificate.issuer().to_string()),
        })
    }
}

/// Refuses oversize and trailing bytes.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Unreadable> {
    if der.len() > MAX_DER {
        return Err(Unreadable);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Unreadable),
    }
}

/// The first moment at which a certificate is no longer valid.
pub(super) fn end_of(certificate: &X509Certificate<'_>) -> Utc {
    utc(certificate.validity().not_after.timestamp().saturating_add(1))
}

/// Seconds since the Unix epoch, as X.509 counts, in our unit.
pub(super) fn utc(seconds: i64) -> Utc {
    Utc(seconds.saturating_mul(1_000_000))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// URIs and DNS names.
fn alternative_names(certificate: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<String>), Unreadable> {
    /// Context tags of GeneralName (RFC 5280, 4.2.1.6).
    const DNS: u32 = 2;
    const URI: u32 = 6;
    let Some(names) = certificate.subject_alternative_name().map_err(|_| Unreadable)? else {
        return Ok((Vec::new(), Vec::new()));
    };
    let names = &names.value.general_names;
    if names.len() > MAX_NAMES {
        return Err(Unreadable);
    }
    let (mut uris, mut dns) = (Kind::default(), Kind::default());
    for name in names {
        match name {
            GeneralName::URI(uri) => uris.add(Some(uri)),
            GeneralName::DNSName(name) => dns.add(Some(name)),
            GeneralName::Invalid(tag, _) if tag.0 == URI => uris.add(None),
            GeneralName::Invalid(tag, _) if tag.0 == DNS => dns.add(None),
            GeneralName::Invalid(..)
            | GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    Ok((uris.finish(), dns.finish()))
}

fn common_names(subject: &X509Name<'_>) -> Vec<String> {
    let mut kind = Kind::default();
    subject.iter_common_name().for_each(|name| kind.add(name.as_str().ok()));
    kind.finish()
}

/// By [`postern_policy::model::CERTIFICATE_ATTRIBUTES`].
fn attributes(
    certificate: &X509Certificate<'_>,
    uris: &[String],
    dns: &[String],
    common_names: &[String],
) -> Attributes {
    fn each<'a>(name: &'static str, values: &'a [String]) -> impl Iterator<Item = (&'static str, &'a str)> {
        values.iter().map(move |value| (name, value.as_str()))
    }
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    let text = |value: &AttributeTypeAndValue<'_>| value.as_str().ok().map(str::to_owned);
    let organizations: Vec<String> = subject.iter_organization().filter_map(text).collect();
    let units: Vec<String> = subject.iter_organizational_unit().filter_map(text).collect();
    let issuers: Vec<String> = issuer.iter_common_name().filter_map(text).collect();
    each("uri", uris)
        .chain(each("dns", dns))
        .chain(each("common_name", common_names))
        .chain(each("organization", &organizations))
        .chain(each("organizational_unit", &units))
        .chain(each("issuer_common_name", &issuers))
        .collect()
}

/// The names of one kind, or that one of them cannot be read.
#[derive(Default)]
struct Kind {
    names: Vec<String>,
    unreadable: bool,
}

impl Kind {
    fn add(&mut self, name: Option<&str>) {
        match name {
            Some(name) if name.len() <= MAX_NAME => self.names.push(name.to_owned()),
            Some(_) | None => self.unreadable = true,
        }
    }

    fn finish(self) -> Vec<String> {
        if self.unreadable { Vec::new() } else { self.names }
    }
}

fn hex(bytes: &[u8]) -> String {
    // RFC 5280 allows 20 bytes; what is longer is cut.
    bytes.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

fn cut(mut text: String) -> String {
    let end = (0..=MAX_ISSUER)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    text.truncate(end);
    text
}
