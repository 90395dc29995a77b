//! The configuration as types: units resolved, paths absolute, contradictions impossible.

use std::path::PathBuf;
use std::time::Duration;

use core::net::SocketAddr;

use ipnet::IpNet;

/// One valid `postern.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: Server,
    /// At least one; names and addresses are unique.
    pub listeners: Vec<Listener>,
    pub ring: Ring,
    pub audit: Audit,
    /// `None`: no metrics and no health pages.
    pub admin: Option<Admin>,
    pub failures: Failures,
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `None`: one for each CPU that the process may use. 1 to 1,024; may be more than there are CPUs.
    pub cores: Option<u16>,
    /// Whether each core's thread is pinned to a CPU.
    pub pin: bool,
    /// Sessions at once in the whole process; two places (client and server side) are reserved for each.
    pub sessions: u32,
    /// Directory of the policy.
    pub policy: PathBuf,
    /// The gate's own 32 secret bytes (salts of SCRAM mock answers). Created, mode 0600, where it is missing.
    pub secret_file: PathBuf,
    /// From accept to a complete start-up message, TLS handshake included.
    pub startup_deadline: Duration,
    /// From the start-up message to a good proof.
    pub authentication_deadline: Duration,
    /// From SIGTERM to the end of the last session.
    pub drain_deadline: Duration,
    /// Used tokens of `one_time` providers that are remembered at once.
    pub one_time_tokens: u32,
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Authentication rules match on it.
    pub name: String,
    pub address: ListenerAddress,
    pub tls: ListenerTls,
    pub proxy_protocol: ProxyProtocol,
    /// Connections that the kernel holds until they are accepted, for each core's socket.
    pub backlog: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerAddress {
    Tcp(SocketAddr),
    Unix {
        path: PathBuf,
        /// Permission bits of the socket.
        mode: u32,
    },
}

impl std::fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether clients of a listener speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerTls {
    /// SSLRequest is answered `N`, direct TLS is refused.
    Off,
    /// As the client likes.
    Allow(CertificateFiles),
    /// A start-up message in clear is refused; cancel requests are not.
    Require(CertificateFiles),
}

impl ListenerTls {
    pub fn files(&self) -> Option<&CertificateFiles> {
        match self {
            Self::Off => None,
            Self::Allow(files) | Self::Require(files) => Some(files),
        }
    }
}

/// PEM files of a listener's certificate. Read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyProtocol {
    Off,
    /// Every connection begins with a version 2 header, and comes from one of these networks. A Unix socket needs none:
    /// who may open it is trusted.
    Required {
        trusted: Vec<IpNet>,
    },
}

/// The most bytes of a `[ring]` buffer: 63 KiB. Lengths and offsets in one are 16 bits wide, room around it included.
pub const MAX_BUFFER_SIZE: u32 = 64_512;

/// `[ring]`: one ring for each core. Everything here is memory for each core, whatever the number of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Submission entries; a power of two. The completion queue has eight times as many.
    pub entries: u32,
    /// Receive buffers for everyone; a power of two.
    pub small_buffers: u16,
    /// Bytes of each.
    pub small_buffer_size: u32,
    /// Receive buffers for sessions that move much; a power of two.
    pub bulk_buffers: u16,
    /// Bytes of each.
    pub bulk_buffer_size: u32,
    pub features: RingFeatures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingFeatures {
    /// Whatever the kernel is found to have.
    All,
    /// Only what the kernel floor (6.1) has.
    Floor,
}

/// `[audit]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub file: PathBuf,
    pub on_failure: OnFailure,
    pub durability: Durability,
    /// Bytes at which a new file is begun.
    pub rotate_size: u64,
    /// Files kept beside the current one, `name.1` the newest.
    pub keep: u32,
    /// Records that wait for the writer.
    pub queue: u32,
    /// Bytes of records a second for attempts that have proven nothing; beyond it they are aggregated.
    pub pre_proof_bytes_per_second: u64,
}

/// What happens to new attempts while the record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are denied. A permit waits for the batch that has written its record.
    Deny,
    /// They go on; what is lost is counted, and the count is recorded.
    Drop,
}

/// What "written" means for a permit that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the kernel: outlives the process.
    Written,
    /// On the disk (fdatasync): outlives the machine.
    Synced,
}

/// `[admin]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address.
    pub address: SocketAddr,
    /// Whether `/metrics` is served beside `/healthz` and `/readyz`.
    pub metrics: bool,
}

/// `[failures]`: what failed proofs lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    pub enabled: bool,
    /// How long a failure counts, at least.
    pub window: Duration,
    /// Failures of a source network or a name that have no consequence.
    pub delay_after: u32,
    /// What the answer to the next one waits; doubled with each more.
    pub delay: Duration,
    /// Not less than `delay`.
    pub delay_max: Duration,
    /// Failures of a source network behind which it is refused; sixteen times as many of an IPv6 /48.
    pub refuse_after: u32,
    pub refuse_for: Duration,
    /// Networks whose failures count by name alone.
    pub exempt: Vec<IpNet>,
}

/// `[log]`: the operator's log, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
