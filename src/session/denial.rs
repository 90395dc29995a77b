//! What a client hears when it is turned away: one closed table from the true reason to SQLSTATE and text.
//!
//! Before a proof there is one text per method, so that a stranger cannot tell an unknown name from a wrong key. After a
//! good proof every "no" of the decision has the same words. Limits and faults of the gate's own are told apart: they
//! concern nobody's secrets. The record always has the reason itself.

use std::borrow::Cow;

use postern_policy::model::Asked;

use crate::audit::Reason;
use crate::identity::scram::ScramError;
use crate::wire::error::Report;
use crate::wire::sqlstate::SqlState;

/// One refusal: the truth for the record, the words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    pub sqlstate: SqlState,
    pub message: Cow<'static, str>,
    pub detail: Option<Cow<'static, str>>,
    pub hint: Option<&'static str>,
    /// The gate could not look well enough to call it a guess, whatever the reason.
    pub spared: bool,
}

/// The client's own words, as far as the texts repeat them. Never more than was sent.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub user: &'a str,
    pub database: &'a str,
    /// As PostgreSQL shows it: an address, or `[local]`.
    pub host: &'a str,
    pub tls: bool,
    /// What the rule asked for beside a certificate.
    pub asked: Asked,
}

impl Default for Said<'_> {
    fn default() -> Self {
        Self {
            user: "",
            database: "",
            host: "",
            tls: false,
            asked: Asked::Nothing,
        }
    }
}

