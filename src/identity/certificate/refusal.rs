//! The closed list of reasons why a certificate does not get in.

/// For the record; the client hears one text for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateRefusal {
    #[error("the certificate cannot be read")]
    Malformed,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate, or a CA between it and the root, is revoked")]
    Revoked,
    #[error("a CRL is required and there is none that covers the certificate's issuer")]
    CrlMissing,
    #[error("a CRL is required and the one that covers the certificate's issuer is too old")]
    CrlStale,
    #[error("the CRL in the name of the certificate's issuer is not signed by that issuer")]
    CrlUnusable,
    #[error("the certificate is not for client authentication")]
    WrongUsage,
    #[error("no certificate authority of the policy validates the certificate")]
    Untrusted,
    #[error("the certificate is bound to no identity")]
    Unknown,
    #[error("the certificate is bound to more than one identity")]
    Ambiguous,
}

impl CertificateRefusal {
    /// Every reason, for counters that show each at zero.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::NotYetValid,
        Self::Expired,
        Self::Revoked,
        Self::CrlMissing,
        Self::CrlStale,
        Self::CrlUnusable,
        Self::WrongUsage,
        Self::Untrusted,
        Self::Unknown,
        Self::Ambiguous,
    ];

    /// Stable name for records and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "certificate_malformed",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::Expired => "certificate_expired",
            Self::Revoked => "certificate_revoked",
            Self::CrlMissing => "crl_missing",
            Self::CrlStale => "crl_stale",
            Self::CrlUnusable => "crl_unusable",
            Self::WrongUsage => "certificate_wrong_usage",
            Self::Untrusted => "certificate_untrusted",
            Self::Unknown => "certificate_unknown",
            Self::Ambiguous => "certificate_ambiguous",
        }
    }
}
