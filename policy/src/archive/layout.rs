//! What stands in a snapshot: flat tables of fixed-size records that refer to each other by number.
//!
//! A million identities are one table of 64-byte records, so that checking the layout is a walk over memory and a decision
//! touches one cache line of it. Everything rarely read is nested where that is plainer. Field order leaves no padding in
//! the large records: equal policies give equal bytes.

use rkyv::{Archive, Serialize};

use super::codes::{
    AccessCode, CrlModeCode, MethodCode, OnExpiryCode, ReplicationCode, ServerMethodCode, TlsModeCode,
    TokenAlgorithmCode, TransportCode,
};
use super::reach::ReachIndex;
use super::table::HashTable;

/// The root of the archive.
#[derive(Archive, Serialize, Default)]
pub struct Image {
    // These two come first: behind a header of 64 bytes each of their records is one cache line.
    pub identities: Vec<IdentityRecord>,
    pub grants: Vec<GrantRecord>,
    /// Every name and text once, one behind the other; [`Text`] points into it.
    pub strings: String,
    /// Group lists of identities with more than [`INLINE_GROUPS`].
    pub identity_groups: Vec<u32>,
    pub aliases: Vec<Text>,
    /// Key lists of identities, in the order of the model.
    pub identity_keys: Vec<KeyReference>,
    pub keys: KeyTables,
    pub scram: Vec<ScramRecord>,
    /// Identity name to number.
    pub identity_index: HashTable,
    pub groups: Vec<Text>,
    /// By provider, external name and group.
    pub group_mappings: Vec<GroupMappingRecord>,
    pub revocations: Vec<RevocationRecord>,
    pub grant_details: Vec<GrantDetail>,
    pub denies: Vec<DenyRecord>,
    /// Subjects and database patterns of grants and denies, which [`Span`]s of theirs point into.
    pub subject_identities: Vec<u32>,
    pub subject_groups: Vec<u32>,
    pub patterns: Vec<PatternRecord>,
    pub grant_index: ReachIndex,
    pub deny_index: ReachIndex,
    /// Conditions on what a proof says; a grant or deny refers to one by its `proof_conditions`.
    pub proof_conditions: Vec<ProofConditionsRecord>,
    pub networks: Vec<NetworkRecord>,
    pub hours: Vec<HoursRecord>,
    pub zones: Vec<ZoneRecord>,
    pub transitions: Vec<TransitionRecord>,
    pub providers: Vec<ProviderRecord>,
    pub clusters: Vec<ClusterRecord>,
    pub authentication: Vec<RuleRecord>,
}

/// A piece of [`Image::strings`], bytes.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Text {
    pub start: u32,
    pub length: u32,
}

/// A piece of a table, elements.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub length: u32,
}

pub const INLINE_GROUPS: usize = 8;

/// One cache line.
#[derive(Archive, Serialize, Clone, Copy, Debug, Default)]
#[rkyv(attr(repr(C)))]
pub struct IdentityRecord {
    pub name: Text,
    /// The groups, ascending, or where there are more than [`INLINE_GROUPS`], first the start in `identity_groups`.
    pub groups: [u32; INLINE_GROUPS],
    pub group_count: u32,
    pub aliases: u32,
    pub alias_count: u16,
    pub key_count: u16,
    pub keys: u32,
    /// One more than the place in `scram`; zero without a verifier.
    pub scram: u32,
    /// Whether a grant names the identity itself.
    pub has_grants: u16,
    /// Whether a deny names the identity itself.
    pub has_denies: u16,
}

const _: () = assert!(size_of::<ArchivedIdentityRecord>() == 64 && size_of::<ArchivedGrantRecord>() == 64);

/// A key of an identity: which table, and where in it.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct KeyReference {
    pub kind: u32,
    pub place: u32,
}

/// Values of [`KeyReference::kind`].
pub mod key_kind {
    pub const FINGERPRINT: u32 = 0;
    pub const PUBLIC_KEY: u32 = 1;
    pub const URI: u32 = 2;
    pub const URI_PATTERN: u32 = 3;
    pub const DNS: u32 = 4;
    pub const COMMON_NAME: u32 = 5;
    pub const SUBJECT: u32 = 6;
    pub const SUBJECT_PATTERN: u32 = 7;
    pub const COUNT: usize = 8;
}

