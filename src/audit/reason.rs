//! Why an attempt ended as it did, and how a session ended: closed lists with stable names.
//!
//! The names are part of the record's format: dashboards and alerts match on them. A name may be added, none may change.

/// Declares an enum whose every variant has one stable name, and a list of them all.
macro_rules! closed_names {
    ($(#[$of_type:meta])* $type:ident { $($(#[$of_variant:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$of_type])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $type { $($(#[$of_variant])* $variant,)+ }

        impl $type {
            /// Every one of them, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The one with this stable name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// Its place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed_names! {
    /// What became of one connection that tried to get in. Each connection is counted under exactly one.
    Outcome {
        /// Let in: there is a session now, and one end record will follow.
        Permitted = "permitted",
        /// Turned away by the gate, or because no server could be reached for it.
        Denied = "denied",
        /// The client went away, or never said enough to be judged.
        Abandoned = "abandoned",
        /// Asked only how to get a token. Never counted as a failed proof.
        Discovery = "discovery",
        /// A CancelRequest.
        Cancel = "cancel",
    }
}

closed_names! {
    /// The truth about an attempt, for the record alone: what the client hears is a coarser table of the session.
    Reason {
        /// Permitted, or a cancel that was passed on.
        Ok = "ok",

        // Before the start-up message.
        /// Closed without a single byte: a port probe or a health check.
        Probe = "probe",
        ClientClosed = "client_closed",
        StartupTimeout = "startup_timeout",
        ProtocolViolation = "protocol_violation",
        ProxyProtocolMissing = "proxy_protocol_missing",
        ProxyProtocolMalformed = "proxy_protocol_malformed",
        ProxyProtocolUntrusted = "proxy_protocol_untrusted",
        TlsHandshakeFailed = "tls_handshake_failed",

        // The start-up message.
        TlsRequired = "tls_required",
        UnsupportedProtocol = "unsupported_protocol",
        StartupMalformed = "startup_malformed",
        StartupSettingRefused = "startup_setting_refused",

        // The proof.
        NoAuthenticationRule = "no_authentication_rule",
        MethodReject = "method_reject",
        AuthenticationTimeout = "authentication_timeout",
        CertificateMissing = "certificate_missing",
        CertificateUnknown = "certificate_unknown",
        CertificateUntrusted = "certificate_untrusted",
        CertificateExpired = "certificate_expired",
        CertificateNotYetValid = "certificate_not_yet_valid",
        CertificateRevoked = "certificate_revoked",
        CertificateAmbiguous = "certificate_ambiguous",
        CertificateMalformed = "certificate_malformed",
        CertificateWrongUsage = "certificate_wrong_usage",
        CrlMissing = "crl_missing",
        CrlStale = "crl_stale",
        /// The CRL in the issuer's name is not signed by that issuer.
        CrlUnusable = "crl_unusable",
        ScramFailed = "scram_failed",
        ScramMalformed = "scram_malformed",
        /// The client could have bound the channel and said that the gate had not offered it.
        ScramBindingDowngraded = "scram_binding_downgraded",
        ScramBindingMismatch = "scram_binding_mismatch",
        IdentityUnknown = "identity_unknown",
        /// Two proofs that resolve to two identities.
        IdentityMismatch = "identity_mismatch",
        TokenMalformed = "token_malformed",
        TokenOversize = "token_oversize",
        TokenAlgorithmNotAllowed = "token_algorithm_not_allowed",
        TokenTypeNotAllowed = "token_type_not_allowed",
        TokenIssuerUnknown = "token_issuer_unknown",
        TokenUnknownKey = "token_unknown_key",
        TokenSignatureInvalid = "token_signature_invalid",
        TokenWrongAudience = "token_wrong_audience",
        TokenExpired = "token_expired",
        TokenNotYetValid = "token_not_yet_valid",
        /// Older than the provider's `max_age` allows.
        TokenTooOld = "token_too_old",
        TokenClaimMissing = "token_claim_missing",
        TokenSubjectInvalid = "token_subject_invalid",
        TokenIdMissing = "token_id_missing",
        TokenBindingUnsupported = "token_binding_unsupported",
        TokenBindingMissing = "token_binding_missing",
        TokenBindingMismatch = "token_binding_mismatch",
        TokenRevoked = "token_revoked",
        TokenReplayed = "token_replayed",
        /// The store of tokens that count once is full: nobody is let in by such a token until some run out.
        TokenReplayStoreFull = "token_replay_store_full",
        TokenTooManyClaims = "token_too_many_claims",
        /// The subject that a token or a webhook names is nobody in the policy, or more than one.
        SubjectUnknown = "subject_unknown",
        SubjectAmbiguous = "subject_ambiguous",
        /// The issuer's keys, or the webhook's answer, cannot be had.
        ProviderUnavailable = "provider_unavailable",
        OauthbearerMalformed = "oauthbearer_malformed",
        /// An empty password, where it is the proof.
        PasswordEmpty = "password_empty",
        /// The webhook said no.
        WebhookDenied = "webhook_denied",
        /// Nothing was asked: too many proofs from its network have failed.
        TooManyFailures = "too_many_failures",

        // The decision.
        NoGrant = "no_grant",
        DeniedByRule = "denied_by_rule",
        NoSuchDatabase = "no_such_database",
        UserNotAllowed = "user_not_allowed",
        WrongNetwork = "wrong_network",
        OutsideHours = "outside_hours",
        NotYetValid = "not_yet_valid",
        Expired = "expired",
        ProofMissing = "proof_missing",
        KeyBoundProofMissing = "key_bound_proof_missing",
        ClaimsNotMet = "claims_not_met",
        CertificateNotMet = "certificate_not_met",
        /// Older than the grant's `token_max_age` allows.
        TokenTooOldForGrant = "token_too_old_for_grant",
        /// No cluster is of the tenant that the token says, or it says none.
        TenantUnknown = "tenant_unknown",
        /// A setting or database of the grant is made of a claim that the proof does not have.
        ClaimMissing = "claim_missing",
        ReplicationNotGranted = "replication_not_granted",
        TooManySessions = "too_many_sessions",
        /// The policy changed between the permit and the relay, and the new one says no.
        PolicyChanged = "policy_changed",

        // The gate itself.
        OutOfPlaces = "out_of_places",
        AuditUnavailable = "audit_unavailable",
        Draining = "draining",
        /// A fault of the gate's own; the operator's log has more.
        Internal = "internal",

        // The server's side.
        UpstreamUnreachable = "upstream_unreachable",
        UpstreamTimeout = "upstream_timeout",
        UpstreamTls = "upstream_tls",
        /// The server said no; its own error is in `server_error`.
        UpstreamRefused = "upstream_refused",
        /// The gate's credential for the role is missing, unreadable, or not allowed for what the server asks.
        UpstreamCredentials = "upstream_credentials",
        UpstreamProtocol = "upstream_protocol",

        // Cancels.
        CancelNoMatch = "cancel_no_match",
        CancelRateLimited = "cancel_rate_limited",
        CancelFailed = "cancel_failed",

        /// An OAUTHBEARER client asked where to get a token.
        TokenDiscovery = "token_discovery",
    }
}

closed_names! {
    /// How a permitted attempt came to its end.
    EndReason {
        /// The client sent Terminate.
        ClientTerminate = "client_terminate",
        ClientEof = "client_eof",
        ClientReset = "client_reset",
        ServerEof = "server_eof",
        ServerReset = "server_reset",
        /// The server sent a FATAL error and closed; it is in `server_error`.
        ServerError = "server_error",
        /// A TLS record that could not be opened, or a fatal alert.
        TlsError = "tls_error",
        ProtocolViolation = "protocol_violation",
        /// The server broke the protocol.
        ServerProtocolViolation = "server_protocol_violation",
        /// The identity, the grant or what they need is gone from the policy.
        PolicyChanged = "policy_changed",
        /// The grant's validity or weekly hours ended.
        WindowEnded = "window_ended",
        /// The certificate or another proof ran out while the session lived.
        ProofExpired = "proof_expired",
        IdleLimit = "idle_limit",
        LengthLimit = "length_limit",
        /// A peer that did not take what it was owed within the deadline.
        SlowPeer = "slow_peer",
        /// SIGTERM: the session was between transactions, or the deadline had come.
        Drain = "drain",
        /// The permit's record could not be written, so the session was not let through.
        AuditUnavailable = "audit_unavailable",
        /// The client went away, or a deadline came, after the permit and before the relay.
        LoginAbandoned = "login_abandoned",
        /// There was no descriptor left for a connection to the server.
        OutOfPlaces = "out_of_places",
        UpstreamUnreachable = "upstream_unreachable",
        UpstreamTimeout = "upstream_timeout",
        UpstreamTls = "upstream_tls",
        UpstreamRefused = "upstream_refused",
        UpstreamCredentials = "upstream_credentials",
        UpstreamProtocol = "upstream_protocol",
        Internal = "internal",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::identity::certificate::CertificateRefusal;

    /// Every list at once: name -> found again, all different, `snake_case`.
    macro_rules! check_names {
        ($type:ident) => {{
            let names: BTreeSet<&str> = $type::ALL.iter().map(|one| one.as_str()).collect();
            assert_eq!(
                names.len(),
                $type::ALL.len(),
                "two of {} share a name",
                stringify!($type)
            );
            for (place, one) in $type::ALL.iter().enumerate() {
                assert_eq!(one.index(), place);
                assert_eq!($type::from_name(one.as_str()), Some(*one));
                assert!(
                    one.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                    "{one}"
                );
            }
            assert_eq!($type::from_name("nothing_of_the_kind"), None);
        }};
    }

    /// As of certificates.
    #[test]
    fn every_refusal_of_a_token_has_a_reason() {
        for refusal in crate::identity::token::TokenRefusal::ALL {
            assert!(
                Reason::from_name(crate::session::reason_name(refusal)).is_some(),
                "{}",
                refusal.as_str()
            );
        }
    }

    /// The session maps by name: a refusal without a reason of its name would be recorded as something else.
    #[test]
    fn every_refusal_of_a_certificate_has_a_reason_of_its_name() {
        for refusal in CertificateRefusal::ALL {
            assert!(Reason::from_name(refusal.as_str()).is_some(), "{}", refusal.as_str());
        }
    }

    #[test]
    fn names_are_unique_and_found_again() {
        check_names!(Outcome);
        check_names!(Reason);
        check_names!(EndReason);
    }
}
