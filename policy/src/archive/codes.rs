//! The small closed enums of the model in archived form: bytecheck refuses any other value.

use rkyv::{Archive, Serialize};

use crate::model;

macro_rules! mirror {
    ($name:ident, $archived:ident, $model:ty { $($variant:ident = $code:literal),+ $(,)? }) => {
        #[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
        #[rkyv(archived = $archived, derive(Clone, Copy, Debug, PartialEq, Eq))]
        #[repr(u8)]
        pub enum $name {
            $($variant = $code),+
        }

        impl From<$model> for $name {
            fn from(value: $model) -> Self {
                match value {
                    $(<$model>::$variant => Self::$variant),+
                }
            }
        }

        impl From<$archived> for $model {
            fn from(value: $archived) -> Self {
                match value {
                    $($archived::$variant => Self::$variant),+
                }
            }
        }
    };
}

mirror!(AccessCode, ArchivedAccessCode, model::Access { ReadOnly = 0, ReadWrite = 1 });
mirror!(ReplicationCode, ArchivedReplicationCode, model::ReplicationRight { No = 0, Database = 1, Physical = 2 });
mirror!(CrlModeCode, ArchivedCrlModeCode, model::CrlMode { Optional = 0, Required = 1 });
mirror!(TlsModeCode, ArchivedTlsModeCode, model::ServerTlsMode { Disable = 0, Require = 1, VerifyCa = 2, VerifyFull = 3 });
mirror!(
    ServerMethodCode,
    ArchivedServerMethodCode,
    model::ServerMethod { Trust = 0, Password = 1, Md5 = 2, ScramSha256 = 3, Certificate = 4 }
);
mirror!(TransportCode, ArchivedTransportCode, model::Transport { Any = 0, Tls = 1, Plain = 2, Unix = 3 });
mirror!(
    MethodCode,
    ArchivedMethodCode,
    model::Method {
        Certificate = 0,
        ScramSha256 = 1,
        CertificateAndScram = 2,
        Reject = 3,
        Token = 4,
        CertificateAndToken = 5,
        OauthBearer = 6,
        CertificateAndOauthBearer = 7,
        Webhook = 8,
        CertificateAndWebhook = 9,
    }
);
mirror!(
    TokenAlgorithmCode,
    ArchivedTokenAlgorithmCode,
    model::TokenAlgorithm {
        Rs256 = 0,
        Rs384 = 1,
        Rs512 = 2,
        Ps256 = 3,
        Ps384 = 4,
        Ps512 = 5,
        Es256 = 6,
        Es384 = 7,
        EdDsa = 8,
    }
);
mirror!(
    OnExpiryCode,
    ArchivedOnExpiryCode,
    model::OnExpiry { Ignore = 0, RefuseNew = 1, FinishTransaction = 2, Terminate = 3 }
);
