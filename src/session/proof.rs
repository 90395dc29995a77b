//! From the StartupMessage to the permit: which rule holds, what it asks for, and who was found. `scram`, `token` and
//! `webhook` have the conversations between.

use postern_policy::attributes::NONE;
use postern_policy::authenticate::Arrival;
use postern_policy::decide::{Facts, Permit, Proofs, Refusal, Replication};
use postern_policy::id::{GroupId, IdentityId};
use postern_policy::model::{Access, Asked, Method};
use postern_policy::template::{Part, Values, render};
use postern_policy::view::GrantView;

use crate::audit::{Name, Outcome, Reason, ScramProof, TokenProof};
use crate::identity::certificate::{self, CertificateRefusal, fingerprint};
use crate::identity::token::OneTime;
use crate::in_force::InForce;
use crate::time::Utc;
use crate::wire::initial::{ProtocolVersion, StartupMessage};
use crate::wire::parameters::{self, ParameterFault, StartupParameters, same_setting};
use crate::wire::sqlstate::SqlState;

use super::assertion::{Assertion, Meaning};
use super::denial::{Denial, Said};
use super::entry::{Entry, Permitted, name};
use super::gate::Gate;
use super::order::Order;
use super::scram::ScramProven;
use super::standing::{Evidence, Standing, Told, earliest};
use super::surroundings::{NoRoute, Spent, Surroundings};
use super::terms::{self, Terms};

/// What the client claims, and the authentication rule that says how to prove it.
pub(super) struct Claim {
    pub parameters: StartupParameters,
    pub spoken: ProtocolVersion,
    /// The policy of which the rule is.
    generation: u64,
    method: Method,
    pub(super) scram_iterations: u32,
    /// Providers whose word counts, by name; none: any issuer's.
    providers: Vec<Name>,
    /// Where OAUTHBEARER sends clients: discovery document and scope.
    pub(super) discovery: Option<(String, String)>,
    host: String,
    tls: bool,
}

/// What the client has shown beside a certificate.
pub(super) enum Shown {
    Nothing,
    Scram(ScramProven),
    Provider(Assertion),
}

impl Claim {
    /// Reads the StartupMessage and finds the rule. A certificate that the rule asks for is judged at once.
    pub fn new(gate: &mut Gate, around: &mut dyn Surroundings, message: &StartupMessage<'_>) -> Result<Self, Denial> {
        let parameters = StartupParameters::decode(message).map_err(|error| Denial {
            hint: error.hint(),
            ..Denial::new(fault_reason(&error), error.sqlstate(), error.to_string())
        })?;
        gate.draft.asked(&parameters);
        let in_force = around.in_force();
        gate.draft.policy(&in_force);
        let tls = gate.tls.is_some();
        let arrival = arrival(gate, &parameters);
        let host = gate.said_host();
        let said = Said {
            user: parameters.user(),
            database: parameters.database(),
            host: &host,
            tls,
            asked: Asked::Nothing,
        };
        let snapshot = &in_force.snapshot;
        let Some(rule) = snapshot.authentication_rule(&arrival) else {
            return Err(Denial::of(Reason::NoAuthenticationRule, said));
        };
        gate.draft.fill().rule = Some(Name::from(rule.name));
        let provider = |id| snapshot.provider_name(id).map(Name::from);
        let discovery = rule.discovery.and_then(|id| {
            let rules = &in_force.issuers.by_id(id)?.rules;
            Some((rules.challenge_url()?, rules.scope.clone()))
        });
        let claim = Self {
            generation: snapshot.generation(),
            spoken: message.version.spoken(),
            method: rule.method,
            scram_iterations: rule.scram_iterations,
            providers: rule.providers().filter_map(provider).collect(),
            discovery,
            tls,
            host: host.clone(),
            parameters,
        };
        claim.check_source(gate, around)?;
        gate.set_answer_floor(around.now(), rule.answer_floor);
        if claim.method == Method::Reject {
            return Err(claim.denial(Reason::MethodReject));
        }
        // No listener, and no rule, may have a token or a password sent in clear.
        if claim.method.needs_tls() && !claim.tls {
            return Err(claim.denial(Reason::TlsRequired));
        }
        if claim.method.uses_certificates() {
            claim.judge_certificate(gate, around, &in_force).map(drop)?;
        }
        Ok(claim)
    }

