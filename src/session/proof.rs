//! From the StartupMessage to the proof: which rule holds, what it asks for, and who was found.

use postern_policy::authenticate::Arrival;
use postern_policy::decide::{Facts, Permit, Proofs, Refusal, Replication};
use postern_policy::id::IdentityId;
use postern_policy::model::{Access, Method};
use postern_policy::view::GrantView;

use crate::audit::{Name, Outcome, Reason, ScramProof};
use crate::identity::certificate::{self, CertificateRefusal};
use crate::identity::scram::NONCE_BYTES;
use crate::identity::scram::server::{self, Against, Binding, ExpectClientFinal, Verified};
use crate::in_force::InForce;
use crate::time::Utc;
use crate::wire::authentication::{self, SaslInitialResponse};
use crate::wire::initial::{ProtocolVersion, StartupMessage};
use crate::wire::parameters::{self, ParameterFault, StartupParameters, same_setting};
use crate::wire::sqlstate::SqlState;

use super::denial::{Denial, Said};
use super::entry::{Entry, Permitted, name};
use super::gate::Gate;
use super::order::Order;
use super::standing::{Standing, earliest};
use super::surroundings::{NoRoute, Surroundings};
use super::terms::Terms;

/// What the client claims, and the authentication rule that says how to prove it.
pub(super) struct Claim {
    pub parameters: StartupParameters,
    pub spoken: ProtocolVersion,
    method: Method,
    scram_iterations: u32,
    host: String,
    tls: bool,
}

/// AuthenticationSASL is sent.
pub(super) struct SaslInitial {
    claim: Claim,
    /// Named already, by a response without data; only the client's first message is awaited.
    mechanism: Option<Vec<u8>>,
}

/// The server's first SCRAM message is sent.
pub(super) struct SaslFinal {
    claim: Claim,
    /// Whether the name has a verifier. The conversation is the same either way; only the record tells.
    known: bool,
    conversation: ExpectClientFinal,
}

/// A SCRAM proof that was good, and the last message of its conversation, still owed to the client.
pub(super) struct ScramProven {
    pub verified: Verified,
    pub server_final: Vec<u8>,
}

impl Claim {
    /// Reads the StartupMessage and finds the rule. A certificate that the rule asks for is judged at once.
    pub fn new(gate: &mut Gate, around: &dyn Surroundings, message: &StartupMessage<'_>) -> Result<Self, Denial> {
        let parameters = StartupParameters::decode(message).map_err(|error| Denial {
            hint: error.hint(),
            ..Denial::new(fault_reason(&error), error.sqlstate(), error.to_string())
        })?;
        gate.draft.asked(&parameters);
        let in_force = around.in_force();
        gate.draft.policy(&in_force);
        let tls = gate.tls.is_some();
        let arrival = Arrival {
            listener: &gate.entrance.listener,
            tls,
            source: gate.entrance.source(),
            database: parameters.database(),
            user: parameters.user(),
        };
        let host = gate.said_host();
        let said = Said {
            user: parameters.user(),
            database: parameters.database(),
            host: &host,
            tls,
        };
        let Some(rule) = in_force.snapshot.authentication_rule(&arrival) else {
            return Err(Denial::of(Reason::NoAuthenticationRule, said));
        };
        gate.draft.fill().rule = Some(Name::from(rule.name));
        let (method, scram_iterations) = (rule.method, rule.scram_iterations);
        let claim = Self {
            spoken: message.version.spoken(),
            method,
            scram_iterations,
            tls,
            host: host.clone(),
            parameters,
        };
        match method {
            Method::Reject => Err(claim.denial(Reason::MethodReject)),
            Method::Certificate | Method::CertificateAndScram => {
                claim.judge_certificate(gate, &in_force, around.utc()).map(drop)?;
                Ok(claim)
            }
            Method::ScramSha256 => Ok(claim),
        }
    }

    pub fn needs_scram(&self) -> bool {
        matches!(self.method, Method::ScramSha256 | Method::CertificateAndScram)
    }

    fn needs_certificate(&self) -> bool {
        matches!(self.method, Method::Certificate | Method::CertificateAndScram)
    }

