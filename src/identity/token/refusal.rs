//! The closed list of reasons why a token does not get in.

/// For the record; the client hears one text for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefusal {
    #[error("the token is not a signed JSON Web Token, or a member of it is not what the standards say")]
    Malformed,
    #[error("the token is too long")]
    Oversize,
    #[error("the token's algorithm is not allowed for its issuer or does not fit the key")]
    AlgorithmNotAllowed,
    #[error("the token's type is not one that is accepted of its issuer")]
    TypeNotAllowed,
    #[error("the token is of an issuer that the policy does not know")]
    IssuerUnknown,
    #[error("the issuer has no key that the token could be signed with")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    SignatureInvalid,
    #[error("the token is meant for others")]
    WrongAudience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token was issued too long ago")]
    TooOld,
    #[error("a claim that is required is missing or is not what the policy asks for")]
    ClaimMissing,
    #[error("the token's subject is not a name")]
    SubjectInvalid,
    #[error("the token has no identifier, and without one it cannot be let in just once")]
    TokenIdMissing,
    #[error("the token is bound to its holder in a way that cannot be enforced")]
    BindingUnsupported,
    #[error("the token is bound to a certificate and the connection has none")]
    BindingMissing,
    #[error("the token is bound to another certificate than the connection's")]
    BindingMismatch,
    #[error("the token, or its subject, is revoked")]
    Revoked,
    #[error("the token was used before")]
    Replayed,
    #[error("the token's subject is no identity of the policy")]
    Unresolved,
    #[error("the issuer's keys cannot be had")]
    ProviderUnavailable,
    #[error("the token has more claims than can be kept")]
    TooManyClaims,
}

impl TokenRefusal {
    /// Every reason, for counters that show each at zero.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::Oversize,
        Self::AlgorithmNotAllowed,
        Self::TypeNotAllowed,
        Self::IssuerUnknown,
        Self::UnknownKey,
        Self::SignatureInvalid,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::TooOld,
        Self::ClaimMissing,
        Self::SubjectInvalid,
        Self::TokenIdMissing,
        Self::BindingUnsupported,
        Self::BindingMissing,
        Self::BindingMismatch,
        Self::Revoked,
        Self::Replayed,
        Self::Unresolved,
        Self::ProviderUnavailable,
        Self::TooManyClaims,
    ];

    /// Stable name for records and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Oversize => "token_oversize",
            Self::AlgorithmNotAllowed => "token_algorithm_not_allowed",
            Self::TypeNotAllowed => "token_type_not_allowed",
            Self::IssuerUnknown => "token_issuer_unknown",
            Self::UnknownKey => "token_unknown_key",
            Self::SignatureInvalid => "token_signature_invalid",
            Self::WrongAudience => "token_wrong_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::TooOld => "token_too_old",
            Self::ClaimMissing => "token_claim_missing",
            Self::SubjectInvalid => "token_subject_invalid",
            Self::TokenIdMissing => "token_id_missing",
            Self::BindingUnsupported => "token_binding_unsupported",
            Self::BindingMissing => "token_binding_missing",
            Self::BindingMismatch => "token_binding_mismatch",
            Self::Revoked => "token_revoked",
            Self::Replayed => "token_replayed",
            Self::Unresolved => "token_unresolved",
            Self::ProviderUnavailable => "token_provider_unavailable",
            Self::TooManyClaims => "token_too_many_claims",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_stands_once_and_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = TokenRefusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
        assert_eq!(names.len(), TokenRefusal::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("token_")));
    }
}
