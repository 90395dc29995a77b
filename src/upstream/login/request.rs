//! What a login is made of, and the StartupMessage that comes of it: built from the model, never from forwarded bytes.

use std::collections::BTreeSet;

use postern_policy::model::ServerMethod;

use super::error::LoginError;
use crate::identity::scram::NONCE_BYTES;
use crate::wire::initial::{MAX_LENGTH, ProtocolVersion, encode_startup};
use crate::wire::parameters::Replication;

/// One login as one role. The settings are given beside it, see [`super::Login::start`].
#[derive(Debug, Clone, Copy)]
pub struct LoginRequest<'a> {
    pub role: &'a str,
    /// Ignored for physical replication, which belongs to no database.
    pub database: &'a str,
    pub replication: Replication,
    /// What the server may ask for; anything else ends the login.
    pub methods: &'a BTreeSet<ServerMethod>,
    /// The credential has a password (or keys made from one).
    pub has_password: bool,
    pub channel: Channel<'a>,
    /// Random bytes of this login alone.
    pub nonce: [u8; NONCE_BYTES],
    /// Most SCRAM iterations a server may make us compute.
    pub max_iterations: u32,
}

/// What protects the bytes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel<'a> {
    Plain,
    Tls {
        /// Chain and name were verified (`verify-full`, or a pinned key): a cleartext password may be sent.
        fully_verified: bool,
        /// `tls-server-end-point` of the server's certificate; `None` where its signature has no hash to use.
        end_point: Option<&'a [u8]>,
        /// The server asked for a client certificate in the handshake and was given one.
        client_certificate: bool,
    },
}

/// Keys with a meaning of their own in a StartupMessage. Clients and grants are kept from them where they enter; here
/// they are refused once more, since behind this point they would choose who the session is.
const KEYS: [&str; 4] = ["user", "database", "options", "replication"];
const PROTOCOL_OPTION: &str = "_pq_.";

/// Appends the StartupMessage.
pub(super) fn encode<'a>(
    request: &LoginRequest<'a>,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<u8>,
) -> Result<(), LoginError> {
    let mut pairs = vec![("user", request.role)];
    match request.replication {
        Replication::No => pairs.push(("database", request.database)),
        Replication::Database => pairs.extend([("database", request.database), ("replication", "database")]),
        Replication::Physical => pairs.push(("replication", "true")),
    }
    for (name, value) in settings {
        check(name, value)?;
        pairs.push((name, value));
    }
    let start = out.len();
    let pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    encode_startup(out, ProtocolVersion::V3_0, pairs);
    if out.len() - start > MAX_LENGTH as usize {
        out.truncate(start);
        return Err(LoginError::StartupTooLong);
    }
    Ok(())
}

fn check(name: &str, value: &str) -> Result<(), LoginError> {
    let key = KEYS.iter().any(|key| name.eq_ignore_ascii_case(key));
    let protocol = name
        .get(..PROTOCOL_OPTION.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PROTOCOL_OPTION));
    if name.is_empty() || name.contains('\0') || value.contains('\0') || key || protocol {
        return Err(LoginError::Setting);
    }
    Ok(())
}