    /// Offers the mechanisms: PLUS only under TLS, and only where the certificate sent can be bound to.
    pub fn ask_for_scram(self, gate: &mut Gate) -> Result<SaslInitial, Denial> {
        let mechanisms = server::mechanisms(binding(gate));
        authentication::encode_sasl(&mut gate.to_client, mechanisms);
        Ok(SaslInitial {
            claim: self,
            mechanism: None,
        })
    }

    pub fn said(&self) -> Said<'_> {
        Said {
            user: self.parameters.user(),
            database: self.parameters.database(),
            host: &self.host,
            tls: self.tls,
        }
    }

    pub fn denial(&self, reason: Reason) -> Denial {
        Denial::of(reason, self.said())
    }

    fn judge_certificate(&self, gate: &Gate, in_force: &InForce, utc: Utc) -> Result<certificate::Judged, Denial> {
        let chain = gate.tls.as_ref().map(|tls| &*tls.chain).unwrap_or_default();
        if chain.is_empty() {
            return Err(self.denial(Reason::CertificateMissing));
        }
        certificate::judge(&in_force.snapshot, &in_force.trust, chain, utc)
            .map_err(|refusal| self.denial(certificate_reason(refusal)))
    }

    /// Resolves every proof on the policy in force now, decides, counts the session, and starts towards the server.
    pub fn decide(
        self,
        gate: &mut Gate,
        around: &mut dyn Surroundings,
        scram: Option<ScramProven>,
    ) -> Result<Entry, Denial> {
        let in_force = around.in_force();
        let utc = around.utc();
        let started = around.now();
        gate.draft.policy(&in_force);
        let found = self.resolve(gate, &in_force, utc, scram.as_ref())?;
        let permit = self.permit(gate, &in_force, utc, &found);
        let took = around.now().0.saturating_sub(started.0);
        around.decided(permit.is_ok(), took);
        gate.draft.micros().decision = Some(took / 1_000);
        let permit = permit?;
        let snapshot = &in_force.snapshot;
        let (Some(grant), Some(cluster)) = (snapshot.grant(permit.grant()), snapshot.cluster(permit.cluster())) else {
            return Err(self.denial(Reason::Internal));
        };
        self.check_settings(grant)?;
        let route = around
            .route(&in_force, &permit)
            .map_err(|nowhere| self.denial(route_reason(nowhere)))?;
        let identity = snapshot.identity_name(permit.identity());
        if !around.enter(identity, grant.name(), permit.limits().sessions) {
            return Err(self.denial(Reason::TooManySessions));
        }
        let settings = self.settings(grant, identity, route.postern_settings);
        let terms = around.terms(Terms {
            identity: name(identity),
            grant: name(grant.name()),
            role: name(grant.role()),
            cluster: name(cluster.name()),
            user: name(self.parameters.user()),
            database: name(self.parameters.database()),
            limits: permit.limits(),
        });
        let standing = Standing {
            session: gate.entrance.session,
            terms,
            source: gate.entrance.source(),
            proofs: found.proofs,
            replication: self.replication(),
            chain: gate
                .tls
                .as_mut()
                .filter(|_| found.proofs.certificate)
                .map(|tls| Box::new(std::mem::take(&mut tls.chain))),
            generation: permit.generation(),
            recheck_at: earliest(found.recheck_at, permit.recheck_at()),
        };
        let attempt = gate
            .draft
            .finish(utc, around.now(), Outcome::Permitted, Reason::Ok, None);
        gate.orders.push_back(Order::RecordAttempt { attempt, tell: true });
        Ok(Entry::start(
            Permitted {
                claim: self,
                standing,
                in_force,
                permit,
                route,
                settings,
                scram,
            },
            gate,
            around,
        ))
    }

    fn resolve(
        &self,
        gate: &mut Gate,
        in_force: &InForce,
        utc: Utc,
        scram: Option<&ScramProven>,
    ) -> Result<Found, Denial> {
        let snapshot = &in_force.snapshot;
        let by_scram = match scram {
            Some(_) => {
                let identity = snapshot.identity_by_name(self.parameters.user());
                Some(identity.ok_or_else(|| self.denial(Reason::IdentityUnknown))?)
            }
            None => None,
        };
        let judged = if self.needs_certificate() {
            Some(self.judge_certificate(gate, in_force, utc)?)
        } else {
            None
        };
        let by_certificate = judged.as_ref().map(certificate::Judged::identity);
        let record = gate.draft.fill();
        record.proofs.certificate = by_certificate.is_some();
        record.proofs.scram = scram.map(|proven| match proven.verified.channel_bound() {
            true => ScramProof::Plus,
            false => ScramProof::Plain,
        });
        let identity = match (by_scram, by_certificate) {
            (Some(one), Some(other)) if one != other => return Err(self.denial(Reason::IdentityMismatch)),
            (Some(identity), _) | (None, Some(identity)) => identity,
            (None, None) => return Err(self.denial(Reason::IdentityUnknown)),
        };
        record.identity = Some(Name::from(snapshot.identity_name(identity)));
        let proofs = Proofs {
            certificate: by_certificate.is_some(),
            scram: by_scram.is_some(),
        };
        Ok(Found {
            identity,
            proofs,
            recheck_at: judged.map(|judged| judged.recheck_at()),
        })
    }

    fn permit(&self, gate: &mut Gate, in_force: &InForce, utc: Utc, found: &Found) -> Result<Permit, Denial> {
        let snapshot = &in_force.snapshot;
        let facts = Facts {
            identity: found.identity,
            proofs: found.proofs,
            user: self.parameters.user(),
            database: self.parameters.database(),
            source: gate.entrance.source(),
            replication: self.replication(),
            now: utc,
        };
        let record = gate.draft.fill();
        match snapshot.decide(&facts) {
            Ok(permit) => {
                record.grant = snapshot.grant(permit.grant()).map(|grant| Name::from(grant.name()));
                record.role = snapshot.grant(permit.grant()).map(|grant| Name::from(grant.role()));
                record.cluster = snapshot
                    .cluster(permit.cluster())
                    .map(|cluster| Name::from(cluster.name()));
                Ok(permit)
            }
            Err(refusal) => {
                if let Refusal::DeniedByRule(deny) = refusal {
                    record.deny = snapshot.deny_name(deny).map(Name::from);
                }
                Err(self.denial(refusal_reason(refusal)))
            }
        }
    }

    fn replication(&self) -> Replication {
        match self.parameters.replication() {
            parameters::Replication::No => Replication::No,
            parameters::Replication::Database => Replication::Database,
            parameters::Replication::Physical => Replication::Physical,
        }
    }

    /// A setting that the grant fixes is the policy's to choose: a client that sends it is refused, not overridden.
    fn check_settings(&self, grant: GrantView<'_>) -> Result<(), Denial> {
        for setting in self.parameters.settings() {
            if grant.settings().any(|(fixed, _)| same_setting(fixed, &setting.name)) {
                let message = format!("permission denied to set parameter \"{}\"", setting.name);
                return Err(Denial::new(
                    Reason::StartupSettingRefused,
                    SqlState::InsufficientPrivilege,
                    message,
                ));
            }
        }
        Ok(())
    }

    /// What the server is told at start-up: the client's own settings, then what the grant fixes, then who it is.
    fn settings(&self, grant: GrantView<'_>, identity: &str, postern_settings: bool) -> Vec<(String, String)> {
        let own = self
            .parameters
            .settings()
            .iter()
            .map(|setting| (setting.name.clone(), setting.value.clone()));
        let fixed = grant
            .settings()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut settings: Vec<_> = own.chain(fixed).collect();
        if grant.access() == Access::ReadOnly {
            settings.push(("default_transaction_read_only".into(), "on".into()));
        }
        if postern_settings {
            settings.push(("postern.identity".into(), identity.into()));
        }
        settings
    }
}

