//! The decision: who, proved how, from where, wants which database as whom, now. Pure; no allocation, no lock.
//!
//! Order of what may grant, first to last, and the first that grants wins:
//! 1. grants that name the identity, then those that name one of its groups, then those for everyone;
//! 2. among them exact database names, then prefixes (longer first), then `*`;
//! 3. what is left has equal effect (another tie is a fault of `check`): the smallest name.
//!
//! A deny that matches beats them all. The start-up `user` is the identity's name or an alias (any grant will do) or a role
//! (only grants of that role will); after a SCRAM proof it is the identity's name and nothing else.

use crate::archive::codes::ArchivedReplicationCode;
use crate::archive::layout::{
    ArchivedConditionsRecord, ArchivedGrantRecord, ArchivedIdentityRecord, ArchivedImage, ArchivedText, BY_TENANT,
};
use crate::archive::reach::{ArchivedReachIndex, Subject};
use crate::archive::strings::text_of;
use crate::attributes::Attributes;
use crate::authenticate::Source;
use crate::conditions::{self, Address, Miss};
use crate::id::{ClusterId, DenyId, GrantId, GroupId, IdentityId};
use crate::identity::OfSubject;
use crate::model::Limits;
use crate::snapshot::Snapshot;
use crate::template::{Part, Values, is_filled};
use crate::time::Utc;

/// What the decision is about. Everything in it was established before: only proofs that succeeded, only decoded text.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Of the snapshot that decides.
    pub identity: IdentityId,
    pub proofs: Proofs,
    /// As the issuer of the token, or the webhook, names the identity.
    pub subject: Option<&'a str>,
    /// Groups that the provider puts the identity into, beside its own.
    pub groups: &'a [GroupId],
    /// Of the token, or attributes of the webhook's answer.
    pub claims: &'a Attributes,
    /// Of the certificate that is one of the proofs.
    pub certificate: &'a Attributes,
    /// Seconds from the token's `iat` to the attempt.
    pub token_age: Option<u32>,
    pub user: &'a str,
    pub database: &'a str,
    pub source: Source,
    pub replication: Replication,
    pub now: Utc,
}

/// Proofs that resolved to the identity. Without any, nothing is granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proofs {
    pub certificate: bool,
    pub scram: bool,
    pub token: bool,
    /// The token is bound to the key of the client's certificate (RFC 8705, section 3).
    pub token_bound: bool,
    pub webhook: bool,
}

impl Proofs {
    /// Whether one of them is bound to a key that the client holds.
    pub fn key_bound(self) -> bool {
        self.certificate || (self.token && self.token_bound)
    }

    fn any(self) -> bool {
        self.certificate || self.scram || self.token || self.webhook
    }
}

/// The start-up parameter `replication`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Replication {
    #[default]
    No,
    /// `replication=database`: logical.
    Database,
    /// A walsender without a database.
    Physical,
}

/// A decision in the client's favour. Only [`Snapshot::decide`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
    identity: IdentityId,
    grant: GrantId,
    cluster: ClusterId,
    limits: Limits,
    recheck_at: Option<Utc>,
}

impl Permit {
    /// Of the snapshot that decided: ids belong to it, and a newer snapshot may decide otherwise.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn identity(&self) -> IdentityId {
        self.identity
    }

    pub fn grant(&self) -> GrantId {
        self.grant
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The earliest moment at which time alone could change the answer; until then the same facts get this very permit.
    pub fn recheck_at(&self) -> Option<Utc> {
        self.recheck_at
    }
}

/// Why not. Where several grants fail, the reason is that of the grant that came furthest: the variants stand in the order in
/// which a grant is tried, and the last one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No grant names the identity, a group of it, or everyone.
    NoGrant,
    /// Such grants exist, none for this database.
    NoSuchDatabaseGrant,
    UserNotAllowed,
    ReplicationNotGranted,
    ProofMissing,
    KeyBoundProofMissing,
    ClaimsNotMet,
    CertificateNotMet,
    TokenTooOld,
    /// No cluster is of the tenant that the token says, or it says none.
    TenantUnknown,
    WrongNetwork,
    Expired,
    NotYetValid,
    OutsideHours,
    /// Whatever the grants say; the deny of the smallest name.
    DeniedByRule(DenyId),
}

impl Refusal {
    /// The name that records and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoGrant => "no_grant",
            Self::NoSuchDatabaseGrant => "no_such_database_grant",
            Self::UserNotAllowed => "user_not_allowed",
            Self::ReplicationNotGranted => "replication_not_granted",
            Self::ProofMissing => "proof_missing",
            Self::KeyBoundProofMissing => "key_bound_proof_missing",
            Self::ClaimsNotMet => "claims_not_met",
            Self::CertificateNotMet => "certificate_not_met",
            Self::TokenTooOld => "token_too_old_for_grant",
            Self::TenantUnknown => "tenant_unknown",
            Self::WrongNetwork => "wrong_network",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::OutsideHours => "outside_hours",
            Self::DeniedByRule(_) => "denied_by_rule",
        }
    }
}

