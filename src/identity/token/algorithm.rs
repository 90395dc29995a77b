//! The names of signature algorithms and what checks each.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
};
use postern_policy::model::TokenAlgorithm;

/// What `alg` says in a header or a key; `None` for all that is never accepted (`none`, HMAC, the unknown).
pub(super) fn by_name(name: &str) -> Option<TokenAlgorithm> {
    Some(match name {
        "RS256" => TokenAlgorithm::Rs256,
        "RS384" => TokenAlgorithm::Rs384,
        "RS512" => TokenAlgorithm::Rs512,
        "PS256" => TokenAlgorithm::Ps256,
        "PS384" => TokenAlgorithm::Ps384,
        "PS512" => TokenAlgorithm::Ps512,
        "ES256" => TokenAlgorithm::Es256,
        "ES384" => TokenAlgorithm::Es384,
        // RFC 9864 gives EdDSA on this curve the second name.
        "EdDSA" | "Ed25519" => TokenAlgorithm::EdDsa,
        _ => return None,
    })
}

/// Each algorithm of RSA keys with its parameters.
pub(super) fn of_rsa() -> [(TokenAlgorithm, &'static RsaParameters); 6] {
    [
        (TokenAlgorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
        (TokenAlgorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
        (TokenAlgorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
        (TokenAlgorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
        (TokenAlgorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
        (TokenAlgorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
    ]
}