struct Found {
    identity: IdentityId,
    proofs: Proofs,
    recheck_at: Option<Utc>,
}

impl SaslInitial {
    /// Takes the mechanism and, unless it comes in a message of its own, the client's first message.
    pub fn answer(self, gate: &mut Gate, around: &mut dyn Surroundings, body: &[u8]) -> Result<SaslStep, Denial> {
        let Self { claim, mechanism } = self;
        if let Some(mechanism) = mechanism {
            return claim.begin_scram(gate, around, &mechanism, body).map(SaslStep::Final);
        }
        let response = SaslInitialResponse::decode(body)
            .map_err(|error| Denial::protocol(format!("invalid SASLInitialResponse message: {error}")))?;
        match response.data {
            Some(data) => claim
                .begin_scram(gate, around, response.mechanism, data)
                .map(SaslStep::Final),
            None => {
                authentication::encode_sasl_continue(&mut gate.to_client, &[]);
                Ok(SaslStep::Initial(Self {
                    claim,
                    mechanism: Some(response.mechanism.to_vec()),
                }))
            }
        }
    }
}

/// What SASL awaits next.
pub(super) enum SaslStep {
    Initial(SaslInitial),
    Final(SaslFinal),
}

impl Claim {
    /// Copies the verifier, or a mock's, and answers with the server's first message.
    fn begin_scram(
        self,
        gate: &mut Gate,
        around: &mut dyn Surroundings,
        mechanism: &[u8],
        client_first: &[u8],
    ) -> Result<SaslFinal, Denial> {
        let in_force = around.in_force();
        let snapshot = &in_force.snapshot;
        let name = self.parameters.user();
        let stored = snapshot
            .identity_by_name(name)
            .and_then(|identity| snapshot.scram_verifier(identity));
        let known = stored.is_some();
        let against = Against::of(stored, name, around.gate_secret(), self.scram_iterations);
        let mut nonce = [0; NONCE_BYTES];
        around.random(&mut nonce);
        let mut answer = Vec::new();
        let begun = server::begin(mechanism, client_first, against, binding(gate), nonce, &mut answer);
        let conversation = begun.map_err(|error| Denial::scram(&error, known, self.said()))?;
        authentication::encode_sasl_continue(&mut gate.to_client, &answer);
        Ok(SaslFinal {
            claim: self,
            known,
            conversation,
        })
    }
}

