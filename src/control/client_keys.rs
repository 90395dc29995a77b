//! SCRAM client keys of one credential, remembered per salt: PBKDF2 runs once, not once a login.
//!
//! The derivation itself runs on control's workers ([`Derivations`]). However many sessions wait for the same keys, it
//! runs once and all of them are told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::credentials::Credential;
use super::messages::{Cores, Notice};
use crate::audit::Ticket;
use crate::identity::scram::{Keys, derive};
use crate::metrics::{ControlMetrics, WorkResult};

/// Salts remembered for one credential. A primary and its replicas share one; a server that rotates it makes the oldest go.
const MAX_SALTS: usize = 4;

/// Keys by salt and iteration count. Reading neither blocks nor allocates.
#[derive(Default)]
pub struct ClientKeys(ArcSwap<Vec<Known>>);

/// One derivation's result.
#[derive(Clone)]
pub(super) struct Known {
    pub salt: Box<[u8]>,
    pub iterations: u32,
    pub keys: Arc<Keys>,
}

/// Why no keys came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeriveFault {
    #[error("the role has no password")]
    NoPassword,
}

impl ClientKeys {
    pub fn find(&self, salt: &[u8], iterations: u32) -> Option<Arc<Keys>> {
        let known = self.0.load();
        known
            .iter()
            .find(|known| known.iterations == iterations && *known.salt == *salt)
            .map(|found| found.keys.clone())
    }

    pub(super) fn remember(&self, known: &Known) {
        self.0.rcu(|all| {
            let kept = all.len().min(MAX_SALTS - 1);
            let mut fresh = Vec::with_capacity(MAX_SALTS);
            fresh.push(known.clone());
            fresh.extend(all.iter().take(kept).cloned());
            fresh
        });
    }
}

/// The derivations under way. Shared by the workers that run them.
pub struct Derivations {
    waiting: Mutex<HashMap<Wanted, Vec<Ticket>>>,
}

/// One derivation: credential version, salt, iterations.
type Wanted = (u64, Box<[u8]>, u32);