/// Every key of every identity, by kind, each kind with its index.
#[derive(Archive, Serialize, Default)]
pub struct KeyTables {
    pub fingerprints: Vec<PinRecord>,
    pub fingerprint_index: HashTable,
    pub public_keys: Vec<PinRecord>,
    pub public_key_index: HashTable,
    pub uris: Vec<NameRecord>,
    pub uri_index: HashTable,
    pub uri_patterns: Vec<NameRecord>,
    pub uri_pattern_index: HashTable,
    /// The shapes that occur among `uri_patterns`, ascending.
    pub uri_shapes: Vec<ShapeRecord>,
    pub dns: Vec<NameRecord>,
    pub dns_index: HashTable,
    pub common_names: Vec<NameRecord>,
    pub common_name_index: HashTable,
    pub subjects: Vec<NameRecord>,
    pub subject_index: HashTable,
    /// Few, and without an index: each is held against the subject.
    pub subject_patterns: Vec<NameRecord>,
}

/// Whoever the provider says is in `external` is in `group`.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct GroupMappingRecord {
    pub provider: u32,
    pub external: Text,
    pub group: u32,
}

#[derive(Archive, Serialize)]
pub struct RevocationRecord {
    pub name: Text,
    pub provider: u32,
    // Each ascending.
    pub token_ids: Vec<Text>,
    pub subjects: Vec<Text>,
    pub key_ids: Vec<Text>,
    /// Microseconds since the epoch.
    pub issued_before: Option<i64>,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct PinRecord {
    pub digest: [u8; 32],
    pub owner: u32,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct NameRecord {
    pub provider: u32,
    pub text: Text,
    pub owner: u32,
}

/// Where the `*` stand in a URI pattern: bit `i` is the `i`-th piece between slashes.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShapeRecord {
    pub pieces: u64,
    pub wildcards: u64,
}

impl ArchivedShapeRecord {
    pub fn native(&self) -> ShapeRecord {
        ShapeRecord {
            pieces: self.pieces.to_native(),
            wildcards: self.wildcards.to_native(),
        }
    }
}

#[derive(Archive, Serialize, Clone)]
pub struct ScramRecord {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

/// What a decision reads of a grant: one cache line.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
#[rkyv(attr(repr(C)))]
pub struct GrantRecord {
    pub conditions: ConditionsRecord,
    pub role: Text,
    pub name: Text,
    pub cluster: u32,
    pub access: AccessCode,
    pub replication: ReplicationCode,
    pub certificate: bool,
    pub scram: bool,
    pub key_bound: bool,
    pub token: bool,
    pub webhook: bool,
    pub spare: [u8; 1],
    /// One more than the place in `proof_conditions`; zero without any.
    pub proof_conditions: u32,
}

/// The cluster of a grant that is routed by tenant.
pub const BY_TENANT: u32 = u32::MAX;

/// What a condition wants of the proof. Every list by name.
#[derive(Archive, Serialize, Clone, Debug, Default)]
pub struct ProofConditionsRecord {
    pub claims: Vec<ClaimTestRecord>,
    pub certificate: Vec<ClaimTestRecord>,
    pub token_max_age: Option<u32>,
}

#[derive(Archive, Serialize, Clone, Debug)]
pub struct ClaimTestRecord {
    pub name: Text,
    /// One of several values is enough; otherwise there is one pattern and the claim has one value.
    pub has_one_of: bool,
    pub patterns: Vec<Text>,
}

#[derive(Archive, Serialize, Clone, Copy, Debug, Default)]
#[rkyv(attr(repr(C)))]
pub struct ConditionsRecord {
    /// Microseconds since the epoch; `i64::MIN` where the model has none.
    pub not_before: i64,
    /// Microseconds since the epoch; `i64::MAX` where the model has none.
    pub not_after: i64,
    pub networks: NetworkSpan,
    pub hours: Span,
}

/// The networks of a condition and whether Unix sockets are allowed beside them.
#[derive(Archive, Serialize, Clone, Copy, Debug, Default)]
#[rkyv(attr(repr(C)))]
pub struct NetworkSpan {
    pub start: u32,
    pub length: u16,
    pub unix: u16,
}

/// What only the permit, the upstream login and `explain` read of a grant.
#[derive(Archive, Serialize, Clone)]
pub struct GrantDetail {
    pub subjects: SubjectsRecord,
    pub databases: Span,
    pub settings: Vec<(Text, Text)>,
    /// The template of the tenant, where the grant's cluster is [`BY_TENANT`].
    pub tenant: Option<Text>,
    pub connect_database: Option<Text>,
    pub on_expiry: OnExpiryCode,
    pub expiry_notice: Option<u32>,
    pub sessions: Option<u32>,
    pub session_length: Option<u32>,
    pub idle: Option<u32>,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct SubjectsRecord {
    pub identities: Span,
    pub groups: Span,
    pub everyone: bool,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct DenyRecord {
    pub conditions: ConditionsRecord,
    pub name: Text,
    pub subjects: SubjectsRecord,
    pub databases: Span,
    /// As that of a grant.
    pub proof_conditions: u32,
}

#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternRecord {
    Exact(Text),
    Prefix(Text),
    Any,
}

#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkRecord {
    /// IPv4 in the first four bytes. As written: host bits are kept.
    pub address: [u8; 16],
    pub prefix: u8,
    /// 4 or 6.
    pub version: u8,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct HoursRecord {
    pub from: u16,
    pub to: u16,
    pub zone: u32,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct ZoneRecord {
    pub name: Text,
    pub transitions: Span,
}

/// From `at` on, the zone is `offset` ahead of UTC.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionRecord {
    /// Seconds since the epoch.
    pub at: i64,
    /// Seconds.
    pub offset: i64,
}

#[derive(Archive, Serialize)]
pub struct ProviderRecord {
    pub name: Text,
    pub kind: ProviderKind,
}

#[derive(Archive, Serialize)]
pub enum ProviderKind {
    CertificateAuthority(AuthorityRecord),
    Tokens(TokenIssuerRecord),
    Webhook(WebhookRecord),
}

#[derive(Archive, Serialize)]
pub struct TokenIssuerRecord {
    pub form: TokenFormRecord,
    pub audiences: Vec<Text>,
    pub keys: KeySourceRecord,
    pub algorithms: Vec<TokenAlgorithmCode>,
    pub types: Vec<Text>,
    pub clock_skew: u32,
    pub max_age: Option<u32>,
    pub required_claims: Vec<ClaimTestRecord>,
    pub subject_claim: Text,
    pub groups_claim: Option<Text>,
    pub one_time: bool,
    pub scope: Text,
    pub roots: Vec<Vec<u8>>,
    pub refresh: u32,
    pub keys_max_age: u32,
}

#[derive(Archive, Serialize)]
pub enum TokenFormRecord {
    Oidc { issuer: Text },
    JwtSvid { trust_domains: Vec<Text> },
}

#[derive(Archive, Serialize)]
pub enum KeySourceRecord {
    Discovery,
    Url { url: Text },
    Inline { jwks: Vec<u8> },
}

#[derive(Archive, Serialize)]
pub struct WebhookRecord {
    pub url: Text,
    pub roots: Vec<Vec<u8>>,
    pub authorization_file: Option<Text>,
    pub deadline: u32,
    pub concurrency: u32,
    pub cache_max_age: u32,
}

#[derive(Archive, Serialize)]
pub struct AuthorityRecord {
    pub roots: Vec<Vec<u8>>,
    pub crls: Vec<Vec<u8>>,
    pub crl: CrlModeCode,
    pub crl_max_age: Option<u32>,
    pub trust_domains: Vec<Text>,
}

#[derive(Archive, Serialize)]
pub struct ClusterRecord {
    pub name: Text,
    pub tenant: Option<Text>,
    pub endpoints: Vec<EndpointRecord>,
    pub tls: ServerTlsRecord,
    pub connect_timeout: u32,
    pub login_timeout: u32,
    pub postern_settings: bool,
    /// By role name, ascending.
    pub roles: Vec<RoleRecord>,
}

#[derive(Archive, Serialize)]
pub enum EndpointRecord {
    Tcp { host: Text, port: u16 },
    Unix { path: Text },
}

#[derive(Archive, Serialize)]
pub struct ServerTlsRecord {
    pub mode: TlsModeCode,
    pub roots: Vec<Vec<u8>>,
    pub server_name: Option<Text>,
    pub pinned_key: Option<[u8; 32]>,
    pub common_name: Option<Text>,
}

#[derive(Archive, Serialize)]
pub struct RoleRecord {
    pub name: Text,
    pub password_file: Option<Text>,
    pub certificate_file: Option<Text>,
    pub key_file: Option<Text>,
    pub methods: Vec<ServerMethodCode>,
}

#[derive(Archive, Serialize)]
pub struct RuleRecord {
    pub name: Text,
    pub listeners: Vec<Text>,
    pub transport: TransportCode,
    pub networks: Span,
    pub databases: Vec<PatternRecord>,
    pub users: Vec<PatternRecord>,
    pub method: MethodCode,
    pub scram_iterations: u32,
    /// Ascending.
    pub providers: Vec<u32>,
    pub discovery: Option<u32>,
    pub answer_floor: u32,
}
