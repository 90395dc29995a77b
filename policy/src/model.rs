//! The policy as people mean it: what the text says once every name is resolved and every value is typed.
//!
//! `text` makes a [`Model`] out of TOML and refuses anything it cannot understand; `compile` turns a [`Model`] into the
//! bytes of a snapshot. Nothing here knows about either form. Every map is ordered, so equal policies compile to equal bytes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::template::Template;
use crate::time::Utc;

/// One whole policy. Default is deny: an empty model lets nobody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub providers: BTreeMap<String, Provider>,
    pub identities: BTreeMap<String, Identity>,
    pub groups: BTreeSet<String>,
    pub group_mappings: BTreeSet<GroupMapping>,
    pub revocations: BTreeMap<String, Revocation>,
    pub clusters: BTreeMap<String, Cluster>,
    pub grants: BTreeMap<String, Grant>,
    pub denies: BTreeMap<String, Deny>,
    /// Ordered: the first match names the method, as in `pg_hba.conf`.
    pub authentication: Vec<AuthenticationRule>,
}

/// An issuer of proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    CertificateAuthority(CertificateAuthority),
    Tokens(TokenIssuer),
    Webhook(Webhook),
}

impl Provider {
    /// SPIFFE trust domains that it may speak for.
    pub fn trust_domains(&self) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        match self {
            Self::CertificateAuthority(authority) => &authority.trust_domains,
            Self::Tokens(issuer) => match &issuer.form {
                TokenForm::JwtSvid { trust_domains } => trust_domains,
                TokenForm::Oidc { .. } => &NONE,
            },
            Self::Webhook(_) => &NONE,
        }
    }
}

/// Whoever a provider says is in its group `external` is in `group` of the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupMapping {
    pub provider: String,
    pub external: String,
    pub group: String,
}

/// Tokens of one provider that no longer count, whatever their own `exp` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    pub provider: String,
    /// Values of `jti`.
    pub token_ids: BTreeSet<String>,
    pub subjects: BTreeSet<String>,
    /// Values of `kid`: everything that was signed with these keys.
    pub key_ids: BTreeSet<String>,
    /// Only what was issued before this moment. With neither subjects nor others: everything of the provider.
    pub issued_before: Option<Utc>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// Trust anchors, DER.
    pub roots: Vec<Vec<u8>>,
    /// Certificate revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
    pub crl: CrlMode,
    /// Seconds after `thisUpdate` at which a CRL counts as stale, whatever its own `nextUpdate` says.
    pub crl_max_age: Option<u32>,
    /// SPIFFE trust domains that this provider may speak for. Empty: it may assert no SPIFFE ID.
    pub trust_domains: BTreeSet<String>,
}

/// What a missing or stale CRL means for certificates of this provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrlMode {
    /// No CRL is looked at unless one is configured; a stale one still counts for what it revokes.
    #[default]
    Optional,
    /// No fresh CRL covering the issuer: the certificate is denied.
    Required,
}

/// An issuer of tokens: signed JWTs (RFC 7519) of an OpenID Connect provider, or JWT-SVIDs of a SPIFFE trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    pub form: TokenForm,
    /// One of them must be in `aud`. Never empty.
    pub audiences: BTreeSet<String>,
    pub keys: KeySource,
    pub algorithms: BTreeSet<TokenAlgorithm>,
    /// Values of the header's `typ` that are accepted, compared without regard to case and without a leading
    /// `application/` (RFC 7515, 4.1.9). Empty: any, or none.
    pub types: BTreeSet<String>,
    /// Seconds by which our clock and the issuer's may differ.
    pub clock_skew: u32,
    /// Seconds after `iat` beyond which a token is too old, whatever `exp` says.
    pub max_age: Option<u32>,
    /// By path of the claim.
    pub required_claims: BTreeMap<String, ClaimTest>,
    /// Path of the claim that names the subject.
    pub subject_claim: String,
    /// Path of the claim that lists the groups.
    pub groups_claim: Option<String>,
    /// A token is let in once: it must have a `jti`.
    pub one_time: bool,
    /// What OAUTHBEARER tells a client to ask for (RFC 6749, 3.3).
    pub scope: String,
    /// Trust anchors for HTTPS, DER. Empty: those of the system.
    pub roots: Vec<Vec<u8>>,
    /// Seconds between two fetches of the keys where the provider does not say.
    pub refresh: u32,
    /// Seconds for which keys are used after the last fetch that succeeded.
    pub keys_max_age: u32,
}

