//! Who a CancelRequest means: from the process id a client was shown to the sessions that showed it.
//!
//! The secret half of a cancel key is not stored: it is a MAC of the session's reference under a key made at start, so
//! a key of a closed session fits nobody (its generation has gone) and an idle session costs no memory for it. Two
//! clusters may show the same process id; the MAC tells their sessions apart.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;

use super::reference::SessionReference;

const SHARDS: usize = 64;

/// Process id and bits of the session that shows it.
type Shown = BTreeSet<(u32, u64)>;

/// The process ids on show, over all cores.
#[derive(Debug)]
pub struct CancelDirectory {
    key: hmac::Key,
    shards: Box<[Mutex<Shown>]>,
}

/// Cancel-key secrets: 4 bytes for protocol 3.0, 32 for 3.2.
pub const SECRET_3_0: usize = 4;
pub const SECRET_3_2: usize = 32;

impl CancelDirectory {
    /// `key` is random and lives as long as the process.
    pub fn new(key: &[u8; 32]) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(BTreeSet::new())).collect();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            shards,
        }
    }

    /// Shows `process_id` for `session`, and gives the 32 bytes of its secret (the first four for protocol 3.0).
    pub fn show(&self, process_id: u32, session: SessionReference) -> [u8; SECRET_3_2] {
        self.shard(process_id).insert((process_id, session.bits()));
        self.secret(process_id, session)
    }

    pub fn withdraw(&self, process_id: u32, session: SessionReference) {
        self.shard(process_id).remove(&(process_id, session.bits()));
    }

    /// The session whose key this is. Every session with that process id is compared, in constant time.
    pub fn find(&self, process_id: u32, secret: &[u8]) -> Option<SessionReference> {
        if secret.len() != SECRET_3_0 && secret.len() != SECRET_3_2 {
            return None;
        }
        let shard = self.shard(process_id);
        let mut candidates = shard.range((process_id, 0)..=(process_id, u64::MAX));
        let found = candidates.find(|(_, bits)| self.fits(process_id, SessionReference::from_bits(*bits), secret));
        found.map(|(_, bits)| SessionReference::from_bits(*bits))
    }

    fn fits(&self, process_id: u32, session: SessionReference, secret: &[u8]) -> bool {
        let expected = self.secret(process_id, session);
        subtle::ConstantTimeEq::ct_eq(&expected[..secret.len()], secret).into()
    }

    fn secret(&self, process_id: u32, session: SessionReference) -> [u8; SECRET_3_2] {
        let mut message = [0; 12];
        message[..4].copy_from_slice(&process_id.to_be_bytes());
        message[4..].copy_from_slice(&session.bits().to_be_bytes());
        let mut secret = [0; SECRET_3_2];
        secret.copy_from_slice(hmac::sign(&self.key, &message).as_ref());
        secret
    }

    fn shard(&self, process_id: u32) -> std::sync::MutexGuard<'_, Shown> {
        self.shards[process_id as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(index: u32, generation: u32) -> SessionReference {
        SessionReference {
            core: 1,
            index,
            generation,
        }
    }

    #[test]
    fn equal_process_ids_are_told_apart_by_their_secrets() {
        let directory = CancelDirectory::new(&[7; 32]);
        let secrets: Vec<_> = (0..200).map(|index| directory.show(4242, session(index, 1))).collect();
        for (index, secret) in secrets.iter().enumerate() {
            assert_eq!(directory.find(4242, secret), Some(session(index as u32, 1)));
        }
        assert_eq!(directory.find(4243, &secrets[0]), None);
    }

    #[test]
    fn a_key_of_a_closed_session_hits_nobody() {
        let directory = CancelDirectory::new(&[7; 32]);
        let secret = directory.show(1, session(0, 1));
        directory.withdraw(1, session(0, 1));
        directory.show(1, session(0, 2));
        assert_eq!(directory.find(1, &secret), None);
    }

    #[test]
    fn both_lengths_fit_and_no_other_does() {
        let directory = CancelDirectory::new(&[7; 32]);
        let secret = directory.show(1, session(0, 1));
        assert!(directory.find(1, &secret[..4]).is_some());
        assert!(directory.find(1, &secret).is_some());
        assert_eq!(directory.find(1, &secret[..5]), None);
        assert_eq!(directory.find(1, &[]), None);
        let mut wrong = secret;
        wrong[31] ^= 1;
        assert_eq!(directory.find(1, &wrong), None);
    }
}
