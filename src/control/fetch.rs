//! One issuer's keys for a command: fetched by the room that fetches them for a running gate, so that what a command says of
//! them is what a gate would say.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use postern_policy::model::TokenIssuer;

use super::providers::{Pace, ProviderKind, ProviderSpec, Providers, Setup};
use super::resolve::{self, Addresses, Resolver, system_lookup};
use crate::identity::token::KeySet;
use crate::metrics::Metrics;

/// A round of the room ends by itself before this: two requests, each with its deadline, and an address for both.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// Asks once, and waits for the answer: 30 seconds at most.
///
/// # Errors
/// Why there are none, as `postern providers` would show it.
pub fn issuer_keys(name: &str, issuer: &TokenIssuer) -> Result<Arc<KeySet>, String> {
    let providers = start().map_err(|error| format!("nothing can be fetched here: {error}"))?;
    providers.set(vec![ProviderSpec {
        name: name.into(),
        kind: ProviderKind::Issuer(issuer.clone()),
    }]);
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(known) = providers.key_sets().load().of(name) {
            match (&known.keys, &known.last_error) {
                (Some(keys), _) => return Ok(keys.clone()),
                (None, Some(error)) => return Err(error.to_string()),
                (None, None) => {}
            }
        }
        sleep(LOOK);
    }
    Err(format!("no answer within {} s", PATIENCE.as_secs()))
}

fn start() -> std::io::Result<Providers> {
    let addresses = Arc::new(ArcSwap::from_pointee(Addresses::default()));
    let resolver = Resolver::new(addresses.clone(), system_lookup());
    let wishes = resolve::start(resolver, Arc::new(Metrics::new(0)))?;
    Providers::start(Setup {
        addresses,
        // No core has asked.
        tell: Box::new(|_, _| {}),
        want: resolve::for_providers(wishes),
        pace: Pace::default(),
    })
}
