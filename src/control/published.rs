//! What cores read and control swaps: each on its own, none of it ever changed in place.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::credentials::Credentials;
use super::resolve::Addresses;
use crate::in_force::InForce;
use crate::tls::ListenerTls;

/// One set for the process.
pub struct Published {
    pub policy: Arc<ArcSwap<InForce>>,
    pub credentials: Arc<ArcSwap<Credentials>>,
    pub addresses: Arc<ArcSwap<Addresses>>,
    /// In the order of the configuration; empty for a listener without TLS.
    pub listeners: Vec<Arc<ArcSwapOption<ListenerTls>>>,
}