impl Refusal {
    /// Whether the very same facts might be granted later.
    fn may_pass(self) -> bool {
        match self {
            Self::NotYetValid | Self::OutsideHours => true,
            Self::NoGrant
            | Self::NoSuchDatabaseGrant
            | Self::UserNotAllowed
            | Self::ReplicationNotGranted
            | Self::ProofMissing
            | Self::KeyBoundProofMissing
            | Self::ClaimsNotMet
            | Self::CertificateNotMet
            | Self::TokenTooOld
            | Self::TenantUnknown
            | Self::WrongNetwork
            | Self::Expired
            | Self::DeniedByRule(_) => false,
        }
    }
}

impl From<Miss> for Refusal {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::ClaimsNotMet => Self::ClaimsNotMet,
            Miss::CertificateNotMet => Self::CertificateNotMet,
            Miss::TokenTooOld => Self::TokenTooOld,
            Miss::WrongNetwork => Self::WrongNetwork,
            Miss::Expired => Self::Expired,
            Miss::NotYetValid => Self::NotYetValid,
            Miss::OutsideHours => Self::OutsideHours,
        }
    }
}

impl Snapshot {
    /// The decision of this snapshot at the moment that the facts name.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Permit, Refusal> {
        let record = self.identity_record(facts.identity).ok_or(Refusal::NoGrant)?;
        let case = Case::new(self.image(), record, facts);
        let mut recheck = Earliest(None);
        case.denied(&mut recheck)?;
        let grant = case.granted(&mut recheck)?;
        let cluster = case.cluster(grant).ok_or(Refusal::TenantUnknown)?;
        let detail = self.image().grant_details.get(grant as usize).ok_or(Refusal::NoGrant)?;
        Ok(Permit {
            generation: self.generation(),
            identity: facts.identity,
            grant: GrantId(grant),
            cluster,
            limits: detail.limits(),
            recheck_at: recheck.0,
        })
    }
}

/// What an attempt fills the places of a grant with.
impl Values for Facts<'_> {
    fn value(&self, place: Part<'_>) -> Option<&str> {
        match place {
            Part::Subject => self.subject,
            Part::Claim(name) => self.claims.only(name),
            Part::Text(_) | Part::Identity | Part::ApplicationName | Part::Unknown(_) => None,
        }
    }
}

/// The earliest of the moments it was told.
struct Earliest(Option<Utc>);

impl Earliest {
    fn consider(&mut self, moment: Option<Utc>) {
        self.0 = match (self.0, moment) {
            (Some(known), Some(moment)) => Some(known.min(moment)),
            (known, moment) => known.or(moment),
        };
    }
}

/// How the start-up `user` relates to the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Itself,
    /// It can only be meant as a role.
    Role,
    Impossible,
}

/// One decision in the making; `explain` walks the same steps grant by grant.
pub(crate) struct Case<'a> {
    image: &'a ArchivedImage,
    facts: &'a Facts<'a>,
    identity: u32,
    record: &'a ArchivedIdentityRecord,
    groups: &'a [rkyv::rend::u32_le],
    address: Address,
    claim: Claim,
}

impl<'a> Case<'a> {
    pub fn new(image: &'a ArchivedImage, record: &'a ArchivedIdentityRecord, facts: &'a Facts<'a>) -> Self {
        Self {
            image,
            facts,
            identity: facts.identity.0,
            record,
            groups: image.groups_of(record).unwrap_or_default(),
            address: Address::of(facts.source),
            claim: claim(image, record, facts),
        }
    }

    /// The deny that matches, of the smallest name. Every deny that only time keeps from matching counts for the re-check.
    fn denied(&self, recheck: &mut Earliest) -> Result<(), Refusal> {
        let index = &self.image.deny_index;
        let matching = index.matching(&self.image.strings, self.facts.database);
        let mut denied: Option<u32> = None;
        for tier in Tier::ALL {
            for subject in self.subjects(tier, index, self.record.has_denies != 0) {
                for number in matching.iter().flat_map(|pattern| index.rules(subject, pattern)) {
                    let number = number.to_native();
                    match self.judge_deny(number) {
                        Ok(()) => denied = Some(denied.map_or(number, |known| known.min(number))),
                        Err(Miss::NotYetValid | Miss::OutsideHours) => recheck.consider(self.deny_changes(number)),
                        Err(
                            Miss::ClaimsNotMet
                            | Miss::CertificateNotMet
                            | Miss::TokenTooOld
                            | Miss::WrongNetwork
                            | Miss::Expired,
                        ) => {}
                    }
                }
            }
        }
        denied.map_or(Ok(()), |number| Err(Refusal::DeniedByRule(DenyId(number))))
    }

