//! What the gate may ask for while it handles one input: time, randomness, the policy in force, and the shared tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_policy::authenticate::Source;
use postern_policy::decide::Permit;
use postern_policy::model::ServerMethod;

use crate::identity::certificate;
use crate::identity::token::{KeySet, KnownIssuer, OneTime, cache};
use crate::in_force::InForce;
use crate::secret::Secret;
use crate::time::{Mono, Utc};

use super::terms::Terms;

/// Answers are immediate: nothing here waits, reads a file or resolves a name.
pub trait Surroundings {
    fn now(&self) -> Mono;
    fn utc(&self) -> Utc;
    /// The policy that decisions are made against at this moment.
    fn in_force(&self) -> Arc<InForce>;
    /// 32 bytes that stay the same over restarts: the mock salts of unknown names are made of it.
    fn gate_secret(&self) -> &[u8; 32];
    fn random(&mut self, bytes: &mut [u8]);
    /// Counts one more session of the identity under the grant; `false` when its limit is reached. Given back at the end
    /// of the session by whoever answers here.
    fn enter(&mut self, identity: &str, grant: &str, limit: Option<u32>) -> bool;
    /// Gives back at once what [`Self::enter`] counted, of an attempt that is not let in after all.
    fn leave(&mut self);
    /// Where a permit leads: the addresses to try, and the credential of the role.
    fn route(&mut self, in_force: &InForce, permit: &Permit) -> Result<Route, NoRoute>;
    /// Shows `process_id` to the client for cancels; gives the secret that goes with it.
    fn show_cancel_key(&mut self, process_id: u32) -> [u8; 32];
    /// The password of the route's credential, for the methods that need it itself.
    fn password(&self) -> Option<Secret>;
    /// The one copy of these terms.
    fn terms(&mut self, terms: Terms) -> Arc<Terms>;
    /// The keys of a token issuer that fetches them, as long as they may be used; or why there are none, in words.
    fn keys_of(&self, issuer: &KnownIssuer) -> Result<UsableKeys, Box<str>>;
    /// Tokens that were verified before.
    fn tokens(&mut self) -> &mut cache::Cache;
    /// Chains that were examined before, and are not again as long as nothing has changed for them.
    fn certificates(&mut self) -> &mut certificate::Cache;
    /// Uses up a token that counts once, for the whole process.
    fn spend(&mut self, once: &OneTime) -> Spent;
    /// Whether so many proofs from there have failed that nobody from there is asked for one now.
    fn refuses_proofs_from(&self, source: Source) -> bool;
    /// Counts a proof that failed, from there and in this name. Milliseconds that its answer waits.
    fn failed(&mut self, source: Source, name: &str) -> u64;
    /// One decision was made: what it said, and how long it took.
    fn decided(&mut self, permitted: bool, nanoseconds: u64);
}

/// An issuer's keys, and the number of that very set.
#[derive(Clone)]
pub struct UsableKeys {
    pub set: Arc<KeySet>,
    pub generation: u64,
}

/// What became of a token that counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    Fresh,
    Replayed,
    /// There is no room to remember it, so it cannot count.
    Full,
}

/// The way to one role of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// How many addresses there are to try, in order. At least one.
    pub candidates: usize,
    /// Per candidate, milliseconds.
    pub connect_timeout: u32,
    /// From the connected socket to ReadyForQuery, milliseconds.
    pub login_timeout: u32,
    /// Whether the connection is upgraded to TLS with an SSLRequest.
    pub tls: bool,
    /// TLS proves chain and name: a cleartext password may be sent.
    pub fully_verified: bool,
    /// Whether `postern.*` settings are sent.
    pub postern_settings: bool,
    /// What the server may ask for.
    pub methods: BTreeSet<ServerMethod>,
    pub has_password: bool,
}

/// Why a permit leads nowhere at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// No endpoint of the cluster has a known address.
    NoAddress,
    /// The role's secret is missing or unreadable.
    NoCredential,
}
