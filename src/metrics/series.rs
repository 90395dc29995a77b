//! Every series: field, name, help. Names read `postern_<scope>_<noun>_<verb>_<unit>`.

use super::counter::{Counter, Family, Gauge, Label, SharedCounter, SharedFamily, SharedGauge, label};
use super::text::{Series, SeriesVisitor};
use crate::audit::{EndReason, Outcome, Reason};

/// Declares a struct of cells and how each is presented.
macro_rules! series {
    ($(#[$doc:meta])* pub struct $name:ident { $($field:ident : $type:ty = $metric:literal, $help:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $(#[doc = $help] pub $field: $type),+ }

        impl $name {
            /// Shows every series to `visitor`, in the order of declaration.
            pub(super) fn visit(&self, visitor: &mut dyn SeriesVisitor) {
                $(visitor.series($metric, $help, &self.$field as &dyn Series);)+
            }
        }
    };
}

/// The record's closed lists are labels too.
macro_rules! record_label {
    ($type:ty as $name:literal) => {
        impl Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = Self::ALL;
            fn index(self) -> usize {
                Self::index(self)
            }
            fn as_str(self) -> &'static str {
                Self::as_str(self)
            }
        }
    };
}

record_label!(Outcome as "outcome");
record_label!(Reason as "reason");
record_label!(EndReason as "reason");

label! {
    /// Which way bytes went.
    Direction as "direction" {
        ToServer = "to_server",
        ToClient = "to_client",
    }
}

label! {
    /// How a TLS handshake with a client ended.
    HandshakeResult as "result" {
        Full = "full",
        Resumed = "resumed",
        Failed = "failed",
    }
}

label! {
    /// What `decide` said.
    Decided as "decision" {
        Permit = "permit",
        Refuse = "refuse",
    }
}

label! {
    /// How one try at one endpoint of a cluster ended.
    UpstreamResult as "result" {
        Ready = "ready",
        Unreachable = "unreachable",
        TimedOut = "timed_out",
        TlsFailed = "tls_failed",
        LoginFailed = "login_failed",
    }
}

label! {
    /// What became of a cancel request.
    CancelResult as "result" {
        Forwarded = "forwarded",
        Unmatched = "unmatched",
        Limited = "limited",
        Failed = "failed",
    }
}

label! {
    /// How a reload of something ended.
    ReloadResult as "result" {
        Applied = "applied",
        Unchanged = "unchanged",
        Rejected = "rejected",
    }
}

label! {
    /// How a piece of work that may fail ended.
    WorkResult as "result" {
        Ok = "ok",
        Failed = "failed",
    }
}

series! {
    /// What one core counts. Only that core writes it.
    pub struct CoreMetrics {
        connections_accepted: Counter = "postern_connection_accepted_total", "Connections accepted.";
        accepts_failed: Counter = "postern_connection_accept_failed_total", "Accepts that the kernel refused (descriptors, memory).";
        connections_refused: Counter = "postern_connection_refused_total", "Connections turned away at the door because every place was taken.";
        sessions_open: Gauge = "postern_session_open_count", "Sessions open now.";
        attempts: Family<Outcome> = "postern_attempt_ended_total", "Attempts by how they ended.";
        reasons: Family<Reason> = "postern_attempt_reason_total", "Attempts by the reason in their record.";
        ends: Family<EndReason> = "postern_session_ended_total", "Sessions by how they ended.";
        sessions_revoked: Counter = "postern_session_revoked_total", "Living sessions ended because their permission was gone.";
        relay_bytes: Family<Direction> = "postern_relay_bytes_total", "Bytes relayed, without TLS framing.";
        relay_messages: Family<Direction> = "postern_relay_messages_total", "Messages relayed.";
        relay_copies: Counter = "postern_relay_copied_total", "Records or messages copied because they spanned two buffers.";
        tls_handshakes: Family<HandshakeResult> = "postern_tls_handshake_ended_total", "TLS handshakes with clients by result.";
        failures_refused: Counter = "postern_failures_refused_total", "Attempts refused unasked because too many proofs from their network had failed.";
        failures_delayed: Counter = "postern_failures_delayed_total", "Failed proofs whose answer was delayed because many had failed before.";
        failures_crowded: Counter = "postern_failures_crowded_total", "Failed proofs for which the table of networks was too full: theirs is only delayed, or another was forgotten early.";
        decisions: Family<Decided> = "postern_policy_decided_total", "Decisions by what they said, re-checks included.";
        policies_adopted: Counter = "postern_policy_adopted_total", "Policy swaps that a core has finished re-checking its sessions for.";
        upstream_connects: Family<UpstreamResult> = "postern_upstream_connect_ended_total", "Tries at endpoints by result.";
        cancels: Family<CancelResult> = "postern_cancel_ended_total", "Cancel requests by what became of them.";
        buffers_outstanding: Gauge = "postern_buffer_outstanding_count", "Receive buffers in use now.";
        buffers_starved: Counter = "postern_buffer_starved_total", "Receives that found no free buffer.";
        relays_paused: Counter = "postern_relay_paused_total", "Times one side was not read because the other took too little.";
        turns: Counter = "postern_turn_completed_total", "Turns of the core loop.";
        ring_overflows: Counter = "postern_ring_overflowed_total", "Times the kernel's completion queue overflowed.";
    }
}

series! {
    /// What control counts.
    pub struct ControlMetrics {
        policy_generation: SharedGauge = "postern_policy_generation_count", "Generation of the policy in force; 1 is the one of the start.";
        policy_loaded_at: SharedGauge = "postern_policy_loaded_timestamp_seconds", "When the policy in force was loaded, Unix time.";
        policy_reloads: SharedFamily<ReloadResult> = "postern_policy_reload_ended_total", "Reloads of the policy by result.";
        policies_retired: SharedGauge = "postern_policy_retired_count", "Old policies that a core may still be reading.";
        tls_reloads: SharedFamily<ReloadResult> = "postern_listener_tls_reload_ended_total", "Reloads of listener certificates by result.";
        credential_reloads: SharedFamily<ReloadResult> = "postern_credential_reload_ended_total", "Reloads of the credentials table by result; rejected: at least one role is unusable.";
        roles_unusable: SharedGauge = "postern_credential_unusable_count", "Roles whose secret is missing or unreadable.";
        one_time_tokens: SharedGauge = "postern_one_time_token_remembered_count", "Used one-time tokens that are remembered, as of the last one.";
        keys_derived: SharedFamily<WorkResult> = "postern_scram_key_derived_total", "PBKDF2 runs for logins to servers.";
        names_resolved: SharedFamily<WorkResult> = "postern_upstream_name_resolved_total", "Host name lookups by result.";
        notices_lost: SharedCounter = "postern_inbox_notice_lost_total", "Messages that a core's full inbox did not take.";
        watch_errors: SharedCounter = "postern_watch_failed_total", "Errors of the file watcher; polling goes on.";
        audit_healthy: SharedGauge = "postern_audit_healthy_count", "1 while the record can be written.";
        audit_failed: SharedCounter = "postern_audit_write_failed_total", "Writes, syncs, renames and opens of the record that failed.";
        audit_queued: SharedGauge = "postern_audit_record_queued_count", "Records waiting for the writer.";
        audit_dropped: SharedCounter = "postern_audit_record_dropped_total", "Records dropped because the writer was behind or failing.";
    }
}
