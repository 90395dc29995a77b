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
use crate::archive::layout::{ArchivedGrantRecord, ArchivedIdentityRecord, ArchivedImage, ArchivedText};
use crate::archive::reach::{ArchivedReachIndex, Subject};
use crate::archive::strings::text_of;
use crate::authenticate::Source;
use crate::conditions::{self, Address, Miss};
use crate::id::{ClusterId, DenyId, GrantId, IdentityId};
use crate::model::Limits;
use crate::snapshot::Snapshot;
use crate::time::Utc;

/// What the decision is about. Everything in it was established before: only proofs that succeeded, only decoded text.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Of the snapshot that decides.
    pub identity: IdentityId,
    pub proofs: Proofs,
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
}

impl Proofs {
    /// Whether one of them is bound to a key that the client holds.
    pub fn key_bound(self) -> bool {
        self.certificate
    }

    fn any(self) -> bool {
        self.certificate || self.scram
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
            | Self::WrongNetwork
            | Self::Expired
            | Self::DeniedByRule(_) => false,
        }
    }
}

impl From<Miss> for Refusal {
    fn from(miss: Miss) -> Self {
        match miss {
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
        self.permit(facts.identity, grant, recheck.0).ok_or(Refusal::NoGrant)
    }

    fn permit(&self, identity: IdentityId, grant: u32, recheck_at: Option<Utc>) -> Option<Permit> {
        let image = self.image();
        let record = image.grants.get(grant as usize)?;
        let detail = image.grant_details.get(grant as usize)?;
        Some(Permit {
            generation: self.generation(),
            identity,
            grant: GrantId(grant),
            cluster: ClusterId(record.cluster.to_native()),
            limits: detail.limits(),
            recheck_at,
        })
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
                        Err(Miss::WrongNetwork | Miss::Expired) => {}
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
        let groups = if tier == Tier::Groups { self.groups } else { &[] };
        let groups = groups
            .iter()
            .map(|group| group.to_native())
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
        if !proofs.any() || (grant.certificate && !proofs.certificate) || (grant.scram && !proofs.scram) {
            return Err(Refusal::ProofMissing);
        }
        if grant.key_bound && !proofs.key_bound() {
            return Err(Refusal::KeyBoundProofMissing);
        }
        Ok(conditions::judge(
            self.image,
            &grant.conditions,
            self.address,
            self.facts.now,
        )?)
    }

    /// Whether the conditions of a deny for this subject and database hold.
    pub fn judge_deny(&self, number: u32) -> Result<(), Miss> {
        let deny = self.image.denies.get(number as usize).ok_or(Miss::Expired)?;
        conditions::judge(self.image, &deny.conditions, self.address, self.facts.now)
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
    let is_user = |text: &ArchivedText| text_of(&image.strings, text) == facts.user;
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