impl SaslFinal {
    pub fn judge(self, _gate: &mut Gate, body: &[u8]) -> Result<(Claim, ScramProven), Denial> {
        let Self {
            claim,
            known,
            conversation,
        } = self;
        let mut server_final = Vec::new();
        match conversation.finish(body, &mut server_final) {
            Ok(verified) => Ok((claim, ScramProven { verified, server_final })),
            Err(error) => Err(Denial::scram(&error, known, claim.said())),
        }
    }
}

fn binding(gate: &Gate) -> Binding<'_> {
    match gate.tls.as_ref().and_then(|tls| tls.end_point.as_deref()) {
        Some(end_point) => Binding::Offered { end_point },
        None => Binding::None,
    }
}

fn certificate_reason(refusal: CertificateRefusal) -> Reason {
    Reason::from_name(refusal.as_str()).unwrap_or(Reason::CertificateUntrusted)
}

fn refusal_reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::NoGrant => Reason::NoGrant,
        Refusal::DeniedByRule(_) => Reason::DeniedByRule,
        Refusal::NoSuchDatabaseGrant => Reason::NoSuchDatabase,
        Refusal::UserNotAllowed => Reason::UserNotAllowed,
        Refusal::WrongNetwork => Reason::WrongNetwork,
        Refusal::OutsideHours => Reason::OutsideHours,
        Refusal::NotYetValid => Reason::NotYetValid,
        Refusal::Expired => Reason::Expired,
        Refusal::ProofMissing => Reason::ProofMissing,
        Refusal::KeyBoundProofMissing => Reason::KeyBoundProofMissing,
        Refusal::ReplicationNotGranted => Reason::ReplicationNotGranted,
    }
}

fn route_reason(nowhere: NoRoute) -> Reason {
    match nowhere {
        NoRoute::NoAddress => Reason::UpstreamUnreachable,
        NoRoute::NoCredential => Reason::UpstreamCredentials,
    }
}

fn fault_reason(fault: &ParameterFault) -> Reason {
    match fault {
        ParameterFault::Guarded { .. } => Reason::StartupSettingRefused,
        ParameterFault::Layout
        | ParameterFault::NoUser
        | ParameterFault::NotUtf8
        | ParameterFault::Duplicate { .. }
        | ParameterFault::NameTooLong { .. }
        | ParameterFault::Replication { .. }
        | ParameterFault::Argument { .. }
        | ParameterFault::NoValue { .. }
        | ParameterFault::Unrecognized { .. }
        | ParameterFault::TooManySettings => Reason::StartupMalformed,
    }
}