impl TokenIssuer {
    /// The discovery document of an OpenID Connect issuer (OpenID Connect Discovery 1.0, section 4).
    pub fn discovery_url(&self) -> Option<String> {
        match &self.form {
            TokenForm::Oidc { issuer } => {
                let base = issuer.strip_suffix('/').unwrap_or(issuer);
                Some(format!("{base}/.well-known/openid-configuration"))
            }
            TokenForm::JwtSvid { .. } => None,
        }
    }

    /// The same as the challenge of OAUTHBEARER has it: behind the issuer as it is written, which is what PostgreSQL says, and
    /// what libpq takes off again to compare the rest with its `oauth_issuer`.
    pub fn challenge_url(&self) -> Option<String> {
        match &self.form {
            TokenForm::Oidc { issuer } => Some(format!("{issuer}/.well-known/openid-configuration")),
            TokenForm::JwtSvid { .. } => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenForm {
    /// `iss` is this URL, exactly.
    Oidc { issuer: String },
    /// The subject is a SPIFFE ID of one of these trust domains; there need be no `iss`.
    JwtSvid { trust_domains: BTreeSet<String> },
}

/// Where the keys of a token issuer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `jwks_uri` of the issuer's `/.well-known/openid-configuration`.
    Discovery,
    /// A JWK Set (RFC 7517) at an `https` URL.
    Url(String),
    /// A JWK Set that stood in a file of the policy. Public keys only.
    Inline(Vec<u8>),
}

/// Signature algorithms of tokens (RFC 7518, RFC 8037). `none` and HMAC are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TokenAlgorithm {
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

/// What a claim must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimTest {
    /// It has one value, and that matches.
    Is(Glob),
    /// At least one of its values matches at least one of these.
    HasOneOf(Vec<Glob>),
}

/// A text in which each `*` stands for any characters or none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(pub String);

/// Somebody who is asked about each attempt: an HTTPS endpoint that answers with an identity or with a no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: String,
    /// Trust anchors for HTTPS, DER. Empty: those of the system.
    pub roots: Vec<Vec<u8>>,
    /// Path of a file with the value of the request's `Authorization` header.
    pub authorization_file: Option<String>,
    /// For one question, milliseconds, waiting for a turn included.
    pub deadline: u32,
    /// Questions under way at once.
    pub concurrency: u32,
    /// Seconds that an answer is kept at most, whatever it states.
    pub cache_max_age: u32,
}

/// A service or a person with a stable name (the map's key, `svc:billing`, `user:alice@corp`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Other names a client may put in the start-up `user`.
    pub aliases: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    /// Any one of them proves the identity.
    pub keys: Vec<IdentityKey>,
    pub scram: Option<ScramVerifier>,
}

/// What in a proof is bound to an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKey {
    /// SHA-256 of the whole certificate (DER). Needs no provider: the pin is the trust.
    Fingerprint([u8; 32]),
    /// SHA-256 of the SubjectPublicKeyInfo (DER). Needs no provider.
    PublicKey([u8; 32]),
    /// SAN URI, or the SPIFFE ID of a JWT-SVID; may hold `*` for exactly one path segment each.
    Uri { provider: String, pattern: String },
    /// SAN DNS name, compared without regard to case; never a wildcard.
    Dns { provider: String, name: String },
    /// The one CN of the subject.
    CommonName { provider: String, name: String },
    /// The subject of a token, or of a webhook's answer; may hold one `*` for any characters or none.
    Subject { provider: String, pattern: String },
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, decoded. Lets nobody log in by itself, but an offline
/// guess can be tried against it: never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramVerifier {{ iterations: {}, .. }}", self.iterations)
    }
}

/// Endpoints that hold the same data, and the credentials of its roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub tenant: Option<String>,
    /// Tried in order.
    pub endpoints: Vec<Endpoint>,
    pub tls: ServerTls,
    /// Per endpoint, milliseconds.
    pub connect_timeout: u32,
    /// From the connected socket to ReadyForQuery, milliseconds.
    pub login_timeout: u32,
    /// Whether `postern.*` settings are sent at start-up (poolers in between may refuse unknown settings).
    pub postern_settings: bool,
    pub roles: BTreeMap<String, RoleCredential>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A host name or an address, and a port.
    Tcp { host: String, port: u16 },
    /// The path of the socket itself (`/run/postgresql/.s.PGSQL.5432`).
    Unix { path: String },
}

