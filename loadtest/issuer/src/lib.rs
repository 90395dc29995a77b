//! A small local OpenID Connect issuer with real keys: for the demonstration, black-box tests and benchmarks. It knows
//! no secrets of clients and approves every device: never let anything but a test trust it.
//!
//! [`Issuer`] serves discovery, keys, tokens and a webhook over HTTPS; [`Token`] makes tokens without it, broken ones too.

mod algorithm;
mod answers;
mod certificate;
mod claims;
mod connections;
mod device;
mod directory;
mod encoding;
mod fault;
mod http;
mod issuer;
mod key;
mod key_set;
mod settings;
mod state;
mod token;

pub use algorithm::Algorithm;
pub use certificate::Certificate;
pub use claims::{Claims, now};
pub use connections::ConnectionCount;
pub use directory::Directory;
pub use encoding::{base64url, from_base64url};
pub use fault::{Endpoint, Fault, Faults};
pub use http::{Request, Response};
pub use issuer::Issuer;
pub use key::Key;
pub use key_set::{KeySet, encryption_entry, secret_entry};
pub use settings::Settings;
pub use token::Token;
