//! A small local OpenID Connect issuer with real keys: for the demonstration, black-box tests and benchmarks. It knows
//! no secrets of clients and approves every device: never let anything but a test trust it.

mod algorithm;
mod claims;
mod encoding;
mod key;
mod token;

pub use algorithm::Algorithm;
pub use claims::{Claims, now};
pub use encoding::{base64url, from_base64url};
pub use key::Key;
pub use token::Token;