/// As libpq's `sslmode`, without the modes that may silently fall back to clear text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerTls {
    pub mode: ServerTlsMode,
    /// Trust anchors, DER. Needed by `verify-ca` and `verify-full` unless the key is pinned.
    pub roots: Vec<Vec<u8>>,
    /// The name to verify when it is not the endpoint's host.
    pub server_name: Option<String>,
    /// SHA-256 of the server's SubjectPublicKeyInfo: trusted by itself (X.509 v1 and self-signed servers).
    pub pinned_key: Option<[u8; 32]>,
    /// Accept this CN where the certificate has no subject alternative name.
    pub common_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTlsMode {
    Disable,
    Require,
    VerifyCa,
    #[default]
    VerifyFull,
}

/// How the gate logs in as one role of a cluster. Secrets stand in files; the policy has only their paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleCredential {
    pub password_file: Option<String>,
    /// PEM chain and PKCS#8 key for TLS client authentication.
    pub certificate_file: Option<String>,
    pub key_file: Option<String>,
    /// What the server may ask for. SCRAM alone by default.
    pub methods: BTreeSet<ServerMethod>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ServerMethod {
    Trust = 0,
    Password = 1,
    Md5 = 2,
    ScramSha256 = 3,
    /// AuthenticationOk without a challenge because the TLS client certificate was enough.
    Certificate = 4,
}

/// Who may reach which database as which role, under which conditions and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    pub subjects: Subjects,
    pub databases: Vec<NamePattern>,
    pub cluster: ClusterChoice,
    /// The database to open at the server, where it is not the one that the client asked for.
    pub connect_database: Option<Template>,
    pub role: String,
    pub access: Access,
    pub conditions: Conditions,
    pub proofs: RequiredProofs,
    pub replication: ReplicationRight,
    pub limits: Limits,
    pub on_expiry: OnExpiry,
    /// Seconds before the end of the proof at which the client gets a NOTICE; `None`: it gets none.
    pub expiry_notice: Option<u32>,
    /// Start-up settings the grant fixes; a client that sends one of them is refused, but for `application_name`, which is
    /// replaced.
    pub settings: BTreeMap<String, Template>,
}

/// Where a grant leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterChoice {
    Named(String),
    /// The cluster of the tenant that this says.
    ByTenant(Template),
}

impl Default for ClusterChoice {
    fn default() -> Self {
        Self::Named(String::new())
    }
}

impl ClusterChoice {
    pub fn named(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::ByTenant(_) => None,
        }
    }
}

/// What becomes of a session when the certificate or token that it was let in by ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExpiry {
    /// Nothing, and no notice.
    Ignore,
    /// It goes on until it wants to begin another transaction.
    RefuseNew,
    /// It ends as soon as no transaction is open.
    FinishTransaction,
    /// It ends at once.
    #[default]
    Terminate,
}

/// Beats every grant it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deny {
    pub subjects: Subjects,
    /// Empty: every database.
    pub databases: Vec<NamePattern>,
    pub conditions: Conditions,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subjects {
    pub identities: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    /// Every identity the policy knows. Only where it is written `everyone = true`.
    pub everyone: bool,
}

/// A name, a prefix (`app_*`) or everything (`*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamePattern {
    Exact(String),
    Prefix(String),
    Any,
}

/// As the text writes it.
impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NamePattern::Exact(name) => write!(f, "{name}"),
            NamePattern::Prefix(prefix) => write!(f, "{prefix}*"),
            NamePattern::Any => write!(f, "*"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Sets `default_transaction_read_only`, a guard; the role is the boundary.
    ReadOnly,
    #[default]
    ReadWrite,
}

/// All of them must hold; an empty one always does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Source networks. With neither `networks` nor `unix` every source matches; otherwise a TCP peer must be in one of
    /// the networks and a Unix-socket peer needs `unix`. So `unix` alone means: Unix sockets only.
    pub networks: Vec<IpNet>,
    pub unix: bool,
    pub not_before: Option<Utc>,
    pub not_after: Option<Utc>,
    pub hours: Vec<WeeklyHours>,
    /// By path of the claim (or name of the webhook's attribute). What has no claims holds none of them.
    pub claims: BTreeMap<String, ClaimTest>,
    /// By one of [`CERTIFICATE_ATTRIBUTES`], of the certificate that is one of the proofs.
    pub certificate: BTreeMap<String, ClaimTest>,
    /// Seconds since the token's `iat`, at most.
    pub token_max_age: Option<u32>,
}

/// What of a certificate a condition may look at: its SAN URIs and DNS names, and parts of its subject's and issuer's names.
pub const CERTIFICATE_ATTRIBUTES: [&str; 6] = [
    "uri",
    "dns",
    "common_name",
    "organization",
    "organizational_unit",
    "issuer_common_name",
];

