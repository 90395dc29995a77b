//! How an issuer is set up.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::certificate::Certificate;
use crate::directory::Directory;
use crate::key_set::KeySet;

/// Can be cloned for an issuer that comes back at the same address, with the same keys.
#[derive(Clone)]
pub struct Settings {
    /// Of HTTPS. Port 0: one that is free.
    pub address: SocketAddr,
    /// Of plain HTTP with the same answers, for what need not be kept from anybody.
    pub plain_address: Option<SocketAddr>,
    /// What stands in the issuer's URL for the address.
    pub host: String,
    /// Of the issuer's URL, as `/realms/demo`; mostly empty.
    pub path: String,
    pub certificate: Certificate,
    pub keys: KeySet,
    /// Keys, faults and the webhook's answers are read from there instead, at each request.
    pub directory: Option<Directory>,
    /// `aud` of the tokens.
    pub audience: String,
    /// Who may ask for tokens, by client id, and the claims that their tokens have beside the standard ones.
    pub clients: BTreeMap<String, Value>,
    /// Seconds for which a token is valid.
    pub lifetime: u64,
    /// What `Cache-Control` of the keys and of the discovery document says.
    pub max_age: Option<u32>,
    /// Times that a device is told to wait before it is approved.
    pub device_waits: u32,
}

impl Settings {
    /// One ES256 key and a certificate of its own.
    pub fn new(address: SocketAddr, audience: &str) -> Self {
        let keys = KeySet::generate(Algorithm::Es256);
        Self::with_keys(address, audience, keys, Certificate::generate())
    }

    /// With the keys and the certificate of a directory.
    pub fn of_directory(address: SocketAddr, audience: &str, directory: Directory) -> std::io::Result<Self> {
        let (keys, certificate) = (directory.keys()?, directory.certificate()?);
        Ok(Self {
            directory: Some(directory),
            ..Self::with_keys(address, audience, keys, certificate)
        })
    }

    fn with_keys(address: SocketAddr, audience: &str, keys: KeySet, certificate: Certificate) -> Self {
        Self {
            address,
            plain_address: None,
            host: address.ip().to_string(),
            path: String::new(),
            certificate,
            keys,
            directory: None,
            audience: audience.to_owned(),
            clients: BTreeMap::new(),
            lifetime: 300,
            max_age: Some(300),
            device_waits: 1,
        }
    }

    /// A client whose tokens are about `subject`.
    pub fn client(self, id: &str, subject: &str) -> Self {
        self.client_with(id, json!({"sub": subject}))
    }

    /// A client whose tokens have these claims beside the standard ones, or instead of them.
    pub fn client_with(mut self, id: &str, claims: Value) -> Self {
        self.clients.insert(id.to_owned(), claims);
        self
    }
}