impl Derivations {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }

    /// Derives the keys, or joins a derivation already under way; tells whoever waited. Milliseconds of CPU.
    pub fn run(
        &self,
        credential: &Credential,
        salt: Box<[u8]>,
        iterations: u32,
        ticket: Ticket,
        cores: &Cores,
        metrics: &ControlMetrics,
    ) {
        if let Some(keys) = credential.client_keys(&salt, iterations) {
            cores.tell(ticket.core, Notice::ClientKeys { ticket, keys: Ok(keys) });
            return;
        }
        let wanted = (credential.version(), salt, iterations);
        if !self.is_first(&wanted, ticket) {
            return;
        }
        let keys = known_or_derived(credential, &wanted.1, iterations, metrics);
        for ticket in self.finish(&wanted) {
            cores.tell(
                ticket.core,
                Notice::ClientKeys {
                    ticket,
                    keys: keys.clone(),
                },
            );
        }
    }

    /// Joins those who wait for `wanted`; true for the one who has to do the work.
    fn is_first(&self, wanted: &Wanted, ticket: Ticket) -> bool {
        let mut waiting = self.lock();
        if let Some(others) = waiting.get_mut(wanted) {
            others.push(ticket);
            return false;
        }
        waiting.insert(wanted.clone(), vec![ticket]);
        true
    }

    fn finish(&self, wanted: &Wanted) -> Vec<Ticket> {
        self.lock().remove(wanted).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Wanted, Vec<Ticket>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Derivations {
    fn default() -> Self {
        Self::new()
    }
}

/// Looks once more: between the caller's look and its turn another worker may have finished.
fn known_or_derived(
    credential: &Credential,
    salt: &[u8],
    iterations: u32,
    metrics: &ControlMetrics,
) -> Result<Arc<Keys>, DeriveFault> {
    if let Some(keys) = credential.client_keys(salt, iterations) {
        return Ok(keys);
    }
    let Some(password) = credential.password() else {
        metrics.keys_derived.one(WorkResult::Failed);
        return Err(DeriveFault::NoPassword);
    };
    let keys = Arc::new(derive(password.expose(), salt, iterations));
    credential.remember(&Known {
        salt: salt.into(),
        iterations,
        keys: keys.clone(),
    });
    metrics.keys_derived.one(WorkResult::Ok);
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::{Receiver, channel};

    use postern_policy::model::{RoleCredential, ServerTls, ServerTlsMode};

    use super::super::credentials::{CredentialReader, Credentials, RoleSpec};
    use super::super::scratch::Scratch;
    use super::*;

    fn credential(password: Option<&str>) -> Arc<Credential> {
        let dir = Scratch::new();
        let password_file = password.map(|text| dir.write_mode("pw", text, 0o600).display().to_string());
        let credential = RoleCredential {
            password_file,
            ..RoleCredential::default()
        };
        let tls = ServerTls {
            mode: ServerTlsMode::Disable,
            ..ServerTls::default()
        };
        let spec = RoleSpec {
            cluster: "c".into(),
            role: "r".into(),
            credential,
            tls,
        };
        let reading = CredentialReader::new(dir.path().to_owned()).read(&[spec], &Credentials::default());
        reading.table.find("c", "r").ok().unwrap().clone()
    }

    /// Cores whose notices come out of a channel.
    fn cores() -> (Cores, Receiver<Notice>) {
        let (sender, receiver) = channel();
        (
            Cores::new(
                1,
                Box::new(move |_, notice| sender.send(notice).map_err(|error| error.0)),
            ),
            receiver,
        )
    }

    fn ticket(session: u64) -> Ticket {
        Ticket { core: 0, session }
    }

    #[test]
    fn a_hundred_logins_count_one_derivation_and_a_rotated_salt_two() {
        let (credential, metrics, derivations) =
            (credential(Some("pw")), ControlMetrics::default(), Derivations::new());
        let (cores, notices) = cores();
        // One derivation takes long and all begin at once, so that the others find it under way rather than done.
        let (iterations, start) = (200_000, Barrier::new(4));
        std::thread::scope(|scope| {
            for worker in 0..4u64 {
                let (credential, derivations, cores, metrics) = (&credential, &derivations, &cores, &metrics);
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    for n in 0..25 {
                        derivations.run(
                            credential,
                            Box::from(&b"salt"[..]),
                            iterations,
                            ticket(worker * 25 + n),
                            cores,
                            metrics,
                        );
                    }
                });
            }
        });
        assert_eq!(metrics.keys_derived.get(WorkResult::Ok), 1);
        let mut told: Vec<u64> = notices
            .try_iter()
            .map(|notice| match notice {
                Notice::ClientKeys { ticket, keys: Ok(_) } => ticket.session,
                _ => panic!("keys expected"),
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, (0..100).collect::<Vec<_>>(), "everyone who waited is told, once");
        derivations.run(&credential, Box::from(&b"other"[..]), 4096, ticket(0), &cores, &metrics);
        assert_eq!(metrics.keys_derived.get(WorkResult::Ok), 2);
    }

    #[test]
    fn keys_fit_the_password_salt_and_iterations() {
        let (credential, metrics) = (credential(Some("pw")), ControlMetrics::default());
        let (cores, _notices) = cores();
        Derivations::new().run(&credential, Box::from(&b"salt"[..]), 5000, ticket(1), &cores, &metrics);
        let found = credential.client_keys(b"salt", 5000).unwrap();
        assert_eq!(found.stored_key(), derive(b"pw", b"salt", 5000).stored_key());
        assert!(credential.client_keys(b"salt", 4096).is_none());
    }

    #[test]
    fn a_server_that_makes_up_salts_cannot_fill_the_memory() {
        let (credential, metrics, derivations) =
            (credential(Some("pw")), ControlMetrics::default(), Derivations::new());
        let (cores, _notices) = cores();
        for salt in 0..20u8 {
            derivations.run(&credential, Box::from([salt]), 1, ticket(0), &cores, &metrics);
        }
        let remembered = (0..20u8)
            .filter(|salt| credential.client_keys(&[*salt], 1).is_some())
            .collect::<Vec<_>>();
        assert_eq!(remembered, [16, 17, 18, 19], "the newest stay");
    }

    #[test]
    fn a_role_without_a_password_is_told_so() {
        let (credential, metrics) = (credential(None), ControlMetrics::default());
        let (cores, notices) = cores();
        Derivations::new().run(&credential, Box::from(&b"salt"[..]), 4096, ticket(7), &cores, &metrics);
        let notice = notices.try_recv().unwrap();
        assert!(matches!(
            notice,
            Notice::ClientKeys {
                keys: Err(DeriveFault::NoPassword),
                ..
            }
        ));
        assert_eq!(metrics.keys_derived.get(WorkResult::Failed), 1);
    }
}
