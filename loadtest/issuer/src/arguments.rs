//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use postern_issuer::Algorithm;
use serde_json::Value;

/// A small local OpenID Connect issuer. Nothing but a test or a demonstration should trust it.
#[derive(Parser)]
#[command(name = "postern-issuer", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve HTTPS until SIGTERM; prints `name=value` lines when ready
    Serve(Serve),
    /// Print a token signed by a key of the directory
    Token(Box<Token>),
    /// Make a new key: tokens are signed by it from now on, the old ones stay published
    Rotate {
        #[arg(long)]
        dir: PathBuf,
        /// That of the current key, where not given
        #[arg(long)]
        algorithm: Option<Algorithm>,
    },
    /// Publish the current key only
    Retire {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Fail from now on: none, hang, garbage, endless, close, chunked, a status, delay=MS, drip=MS; `jwks:hang` for one
    /// endpoint
    Fault {
        #[arg(long)]
        dir: PathBuf,
        #[arg(required = true)]
        faults: Vec<String>,
    },
}

#[derive(Args)]
pub struct Serve {
    /// Keys, certificate and faults; what is missing is made
    #[arg(long)]
    pub dir: PathBuf,
    /// Of HTTPS
    #[arg(long)]
    pub address: SocketAddr,
    /// Of plain HTTP with the same answers
    #[arg(long)]
    pub plain_address: Option<SocketAddr>,
    /// Stands in the URL for the address
    #[arg(long)]
    pub host: Option<String>,
    #[arg(long)]
    pub audience: String,
    /// Of the first key, where there is none yet
    #[arg(long, default_value_t = Algorithm::Rs256)]
    pub algorithm: Algorithm,
    /// May ask for tokens, with client id and subject of this name; may be repeated
    #[arg(long)]
    pub subject: Vec<String>,
    /// A client id and the subject of its tokens: ID=SUBJECT; may be repeated
    #[arg(long, value_parser = pair)]
    pub client: Vec<(String, String)>,
    /// Seconds for which a token is valid
    #[arg(long, default_value_t = 300)]
    pub lifetime: u64,
    /// What Cache-Control of the keys says, in seconds
    #[arg(long, default_value_t = 300)]
    pub max_age: u32,
}

#[derive(Args)]
pub struct Token {
    #[arg(long)]
    pub dir: PathBuf,
    #[arg(long)]
    pub subject: String,
    /// That of the server, where not given
    #[arg(long)]
    pub audience: Option<String>,
    /// That of the server, where not given
    #[arg(long)]
    pub issuer: Option<String>,
    /// Seconds; negative: it has expired
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    pub expires_in: i64,
    /// Claim `groups`
    #[arg(long, value_delimiter = ',')]
    pub groups: Vec<String>,
    /// NAME=VALUE; a value that is JSON is taken as that, anything else as text; may be repeated
    #[arg(long, value_parser = pair)]
    pub claim: Vec<(String, String)>,
    /// A claim to leave out; may be repeated
    #[arg(long)]
    pub without: Vec<String>,
    /// NAME=VALUE in the header, as for --claim
    #[arg(long, value_parser = pair)]
    pub header: Vec<(String, String)>,
    /// The key: that of this name, `current`, or `old`, the one before it
    #[arg(long, default_value = "current")]
    pub kid: String,
    /// PEM of a client certificate to bind the token to
    #[arg(long)]
    pub certificate: Option<PathBuf>,
    /// What should be wrong with it
    #[arg(long)]
    pub broken: Option<Broken>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Broken {
    /// One bit of the signature
    Signature,
    /// Signed by a key that is not published, under the name of one that is
    ForeignKey,
    /// A key name that is not published
    UnknownKid,
    /// `alg` = `none`, not signed
    Unsigned,
    /// `alg` = `HS256` with the public key for a secret
    Confused,
}

/// JSON, or text where it is none.
pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
