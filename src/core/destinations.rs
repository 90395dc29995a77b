//! One copy of where each role of a cluster is reached, however many sessions go there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::control::credentials::Credential;
use crate::control::resolve::Addresses;

use super::connection::Destination;

/// Made anew when the policy, the credential or an address has changed.
#[derive(Default)]
pub(super) struct Destinations {
    /// Of the policy that the clusters' endpoints are from.
    generation: u64,
    /// By the address of the credential, which is one for each role of a cluster; the entry keeps it alive.
    known: HashMap<*const Credential, Known>,
}

struct Known {
    credential: Arc<Credential>,
    addresses: Arc<Addresses>,
    destinations: Arc<[Arc<Destination>]>,
}

impl Destinations {
    /// What `make` made for this credential, while policy and addresses are the same.
    pub fn share(
        &mut self,
        generation: u64,
        credential: &Arc<Credential>,
        addresses: &Arc<Addresses>,
        make: impl FnOnce() -> Vec<Arc<Destination>>,
    ) -> Arc<[Arc<Destination>]> {
        if self.generation != generation {
            self.known.clear();
            self.generation = generation;
        }
        let key = Arc::as_ptr(credential);
        if let Some(known) = self.known.get(&key)
            && Arc::ptr_eq(&known.addresses, addresses)
        {
            return known.destinations.clone();
        }
        self.forget_unused();
        let destinations: Arc<[_]> = make().into();
        let known = Known {
            credential: credential.clone(),
            addresses: addresses.clone(),
            destinations: destinations.clone(),
        };
        self.known.insert(key, known);
        destinations
    }

    /// Credentials that were replaced are kept by nobody else.
    fn forget_unused(&mut self) {
        if self.known.len() == self.known.capacity() {
            self.known.retain(|_, known| Arc::strong_count(&known.credential) > 1);
        }
    }
}