impl Denial {
    pub fn new(reason: Reason, sqlstate: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            spared: false,
        }
    }

    /// A client that breaks the protocol.
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::ProtocolViolation, SqlState::ProtocolViolation, message)
    }

    /// A SCRAM conversation that failed, in PostgreSQL's words where the fault lies in the client's bytes.
    pub fn scram(error: &ScramError, known: bool, said: Said<'_>) -> Self {
        let reason = match error {
            ScramError::ProofFailed if known => Reason::ScramFailed,
            ScramError::ProofFailed => Reason::IdentityUnknown,
            ScramError::BindingNegotiation => Reason::ScramBindingDowngraded,
            ScramError::BindingCheckFailed => Reason::ScramBindingMismatch,
            ScramError::Malformed(_)
            | ScramError::TooLong
            | ScramError::InvalidMechanism
            | ScramError::UnsupportedBinding(_)
            | ScramError::AuthorizationIdentity
            | ScramError::MandatoryExtension
            | ScramError::NoncePrintable
            | ScramError::BindingAttribute
            | ScramError::NonceMismatch => Reason::ScramMalformed,
        };
        if matches!(error, ScramError::ProofFailed) {
            return Self::of(reason, said);
        }
        let sqlstate = match error.sqlstate() {
            "0A000" => SqlState::FeatureNotSupported,
            "28000" => SqlState::InvalidAuthorization,
            _ => SqlState::ProtocolViolation,
        };
        Self {
            detail: error.detail(),
            ..Self::new(reason, sqlstate, error.to_string())
        }
    }

    /// The table. Reasons that never reach a client as an error of their own share the last arm's words.
    pub fn of(reason: Reason, said: Said<'_>) -> Self {
        use Reason as R;
        use SqlState as S;
        let Said {
            user,
            database,
            host,
            tls,
            asked,
        } = said;
        let encryption = if tls { "SSL encryption" } else { "no encryption" };
        match reason {
            R::TlsRequired => Self {
                hint: Some("Connect with sslmode=require or stronger."),
                ..Self::new(
                    reason,
                    S::InvalidAuthorization,
                    "this listener requires an encrypted connection",
                )
            },
            R::NoAuthenticationRule => Self::new(
                reason,
                S::InvalidAuthorization,
                format!(
                    "no authentication rule for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
                ),
            ),
            R::MethodReject => Self::new(
                reason,
                S::InvalidAuthorization,
                format!(
                    "authentication rule rejects connection for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
                ),
            ),
            R::CertificateMissing => Self::new(
                reason,
                S::InvalidAuthorization,
                "connection requires a valid client certificate",
            ),
            R::CertificateUnknown
            | R::CertificateUntrusted
            | R::CertificateExpired
            | R::CertificateNotYetValid
            | R::CertificateRevoked
            | R::CertificateAmbiguous
            | R::CertificateMalformed
            | R::CertificateWrongUsage
            | R::CrlMissing
            | R::CrlUnusable
            | R::CrlStale => Self::new(
                reason,
                S::InvalidAuthorization,
                format!("certificate authentication failed for user \"{user}\""),
            ),
            R::ScramFailed
            | R::IdentityUnknown
            | R::TokenMalformed
            | R::TokenOversize
            | R::TokenAlgorithmNotAllowed
            | R::TokenTypeNotAllowed
            | R::TokenIssuerUnknown
            | R::TokenUnknownKey
            | R::TokenSignatureInvalid
            | R::TokenWrongAudience
            | R::TokenExpired
            | R::TokenNotYetValid
            | R::TokenTooOld
            | R::TokenClaimMissing
            | R::TokenSubjectInvalid
            | R::TokenIdMissing
            | R::TokenBindingUnsupported
            | R::TokenBindingMissing
            | R::TokenBindingMismatch
            | R::TokenRevoked
            | R::TokenReplayed
            | R::TokenReplayStoreFull
            | R::TokenTooManyClaims
            | R::TokenDiscovery
            | R::SubjectUnknown
            | R::SubjectAmbiguous
            | R::ProviderUnavailable
            | R::PasswordEmpty
            | R::WebhookDenied => match asked {
                Asked::OauthBearer => Self::new(
                    reason,
                    S::InvalidAuthorization,
                    format!("OAuth bearer authentication failed for user \"{user}\""),
                ),
                Asked::Nothing | Asked::Scram | Asked::TokenAsPassword | Asked::PasswordForWebhook => Self::new(
                    reason,
                    S::InvalidPassword,
                    format!("password authentication failed for user \"{user}\""),
                ),
            },
            // Whoever it is: the network is refused, not a name.
            R::TooManyFailures => Self::new(
                reason,
                S::InvalidAuthorization,
                "too many failed authentication attempts, try again later",
            ),
            R::IdentityMismatch
            | R::NoGrant
            | R::DeniedByRule
            | R::NoSuchDatabase
            | R::UserNotAllowed
            | R::WrongNetwork
            | R::OutsideHours
            | R::NotYetValid
            | R::Expired
            | R::ProofMissing
            | R::KeyBoundProofMissing
            | R::ClaimsNotMet
            | R::CertificateNotMet
            | R::TokenTooOldForGrant
            | R::TenantUnknown
            | R::ClaimMissing
            | R::ReplicationNotGranted
            | R::PolicyChanged => Self::new(
                reason,
                S::InvalidAuthorization,
                format!("access to database \"{database}\" is not granted to user \"{user}\""),
            ),
            R::AuthenticationTimeout => Self::new(reason, S::QueryCanceled, "canceling authentication due to timeout"),
            R::TooManySessions => Self::new(
                reason,
                S::TooManyConnections,
                format!("too many connections for role \"{user}\""),
            ),
            R::OutOfPlaces => Self::new(reason, S::TooManyConnections, "sorry, too many clients already"),
            R::AuditUnavailable => Self::new(
                reason,
                S::CannotConnectNow,
                "connections cannot be recorded at this time and are not let in",
            ),
            R::Draining => Self::new(reason, S::CannotConnectNow, "the database system is shutting down"),
            R::UpstreamUnreachable => Self::new(
                reason,
                S::UnableToConnect,
                format!("could not connect to a server for database \"{database}\""),
            ),
            R::UpstreamTimeout => Self::new(
                reason,
                S::UnableToConnect,
                format!("timeout while connecting to a server for database \"{database}\""),
            ),
            R::UpstreamTls | R::UpstreamProtocol => Self::new(
                reason,
                S::ConnectionFailure,
                format!("the connection to a server for database \"{database}\" failed"),
            ),
            R::UpstreamRefused | R::UpstreamCredentials => Self::new(
                reason,
                S::ServerRejectedConnection,
                format!("a server for database \"{database}\" rejected the gate's login"),
            ),
            R::ProxyProtocolMissing | R::ProxyProtocolMalformed | R::ProxyProtocolUntrusted => {
                Self::new(reason, S::ProtocolViolation, "expected a PROXY protocol header")
            }
            R::UnsupportedProtocol => Self::new(reason, S::FeatureNotSupported, "unsupported frontend protocol"),
            R::StartupSettingRefused => {
                Self::new(reason, S::InsufficientPrivilege, "permission denied to set parameter")
            }
            R::Ok
            | R::Probe
            | R::ClientClosed
            | R::StartupTimeout
            | R::ProtocolViolation
            | R::TlsHandshakeFailed
            | R::StartupMalformed
            | R::ScramMalformed
            | R::ScramBindingDowngraded
            | R::ScramBindingMismatch
            | R::Internal
            | R::CancelNoMatch
            | R::CancelRateLimited
            | R::CancelFailed
            | R::OauthbearerMalformed => Self::new(reason, S::ProtocolViolation, "the connection cannot be served"),
        }
    }

    /// Whether it is the token, or what it says, that is not good: told by the words for that.
    pub fn is_about_the_token(&self) -> bool {
        let said = Said {
            asked: Asked::OauthBearer,
            ..Said::default()
        };
        Self::of(self.reason, said).message.starts_with("OAuth bearer")
    }

    /// Whether a proof was shown and is not good: a guess, for all that the gate knows. Who shows nothing, finds the gate or a
    /// provider at its limits, or is denied behind a good proof has guessed nothing.
    pub fn is_failed_proof(&self) -> bool {
        use Reason as R;
        !self.spared
            && matches!(
                self.reason,
                R::ScramFailed
                    | R::ScramBindingDowngraded
                    | R::ScramBindingMismatch
                    | R::IdentityUnknown
                    | R::CertificateUnknown
                    | R::CertificateUntrusted
                    | R::CertificateExpired
                    | R::CertificateNotYetValid
                    | R::CertificateRevoked
                    | R::CertificateAmbiguous
                    | R::CertificateMalformed
                    | R::CertificateWrongUsage
                    | R::TokenMalformed
                    | R::TokenOversize
                    | R::TokenAlgorithmNotAllowed
                    | R::TokenTypeNotAllowed
                    | R::TokenIssuerUnknown
                    | R::TokenUnknownKey
                    | R::TokenSignatureInvalid
                    | R::TokenWrongAudience
                    | R::TokenExpired
                    | R::TokenNotYetValid
                    | R::TokenTooOld
                    | R::TokenClaimMissing
                    | R::TokenSubjectInvalid
                    | R::TokenIdMissing
                    | R::TokenBindingUnsupported
                    | R::TokenBindingMissing
                    | R::TokenBindingMismatch
                    | R::TokenRevoked
                    | R::TokenReplayed
                    | R::TokenTooManyClaims
                    | R::SubjectUnknown
                    | R::SubjectAmbiguous
                    | R::PasswordEmpty
                    | R::WebhookDenied
            )
    }

    /// The ErrorResponse.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut report = Report::fatal(self.sqlstate, &self.message);
        report.detail = self.detail.as_deref();
        report.hint = self.hint;
        report.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Said<'_> = Said {
        user: "u",
        database: "d",
        host: "10.0.0.1",
        tls: false,
        asked: Asked::Scram,
    };

    #[test]
    fn the_proof_does_not_tell_an_unknown_name_from_a_wrong_key() {
        let failed = Denial::of(Reason::ScramFailed, SAID);
        let unknown = Denial::of(Reason::IdentityUnknown, SAID);
        assert_eq!((failed.sqlstate, failed.message), (unknown.sqlstate, unknown.message));
    }

    #[test]
    fn what_counts_as_a_failed_proof_is_what_the_names_say() {
        for reason in Reason::ALL.iter().copied() {
            let name = reason.as_str();
            let proof = ["token_", "certificate_", "scram_binding_"]
                .iter()
                .any(|of| name.starts_with(of));
            let spared = [
                Reason::CertificateMissing,
                Reason::CertificateNotMet,
                Reason::TokenDiscovery,
                Reason::TokenReplayStoreFull,
                Reason::TokenTooOldForGrant,
            ];
            let other = [
                Reason::ScramFailed,
                Reason::IdentityUnknown,
                Reason::SubjectUnknown,
                Reason::SubjectAmbiguous,
                Reason::PasswordEmpty,
                Reason::WebhookDenied,
            ];
            let counts = proof && !spared.contains(&reason) || other.contains(&reason);
            assert_eq!(Denial::of(reason, SAID).is_failed_proof(), counts, "{reason}");
        }
    }

    #[test]
    fn every_no_of_the_decision_has_the_same_words() {
        let first = Denial::of(Reason::NoGrant, SAID);
        for reason in [
            Reason::DeniedByRule,
            Reason::NoSuchDatabase,
            Reason::UserNotAllowed,
            Reason::WrongNetwork,
            Reason::OutsideHours,
            Reason::NotYetValid,
            Reason::Expired,
            Reason::ProofMissing,
            Reason::KeyBoundProofMissing,
            Reason::ClaimsNotMet,
            Reason::CertificateNotMet,
            Reason::TokenTooOldForGrant,
            Reason::TenantUnknown,
            Reason::ClaimMissing,
            Reason::ReplicationNotGranted,
            Reason::IdentityMismatch,
        ] {
            let denial = Denial::of(reason, SAID);
            assert_eq!(
                (denial.sqlstate, &denial.message),
                (first.sqlstate, &first.message),
                "{reason}"
            );
        }
    }
}