    /// Whether so many proofs from there have failed that nobody from there is heard.
    pub(super) fn check_source(&self, gate: &Gate, around: &dyn Surroundings) -> Result<(), Denial> {
        match around.refuses_proofs_from(gate.entrance.source()) {
            true => Err(self.denial(Reason::TooManyFailures)),
            false => Ok(()),
        }
    }

    /// What the rule asks for beside a certificate.
    pub fn asks(&self) -> Asked {
        self.method.asks()
    }

    /// Whether the word of this provider counts under the rule.
    pub fn takes(&self, provider: &str) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|named| **named == *provider)
    }

    /// The one provider that the rule names.
    pub fn provider(&self) -> Option<&Name> {
        self.providers.first()
    }

    pub fn said(&self) -> Said<'_> {
        Said {
            user: self.parameters.user(),
            database: self.parameters.database(),
            host: &self.host,
            tls: self.tls,
            asked: self.asks(),
        }
    }

    pub fn denial(&self, reason: Reason) -> Denial {
        Denial::of(reason, self.said())
    }

    fn judge_certificate(
        &self,
        gate: &Gate,
        around: &mut dyn Surroundings,
        in_force: &InForce,
    ) -> Result<certificate::Judged, Denial> {
        let chain = gate.tls.as_ref().map(|tls| &*tls.chain).unwrap_or_default();
        if chain.is_empty() {
            return Err(self.denial(Reason::CertificateMissing));
        }
        let now = around.utc();
        let known = around.certificates();
        certificate::judge(&in_force.snapshot, &in_force.trust, known, chain, now)
            .map_err(|refusal| self.denial(certificate_reason(refusal)))
    }

    /// Resolves every proof on the policy in force now, decides, counts the session, and starts towards the server.
    pub fn decide(self, gate: &mut Gate, around: &mut dyn Surroundings, shown: Shown) -> Result<Entry, Denial> {
        let in_force = around.in_force();
        let utc = around.utc();
        let started = around.now();
        gate.draft.policy(&in_force);
        self.check_rule(gate, &in_force, &shown)?;
        let found = self.resolve(gate, around, &in_force, &shown)?;
        let facts = self.facts(gate, &found, &shown, utc);
        let permit = self.permit(gate, &in_force, &facts);
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
        let fill = Fill {
            facts: &facts,
            identity: &found.name,
            application_name: self.parameters.application_name().unwrap_or_default(),
        };
        let settings = self.settings(grant, &fill, route.postern_settings)?;
        let server_database = self.server_database(grant, &fill)?;
        if !around.enter(&found.name, grant.name(), permit.limits().sessions) {
            return Err(self.denial(Reason::TooManySessions));
        }
        if let Err(denial) = self.spend(around, found.once.as_ref()) {
            // The answer may wait for seconds, and is no session meanwhile: or else whoever has a used token could keep its
            // owner out.
            around.leave();
            return Err(denial);
        }
        let terms = around.terms(Terms {
            identity: name(&found.name),
            grant: name(grant.name()),
            role: name(grant.role()),
            cluster: name(cluster.name()),
            user: name(self.parameters.user()),
            database: name(self.parameters.database()),
            server_database: name(&server_database),
            access: grant.access(),
            settings: terms::settings(&grant),
            limits: permit.limits(),
            on_expiry: grant.on_expiry(),
            expiry_notice: grant.expiry_notice(),
        });
        let (scram, assertion) = match shown {
            Shown::Nothing => (None, None),
            Shown::Scram(proven) => (Some(proven), None),
            Shown::Provider(assertion) => (None, Some(assertion)),
        };
        let standing = Standing {
            session: gate.entrance.session,
            terms,
            source: gate.entrance.source(),
            proofs: found.proofs,
            replication: self.replication(),
            evidence: evidence(gate, &found, assertion),
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

    /// Where the policy is another one than when the proof was asked for, the rule of now has to ask for the same.
    fn check_rule(&self, gate: &mut Gate, in_force: &InForce, shown: &Shown) -> Result<(), Denial> {
        let snapshot = &in_force.snapshot;
        if self.generation == snapshot.generation() {
            return Ok(());
        }
        let changed = || self.denial(Reason::PolicyChanged);
        let arrival = arrival(gate, &self.parameters);
        let rule = snapshot.authentication_rule(&arrival).ok_or_else(changed)?;
        let taken = match shown {
            Shown::Nothing | Shown::Scram(_) => true,
            Shown::Provider(assertion) => snapshot
                .provider_named(assertion.provider())
                .is_some_and(|provider| rule.takes(provider)),
        };
        gate.draft.fill().rule = Some(Name::from(rule.name));
        match rule.method == self.method && taken {
            true => Ok(()),
            false => Err(changed()),
        }
    }

    /// The one identity that every proof stands for.
    fn resolve(
        &self,
        gate: &mut Gate,
        around: &mut dyn Surroundings,
        in_force: &InForce,
        shown: &Shown,
    ) -> Result<Found, Denial> {
        let snapshot = &in_force.snapshot;
        let judged = match self.method.uses_certificates() {
            true => Some(self.judge_certificate(gate, around, in_force)?),
            false => None,
        };
        let meaning = match shown {
            Shown::Provider(assertion) => Some(self.judge_assertion(gate, in_force, assertion)?),
            Shown::Nothing | Shown::Scram(_) => None,
        };
        let by_other = match shown {
            Shown::Nothing => None,
            Shown::Scram(_) => {
                let identity = snapshot.identity_by_name(self.parameters.user());
                Some(identity.ok_or_else(|| self.denial(Reason::IdentityUnknown))?)
            }
            Shown::Provider(_) => meaning.as_ref().map(|meaning| meaning.identity),
        };
        let by_certificate = judged.as_ref().map(certificate::Judged::identity);
        let proofs = proofs(by_certificate.is_some(), shown, meaning.as_ref());
        record_proofs(gate, proofs, shown);
        let identity = match (by_other, by_certificate) {
            (Some(one), Some(other)) if one != other => return Err(self.denial(Reason::IdentityMismatch)),
            (Some(identity), _) | (None, Some(identity)) => identity,
            (None, None) => return Err(self.denial(Reason::IdentityUnknown)),
        };
        let subject = meaning.as_ref().map(|meaning| meaning.subject.clone());
        let name = snapshot.identity_name_for(identity, subject.as_deref());
        gate.draft.fill().identity = Some(Name::from(name.as_str()));
        let certificate_end = judged.as_ref().map(certificate::Judged::expires);
        Ok(Found {
            identity,
            name,
            subject,
            proofs,
            ends: earliest(certificate_end, meaning.as_ref().and_then(|meaning| meaning.ends)),
            token_age: meaning.as_ref().and_then(|meaning| meaning.token_age),
            groups: meaning
                .as_ref()
                .map(|meaning| meaning.groups.clone())
                .unwrap_or_default(),
            once: meaning.and_then(|meaning| meaning.once),
            recheck_at: judged.as_ref().map(certificate::Judged::recheck_at),
            certificate: judged,
        })
    }

    fn judge_assertion(&self, gate: &mut Gate, in_force: &InForce, assertion: &Assertion) -> Result<Meaning, Denial> {
        gate.draft.fill().assertion = Some(Box::new(assertion.record(in_force)));
        assertion.judge(in_force).map_err(|reason| self.denial(reason))
    }

    fn facts<'a>(&'a self, gate: &Gate, found: &'a Found, shown: &'a Shown, utc: Utc) -> Facts<'a> {
        Facts {
            identity: found.identity,
            proofs: found.proofs,
            subject: found.subject.as_deref(),
            groups: &found.groups,
            claims: match shown {
                Shown::Provider(assertion) => assertion.claims(),
                Shown::Nothing | Shown::Scram(_) => &NONE,
            },
            certificate: found.certificate.as_ref().map_or(&NONE, |judged| judged.attributes()),
            token_age: found.token_age,
            user: self.parameters.user(),
            database: self.parameters.database(),
            source: gate.entrance.source(),
            replication: self.replication(),
            now: utc,
        }
    }

    fn permit(&self, gate: &mut Gate, in_force: &InForce, facts: &Facts<'_>) -> Result<Permit, Denial> {
        let snapshot = &in_force.snapshot;
        let record = gate.draft.fill();
        match snapshot.decide(facts) {
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

    /// A token that counts once is used up here, for all cores at once.
    fn spend(&self, around: &mut dyn Surroundings, once: Option<&OneTime>) -> Result<(), Denial> {
        match once.map(|once| around.spend(once)) {
            None | Some(Spent::Fresh) => Ok(()),
            Some(Spent::Replayed) => Err(self.denial(Reason::TokenReplayed)),
            Some(Spent::Full) => Err(self.denial(Reason::TokenReplayStoreFull)),
        }
    }

    fn replication(&self) -> Replication {
        match self.parameters.replication() {
            parameters::Replication::No => Replication::No,
            parameters::Replication::Database => Replication::Database,
            parameters::Replication::Physical => Replication::Physical,
        }
    }

    /// A setting that the grant fixes is the policy's to choose: a client that sends it is refused, not overridden. Every
    /// driver sends `application_name`, so that one is replaced.
    fn check_settings(&self, grant: GrantView<'_>) -> Result<(), Denial> {
        for setting in self.parameters.settings() {
            let replaced = same_setting(&setting.name, APPLICATION_NAME);
            if !replaced && grant.settings().any(|(fixed, _)| same_setting(fixed, &setting.name)) {
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
    fn settings(
        &self,
        grant: GrantView<'_>,
        fill: &Fill<'_>,
        postern_settings: bool,
    ) -> Result<Vec<(String, String)>, Denial> {
        let fixes_name = grant.settings().any(|(name, _)| name == APPLICATION_NAME);
        let own = self.parameters.settings().iter();
        let own = own.filter(|setting| !(fixes_name && same_setting(&setting.name, APPLICATION_NAME)));
        let mut settings: Vec<_> = own
            .map(|setting| (setting.name.clone(), setting.value.clone()))
            .collect();
        let sent = |name: &str| postern_settings || !name.starts_with("postern.");
        for (name, value) in grant.settings().filter(|(name, _)| sent(name)) {
            settings.push((name.to_owned(), self.filled(value, fill)?));
        }
        if grant.access() == Access::ReadOnly {
            settings.push(("default_transaction_read_only".into(), "on".into()));
        }
        if postern_settings {
            settings.push(("postern.identity".into(), fill.identity.into()));
        }
        Ok(settings)
    }

    fn server_database(&self, grant: GrantView<'_>, fill: &Fill<'_>) -> Result<String, Denial> {
        match grant.connect_database() {
            None => Ok(self.parameters.database().to_owned()),
            Some(template) => {
                let database = self.filled(template, fill)?;
                // As a client could not ask for such a name, a token cannot.
                match parameters::is_name(&database) {
                    true => Ok(database),
                    false => Err(self.denial(Reason::TenantUnknown)),
                }
            }
        }
    }

    fn filled(&self, template: &str, fill: &Fill<'_>) -> Result<String, Denial> {
        let text = render(template, fill).map_err(|_| self.denial(Reason::ClaimMissing))?;
        match text.contains('\0') {
            true => Err(self.denial(Reason::ClaimMissing)),
            false => Ok(text),
        }
    }
}

fn arrival<'a>(gate: &'a Gate, parameters: &'a StartupParameters) -> Arrival<'a> {
    Arrival {
        listener: &gate.entrance.listener,
        tls: gate.tls.is_some(),
        source: gate.entrance.source(),
        database: parameters.database(),
        user: parameters.user(),
    }
}

const APPLICATION_NAME: &str = "application_name";

/// What the places in a grant's settings are filled with.
struct Fill<'a> {
    facts: &'a Facts<'a>,
    identity: &'a str,
    application_name: &'a str,
}

impl Values for Fill<'_> {
    fn value(&self, place: Part<'_>) -> Option<&str> {
        match place {
            Part::Identity => Some(self.identity),
            Part::ApplicationName => Some(self.application_name),
            Part::Text(_) | Part::Subject | Part::Claim(_) | Part::Unknown(_) => self.facts.value(place),
        }
    }
}

/// Who was found, and what of the proofs the decision looks at.
struct Found {
    identity: IdentityId,
    /// The identity's, with the subject in it where it is made of that.
    name: String,
    subject: Option<Box<str>>,
    groups: Vec<GroupId>,
    proofs: Proofs,
    token_age: Option<u32>,
    once: Option<OneTime>,
    certificate: Option<certificate::Judged>,
    /// The end of the proof that ends first.
    ends: Option<Utc>,
    recheck_at: Option<Utc>,
}

/// What the session keeps to be judged again.
fn evidence(gate: &mut Gate, found: &Found, assertion: Option<Assertion>) -> Option<Box<Evidence>> {
    if !found.proofs.certificate && assertion.is_none() {
        return None;
    }
    let chain = match &mut gate.tls {
        Some(tls) if found.proofs.certificate => std::mem::take(&mut tls.chain),
        Some(_) | None => Vec::new(),
    };
    Some(Box::new(Evidence {
        chain,
        assertion,
        ends: found.ends,
        certificate_ends: found.certificate.as_ref().map(certificate::Judged::expires),
        told: Told::default(),
    }))
}

fn proofs(certificate: bool, shown: &Shown, meaning: Option<&Meaning>) -> Proofs {
    let token = matches!(shown, Shown::Provider(assertion) if assertion.is_token());
    Proofs {
        certificate,
        scram: matches!(shown, Shown::Scram(_)),
        token,
        token_bound: token && meaning.is_some_and(|meaning| meaning.key_bound),
        webhook: matches!(shown, Shown::Provider(assertion) if !assertion.is_token()),
    }
}

fn record_proofs(gate: &mut Gate, proofs: Proofs, shown: &Shown) {
    let record = &mut gate.draft.fill().proofs;
    record.certificate = proofs.certificate;
    record.webhook = proofs.webhook;
    record.token = proofs.token.then_some(match proofs.token_bound {
        true => TokenProof::Bound,
        false => TokenProof::Bearer,
    });
    record.scram = match shown {
        Shown::Scram(proven) => Some(match proven.verified.channel_bound() {
            true => ScramProof::Plus,
            false => ScramProof::Plain,
        }),
        Shown::Nothing | Shown::Provider(_) => None,
    };
}

/// SHA-256 of the certificate that the client has shown, whether or not the rule asks for one.
pub(super) fn shown_certificate(gate: &Gate) -> Option<[u8; 32]> {
    let leaf = gate.tls.as_ref()?.chain.first()?;
    Some(fingerprint(leaf))
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
        Refusal::ClaimsNotMet => Reason::ClaimsNotMet,
        Refusal::CertificateNotMet => Reason::CertificateNotMet,
        Refusal::TokenTooOld => Reason::TokenTooOldForGrant,
        Refusal::TenantUnknown => Reason::TenantUnknown,
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
