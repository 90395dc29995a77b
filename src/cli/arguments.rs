//! Every command and option, defined once: names, help and examples.

use core::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit;

/// An identity gate for PostgreSQL: settles who is calling before a statement runs, and logs in as the role that the
/// policy grants.
#[derive(Debug, Parser)]
#[command(name = "postern", version, after_long_help = exit::HELP, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

// What each of them does stands at its arguments: clap takes a comment here for the whole description.
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(Serve),
    Check(Check),
    Explain(Explain),
    Compile(Compile),
    Verifier(Verifier),
    Enroll(Enroll),
    Token(Token),
    Providers(Providers),
    Audit(Audit),
    /// Print the version
    Version,
}

/// Run the gate in the foreground, until it is told to stop
///
/// SIGTERM and SIGINT drain: nobody new is let in, sessions may finish within the configured deadline; a second signal
/// ends them at once. SIGHUP reads policy, credentials and certificates again and reopens the record.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  postern serve --config /etc/postern/postern.toml")]
pub struct Serve {
    /// The process configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/postern/postern.toml")]
    pub config: PathBuf,
}

/// Print everything that is wrong with a policy, each fault with its place
///
/// Says nothing and ends with 0 when there is nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  postern check /etc/postern/policy\n  \
                             postern check policy/ --live --secrets /run/secrets/postern")]
pub struct Check {
    /// The policy directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Log in to every cluster as every role that a grant names and look at what the role may do
    ///
    /// Reported are roles of read-only grants that could write: superusers, members of roles that may, holders of
    /// pg_write_all_data and the like, owners of tables.
    #[arg(long)]
    pub live: bool,
    /// What relative paths of password, certificate and key files are relative to [default: DIR]
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
}

/// Say what the policy would answer to one attempt, and why, rule by rule
///
/// Ends with 1 when the answer is no. A token is judged as `postern token inspect` judges it, which tells more of the token.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    postern explain policy/ --token - --user billing --database orders --from 10.1.2.3 < token\n  \
    postern explain policy/ --cert billing.crt --user billing --database orders --from 10.1.2.3\n  \
    postern explain policy/ --answer answer.json --user carol --database orders --from 10.1.2.3\n  \
    postern explain policy/ --proof scram --user alice --database orders --from 10.1.2.3 --at 2026-03-01T03:00:00Z")]
pub struct Explain {
    /// The policy directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The client's certificate chain, PEM, leaf first
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The file with the client's token; `-` for standard input. It is never an argument itself
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
    /// The issuer's keys, a JWK Set, where the policy has a URL for them
    #[arg(long, value_name = "FILE", requires = "token", conflicts_with = "fetch")]
    pub jwks: Option<PathBuf>,
    /// Ask the issuer for its keys, over HTTPS and as the policy says
    #[arg(long, requires = "token")]
    pub fetch: bool,
    /// What the webhook answers, JSON, where the rule asks one
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub answer: Option<PathBuf>,
    /// What the client proves beside its certificate and its token
    #[arg(long, value_enum)]
    pub proof: Vec<Proof>,
    /// The user of the start-up message
    #[arg(long)]
    pub user: String,
    /// The database of the start-up message [default: the user]
    #[arg(long)]
    pub database: Option<String>,
    /// The client's address; `unix` for a Unix socket
    #[arg(long, value_name = "IP", value_parser = parse_source)]
    pub from: From,
    /// The moment, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Option<Moment>,
    /// The listener the client comes to; rules that name listeners match only with it
    #[arg(long, value_name = "NAME", default_value = "")]
    pub listener: String,
    /// The client speaks no TLS
    #[arg(long, conflicts_with = "cert")]
    pub plain: bool,
    /// The client asks for a replication connection
    #[arg(long, value_enum)]
    pub replication: Option<Replication>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    /// The password of the user's SCRAM verifier
    Scram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Replication {
    /// replication=database
    Database,
    /// replication=true
    Physical,
}

/// Where an attempt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Ip(IpAddr),
    Unix,
}

/// Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub crate::time::Utc);

/// Compile a policy into one snapshot file
///
/// Equal policies give equal files. Secrets are not in it, only the paths of their files.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  postern compile policy/ -o fleet.snapshot")]
pub struct Compile {
    /// The policy directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where to write it; replaced as a whole, so it may be the file a gate is watching
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Make a SCRAM-SHA-256 verifier, in PostgreSQL's own form, from a password on standard input
///
/// The password is read up to the first line end. It is never an argument: the list of processes is public.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  read -rs password; printf %s \"$password\" | postern verifier")]
pub struct Verifier {
    /// PBKDF2 iterations; the same for all verifiers under one authentication rule
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(4_096..=1_000_000))]
    pub iterations: u32,
}