    /// The grant that comes first of those that hold. Its own end counts for the re-check, and so does the beginning of any
    /// grant before it that only time holds back.
    fn granted(&self, recheck: &mut Earliest) -> Result<u32, Refusal> {
        let index = &self.image.grant_index;
        let matching = index.matching(&self.image.strings, self.facts.database);
        let mut furthest: Option<Refusal> = None;
        for tier in Tier::ALL {
            for pattern in matching.iter() {
                let rank = self.judge_rank(tier, pattern);
                if rank.may_pass {
                    self.recheck_before(rank.first, self.grants_at(tier, pattern), recheck);
                }
                if let Some(number) = rank.first {
                    recheck.consider(self.grant_changes(number));
                    return Ok(number);
                }
                furthest = furthest.max(rank.furthest);
            }
        }
        Err(furthest.unwrap_or_else(|| self.without_a_grant_for_the_database()))
    }

    fn judge_rank(&self, tier: Tier, pattern: u32) -> Rank {
        let mut rank = Rank::default();
        for number in self.grants_at(tier, pattern) {
            match self.judge_grant(number) {
                Ok(()) => rank.first = Some(rank.first.map_or(number, |known| known.min(number))),
                Err(refusal) => {
                    rank.may_pass |= refusal.may_pass();
                    rank.furthest = rank.furthest.max(Some(refusal));
                }
            }
        }
        rank
    }

    /// Of equal rank, only those before `first` would win over it.
    fn recheck_before(&self, first: Option<u32>, grants: impl Iterator<Item = u32>, recheck: &mut Earliest) {
        for before in grants.filter(|number| first.is_none_or(|first| *number < first)) {
            if self.judge_grant(before).is_err_and(Refusal::may_pass) {
                recheck.consider(self.grant_changes(before));
            }
        }
    }

    /// Grants of one rank, in no order; one that names several groups comes as often.
    fn grants_at(&self, tier: Tier, pattern: u32) -> impl Iterator<Item = u32> {
        let index = &self.image.grant_index;
        let subjects = self.subjects(tier, index, self.record.has_grants != 0);
        subjects
            .flat_map(move |subject| index.rules(subject, pattern))
            .map(|number| number.to_native())
    }

    /// Subjects of one tier that any rule of the index names.
    fn subjects(&self, tier: Tier, index: &'a ArchivedReachIndex, itself: bool) -> impl Iterator<Item = Subject> {
        let itself = (tier == Tier::Identity && itself).then_some(Subject::Identity(self.identity));
        let everyone = (tier == Tier::Everyone && index.names_everyone()).then_some(Subject::Everyone);
        let (own, given) = match tier {
            Tier::Groups => (self.groups, self.facts.groups),
            Tier::Identity | Tier::Everyone => (&[] as &[_], &[] as &[_]),
        };
        let groups = own
            .iter()
            .map(|group| group.to_native())
            .chain(given.iter().map(|group| group.0))
            .filter(|group| index.names_group(*group));
        itself.into_iter().chain(groups.map(Subject::Group)).chain(everyone)
    }

    fn without_a_grant_for_the_database(&self) -> Refusal {
        let index = &self.image.grant_index;
        let named = Tier::ALL
            .into_iter()
            .any(|tier| self.subjects(tier, index, self.record.has_grants != 0).next().is_some());
        if named {
            Refusal::NoSuchDatabaseGrant
        } else {
            Refusal::NoGrant
        }
    }

    /// Whether a grant for this subject and database holds; if not, the first reason in the order of [`Refusal`].
    pub fn judge_grant(&self, number: u32) -> Result<(), Refusal> {
        let grant = self.image.grants.get(number as usize).ok_or(Refusal::NoGrant)?;
        if !self.user_allowed(grant) {
            return Err(Refusal::UserNotAllowed);
        }
        if !replication_granted(grant.replication, self.facts.replication) {
            return Err(Refusal::ReplicationNotGranted);
        }
        let proofs = self.facts.proofs;
        let missing = (grant.certificate && !proofs.certificate)
            || (grant.scram && !proofs.scram)
            || (grant.token && !proofs.token)
            || (grant.webhook && !proofs.webhook);
        if !proofs.any() || missing {
            return Err(Refusal::ProofMissing);
        }
        if grant.key_bound && !proofs.key_bound() {
            return Err(Refusal::KeyBoundProofMissing);
        }
        self.judge_proof(grant.proof_conditions)?;
        if self.cluster(number).is_none() {
            return Err(Refusal::TenantUnknown);
        }
        Ok(self.judge_conditions(&grant.conditions)?)
    }

