//! How the closed choices of a policy are written: in the text, in explanations and in the record.

use crate::model::{
    Access, CrlMode, Method, OnExpiry, ReplicationRight, ServerMethod, ServerTlsMode, TokenAlgorithm, Transport,
};

/// A closed choice, each of its values with one stable word.
pub trait Word: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == word)
    }
}

impl Word for CrlMode {
    const ALL: &'static [Self] = &[CrlMode::Optional, CrlMode::Required];

    fn as_str(self) -> &'static str {
        match self {
            CrlMode::Optional => "optional",
            CrlMode::Required => "required",
        }
    }
}

impl Word for ServerTlsMode {
    const ALL: &'static [Self] = &[
        ServerTlsMode::Disable,
        ServerTlsMode::Require,
        ServerTlsMode::VerifyCa,
        ServerTlsMode::VerifyFull,
    ];

    fn as_str(self) -> &'static str {
        match self {
            ServerTlsMode::Disable => "disable",
            ServerTlsMode::Require => "require",
            ServerTlsMode::VerifyCa => "verify-ca",
            ServerTlsMode::VerifyFull => "verify-full",
        }
    }
}

impl Word for ServerMethod {
    const ALL: &'static [Self] = &[
        ServerMethod::Trust,
        ServerMethod::Password,
        ServerMethod::Md5,
        ServerMethod::ScramSha256,
        ServerMethod::Certificate,
    ];

    fn as_str(self) -> &'static str {
        match self {
            ServerMethod::Trust => "trust",
            ServerMethod::Password => "password",
            ServerMethod::Md5 => "md5",
            ServerMethod::ScramSha256 => "scram-sha-256",
            ServerMethod::Certificate => "certificate",
        }
    }
}

impl Word for Access {
    const ALL: &'static [Self] = &[Access::ReadOnly, Access::ReadWrite];

    fn as_str(self) -> &'static str {
        match self {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        }
    }
}

impl Word for ReplicationRight {
    const ALL: &'static [Self] = &[
        ReplicationRight::No,
        ReplicationRight::Database,
        ReplicationRight::Physical,
    ];

    fn as_str(self) -> &'static str {
        match self {
            ReplicationRight::No => "no",
            ReplicationRight::Database => "database",
            ReplicationRight::Physical => "physical",
        }
    }
}

impl Word for Transport {
    const ALL: &'static [Self] = &[Transport::Any, Transport::Tls, Transport::Plain, Transport::Unix];

    fn as_str(self) -> &'static str {
        match self {
            Transport::Any => "any",
            Transport::Tls => "tls",
            Transport::Plain => "plain",
            Transport::Unix => "unix",
        }
    }
}

impl Word for Method {
    const ALL: &'static [Self] = &[
        Method::Certificate,
        Method::ScramSha256,
        Method::CertificateAndScram,
        Method::Reject,
        Method::Token,
        Method::CertificateAndToken,
        Method::OauthBearer,
        Method::CertificateAndOauthBearer,
        Method::Webhook,
        Method::CertificateAndWebhook,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Method::Certificate => "certificate",
            Method::ScramSha256 => "scram-sha-256",
            Method::CertificateAndScram => "certificate+scram-sha-256",
            Method::Reject => "reject",
            Method::Token => "token",
            Method::CertificateAndToken => "certificate+token",
            Method::OauthBearer => "oauthbearer",
            Method::CertificateAndOauthBearer => "certificate+oauthbearer",
            Method::Webhook => "webhook",
            Method::CertificateAndWebhook => "certificate+webhook",
        }
    }
}

/// As the registry of JSON Web Signature algorithms has them (RFC 7518, section 3.1; RFC 8037).
impl Word for TokenAlgorithm {
    const ALL: &'static [Self] = &[
        TokenAlgorithm::Rs256,
        TokenAlgorithm::Rs384,
        TokenAlgorithm::Rs512,
        TokenAlgorithm::Ps256,
        TokenAlgorithm::Ps384,
        TokenAlgorithm::Ps512,
        TokenAlgorithm::Es256,
        TokenAlgorithm::Es384,
        TokenAlgorithm::EdDsa,
    ];

    fn as_str(self) -> &'static str {
        match self {
            TokenAlgorithm::Rs256 => "RS256",
            TokenAlgorithm::Rs384 => "RS384",
            TokenAlgorithm::Rs512 => "RS512",
            TokenAlgorithm::Ps256 => "PS256",
            TokenAlgorithm::Ps384 => "PS384",
            TokenAlgorithm::Ps512 => "PS512",
            TokenAlgorithm::Es256 => "ES256",
            TokenAlgorithm::Es384 => "ES384",
            TokenAlgorithm::EdDsa => "EdDSA",
        }
    }
}

impl Word for OnExpiry {
    const ALL: &'static [Self] = &[
        OnExpiry::Ignore,
        OnExpiry::RefuseNew,
        OnExpiry::FinishTransaction,
        OnExpiry::Terminate,
    ];

    fn as_str(self) -> &'static str {
        match self {
            OnExpiry::Ignore => "ignore",
            OnExpiry::RefuseNew => "refuse_new",
            OnExpiry::FinishTransaction => "finish_transaction",
            OnExpiry::Terminate => "terminate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        fn all<W: Word + PartialEq + core::fmt::Debug>() {
            for word in W::ALL {
                assert_eq!(W::from_word(word.as_str()), Some(*word));
            }
            assert_eq!(W::from_word("no such word"), None);
        }
        all::<CrlMode>();
        all::<ServerTlsMode>();
        all::<ServerMethod>();
        all::<Access>();
        all::<ReplicationRight>();
        all::<Transport>();
        all::<Method>();
        all::<TokenAlgorithm>();
        all::<OnExpiry>();
    }
}