/// Write an identity as policy text: by its certificate, its password, or both
///
/// What is written is a whole file of a policy, to be dropped into its directory. It gives no rights: a grant does. The
/// password is read from standard input, up to the first line end; it is never an argument.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    postern enroll svc:billing --certificate billing.crt --alias billing -o /etc/postern/policy/billing.toml\n  \
    read -rs password; printf %s \"$password\" | postern enroll alice --password-stdin --group people")]
pub struct Enroll {
    /// The identity's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The client's certificate, PEM (leaf first) or DER: this one certificate will prove the identity
    #[arg(long, value_name = "FILE", required_unless_present = "password_stdin")]
    pub certificate: Option<PathBuf>,
    /// Pin the certificate's public key instead, so that it may be renewed with the same key
    #[arg(long, requires = "certificate")]
    pub public_key: bool,
    /// Make a SCRAM-SHA-256 verifier from the password on standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// PBKDF2 iterations; the same for all verifiers under one authentication rule [default: 4096]
    #[arg(long, value_name = "N", requires = "password_stdin", value_parser = clap::value_parser!(u32).range(4_096..=1_000_000))]
    pub iterations: Option<u32>,
    /// Another name that the client may send as user; may be repeated
    #[arg(long = "alias", value_name = "NAME")]
    pub aliases: Vec<String>,
    /// A group that the identity is in, which the policy must define; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    pub groups: Vec<String>,
    /// Where to write it, as a whole [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// Look at a token
#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    Inspect(Inspect),
}

/// Say what the gate would say to a token: claim by claim, and with --user and --database rule by rule
///
/// The token is read from standard input or a file, never an argument: the list of processes is public. Its header and
/// claims are shown, its signature is not, so that nothing printed is a token. The policy's own keys are used; keys that a
/// provider publishes are fetched with --fetch, or given with --jwks. Without them claims and checks are shown as unproved, and
/// the end is 65; it is 1 when anything speaks against the token.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  postern token inspect policy/ --fetch < token\n  \
                             postern token inspect policy/ --token token --user alice --database app")]
pub struct Inspect {
    /// The policy directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The file with the token; `-`, or none, for standard input
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
    /// The issuer's keys, a JWK Set, where the policy has a URL for them
    #[arg(long, value_name = "FILE", conflicts_with = "fetch")]
    pub jwks: Option<PathBuf>,
    /// Ask the issuer for its keys, over HTTPS and as the policy says
    #[arg(long)]
    pub fetch: bool,
    /// The client's certificate chain, PEM, leaf first, where the token is bound to it or the rule asks for one
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The start-up user, to be told rule by rule
    #[arg(long, requires = "database")]
    pub user: Option<String>,
    /// The database
    #[arg(long, requires = "user")]
    pub database: Option<String>,
    /// The listener the client comes to; rules that name listeners match only with it
    #[arg(long, value_name = "NAME", default_value = "")]
    pub listener: String,
    /// Where the client comes from: an IP address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub from: IpAddr,
    /// At this moment instead of now
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment)]
    pub at: Option<Moment>,
}

/// Show how a running gate stands with its identity providers: age of keys, last error
///
/// Ends with 1 where a provider's keys may not be used any more, or its last try failed: a fetch of keys (those at hand
/// still serve), or a question to a webhook. A last error of a provider that is ok is one that it has recovered from.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  postern providers --config /etc/postern/postern.toml")]
pub struct Providers {
    /// The process configuration, for its admin address
    #[arg(long, value_name = "FILE", default_value = "/etc/postern/postern.toml")]
    pub config: PathBuf,
    /// The admin address itself
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<core::net::SocketAddr>,
}

/// Look at a record
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    Verify(AuditVerify),
}

/// Say whether a record is whole: torn lines, lost records, sessions without their end
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  postern audit verify /var/log/postern/audit.jsonl.1 /var/log/postern/audit.jsonl"
)]
pub struct AuditVerify {
    /// Files of one record, oldest first
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

fn parse_source(text: &str) -> Result<From, String> {
    match text {
        "unix" => Ok(From::Unix),
        text => text
            .parse()
            .map(From::Ip)
            .map_err(|_| "an IP address, or `unix`".to_owned()),
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    let moment: jiff::Timestamp = text
        .parse()
        .map_err(|error| format!("a moment like 2026-03-01T03:00:00Z: {error}"))?;
    Ok(Moment(crate::time::Utc(moment.as_microsecond())))
}
