//! What black-box tests stand on: PostgreSQL from the environment, certificates, a policy, the real `postern` in front,
//! and clients. Every process ends with the value that started it.

pub mod authority;
pub mod clients;
pub mod gate;
pub mod issuer;
pub mod place;
pub mod policy;
pub mod record;
pub mod servers;
pub mod stranger;
pub mod tls_stranger;
pub mod twins;