/// Open from `from` (inclusive) to `to` (exclusive), minutes since Monday 00:00 in `zone`; never empty, never wraps
/// (the text may wrap; it becomes two of these).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeeklyHours {
    pub from: u16,
    pub to: u16,
    /// IANA name; `UTC` by default.
    pub zone: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequiredProofs {
    pub certificate: bool,
    pub scram: bool,
    pub token: bool,
    pub webhook: bool,
    /// At least one proof is bound to a key (a client certificate, a certificate-bound token).
    pub key_bound: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicationRight {
    #[default]
    No,
    /// `replication=database` only.
    Database,
    /// Physical, and with it `database`.
    Physical,
}

/// `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Sessions at once of one identity under this grant, over all cores.
    pub sessions: Option<u32>,
    /// Seconds.
    pub session_length: Option<u32>,
    /// Seconds without a byte in either direction.
    pub idle: Option<u32>,
}

/// As a line of `pg_hba.conf`. It sees the text of database and user and never whether anything exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthenticationRule {
    pub name: String,
    /// Empty: every listener.
    pub listeners: BTreeSet<String>,
    pub transport: Transport,
    pub networks: Vec<IpNet>,
    /// Empty: every database.
    pub databases: Vec<NamePattern>,
    /// Empty: every user.
    pub users: Vec<NamePattern>,
    pub method: Method,
    /// PBKDF2 iterations that a mock answer shows; every verifier reachable under the rule has the same (a fault of `check` otherwise).
    pub scram_iterations: u32,
    /// Whose tokens (or which webhook's answers) count. Empty: those of every token issuer.
    pub providers: BTreeSet<String>,
    /// The token issuer that OAUTHBEARER sends clients to.
    pub discovery: Option<String>,
    /// Milliseconds from the StartupMessage before which no refusal is told, whatever its reason.
    pub answer_floor: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// As `host`: TCP with or without TLS, and Unix sockets.
    #[default]
    Any,
    /// As `hostssl`.
    Tls,
    /// As `hostnossl`.
    Plain,
    /// As `local`.
    Unix,
}

/// How a client has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Method {
    Certificate = 0,
    ScramSha256 = 1,
    /// Both proofs, and both must resolve to one identity, here as below.
    CertificateAndScram = 2,
    #[default]
    Reject = 3,
    /// A token as the password, under TLS only.
    Token = 4,
    CertificateAndToken = 5,
    /// A token by SASL OAUTHBEARER (RFC 7628), under TLS only.
    OauthBearer = 6,
    CertificateAndOauthBearer = 7,
    /// A password that a webhook judges, under TLS only.
    Webhook = 8,
    CertificateAndWebhook = 9,
}

/// What a method asks for beside a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Scram,
    /// AuthenticationCleartextPassword, and the password is a token.
    TokenAsPassword,
    OauthBearer,
    /// AuthenticationCleartextPassword, and a webhook judges it.
    PasswordForWebhook,
}

impl Method {
    pub fn uses_certificates(self) -> bool {
        match self {
            Method::Certificate
            | Method::CertificateAndScram
            | Method::CertificateAndToken
            | Method::CertificateAndOauthBearer
            | Method::CertificateAndWebhook => true,
            Method::ScramSha256 | Method::Reject | Method::Token | Method::OauthBearer | Method::Webhook => false,
        }
    }

    pub fn asks(self) -> Asked {
        match self {
            Method::Certificate | Method::Reject => Asked::Nothing,
            Method::ScramSha256 | Method::CertificateAndScram => Asked::Scram,
            Method::Token | Method::CertificateAndToken => Asked::TokenAsPassword,
            Method::OauthBearer | Method::CertificateAndOauthBearer => Asked::OauthBearer,
            Method::Webhook | Method::CertificateAndWebhook => Asked::PasswordForWebhook,
        }
    }

    pub fn uses_scram(self) -> bool {
        self.asks() == Asked::Scram
    }

    pub fn uses_tokens(self) -> bool {
        matches!(self.asks(), Asked::TokenAsPassword | Asked::OauthBearer)
    }

    pub fn uses_webhook(self) -> bool {
        self.asks() == Asked::PasswordForWebhook
    }

    /// Whether what the client sends is fit for TLS only.
    pub fn needs_tls(self) -> bool {
        self.uses_certificates() || self.uses_tokens() || self.uses_webhook()
    }
}