    fn judge_conditions(&self, conditions: &ArchivedConditionsRecord) -> Result<(), Miss> {
        conditions::judge(self.image, conditions, self.address, self.facts.now)
    }

    fn judge_proof(&self, place: rkyv::rend::u32_le) -> Result<(), Miss> {
        if place == 0 {
            return Ok(());
        }
        // A reference that leads nowhere (there is none in a loaded snapshot) holds for nobody.
        let conditions = self.image.proof_conditions_of(place).ok().flatten();
        let conditions = conditions.ok_or(Miss::ClaimsNotMet)?;
        let facts = self.facts;
        conditions::judge_proof(self.image, conditions, facts.claims, facts.certificate, facts.token_age)
    }

    /// Where a grant leads: the cluster that it names, or that of the tenant. Clusters are few.
    pub fn cluster(&self, number: u32) -> Option<ClusterId> {
        let grant = self.image.grants.get(number as usize)?;
        let named = grant.cluster.to_native();
        if named != BY_TENANT {
            return Some(ClusterId(named));
        }
        let template = self.image.grant_details.get(number as usize)?.tenant.as_ref()?;
        let template = text_of(&self.image.strings, template);
        let is_of_tenant = |cluster: &crate::archive::layout::ArchivedClusterRecord| {
            let tenant = cluster
                .tenant
                .as_ref()
                .map(|tenant| text_of(&self.image.strings, tenant));
            tenant.is_some_and(|tenant| is_filled(template, self.facts, tenant))
        };
        let found = self.image.clusters.iter().position(is_of_tenant)?;
        Some(ClusterId(found as u32))
    }

    /// Whether the conditions of a deny for this subject and database hold.
    pub fn judge_deny(&self, number: u32) -> Result<(), Miss> {
        let deny = self.image.denies.get(number as usize).ok_or(Miss::Expired)?;
        self.judge_proof(deny.proof_conditions)?;
        self.judge_conditions(&deny.conditions)
    }

    fn user_allowed(&self, grant: &ArchivedGrantRecord) -> bool {
        match self.claim {
            Claim::Itself => true,
            Claim::Role => text_of(&self.image.strings, &grant.role) == self.facts.user,
            Claim::Impossible => false,
        }
    }

    fn grant_changes(&self, number: u32) -> Option<Utc> {
        let grant = self.image.grants.get(number as usize)?;
        conditions::next_change(self.image, &grant.conditions, self.facts.now)
    }

    fn deny_changes(&self, number: u32) -> Option<Utc> {
        let deny = self.image.denies.get(number as usize)?;
        conditions::next_change(self.image, &deny.conditions, self.facts.now)
    }
}

fn claim(image: &ArchivedImage, record: &ArchivedIdentityRecord, facts: &Facts<'_>) -> Claim {
    let is_user = |text: &ArchivedText| {
        let text = text_of(&image.strings, text);
        text == facts.user && !text.contains('{')
            || text.contains('{') && is_filled(text, &OfSubject(facts.subject), facts.user)
    };
    if is_user(&record.name) {
        return Claim::Itself;
    }
    if facts.proofs.scram {
        return Claim::Impossible;
    }
    let aliases = image.aliases_of(record).unwrap_or_default();
    if aliases.iter().any(is_user) {
        Claim::Itself
    } else {
        Claim::Role
    }
}

fn replication_granted(right: ArchivedReplicationCode, wanted: Replication) -> bool {
    match (wanted, right) {
        (Replication::No, _)
        | (Replication::Database, ArchivedReplicationCode::Database | ArchivedReplicationCode::Physical)
        | (Replication::Physical, ArchivedReplicationCode::Physical) => true,
        (Replication::Database, ArchivedReplicationCode::No)
        | (Replication::Physical, ArchivedReplicationCode::No | ArchivedReplicationCode::Database) => false,
    }
}

/// What the grants of one rank come to.
#[derive(Default)]
struct Rank {
    /// Of those that hold, the one of the smallest name.
    first: Option<u32>,
    /// Of those that do not, the one that came furthest.
    furthest: Option<Refusal>,
    /// Whether one of those that do not might later, by time alone.
    may_pass: bool,
}

/// What kind of subject a grant names: the first key of the order in which grants win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    Identity,
    Groups,
    Everyone,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Identity, Self::Groups, Self::Everyone];
}
