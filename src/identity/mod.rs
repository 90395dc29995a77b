//! Proof in, identity or reason out. Pure: time and randomness are arguments.
//!
//! A *proof* is what shows that a peer is who it says: a SCRAM exchange brought to its end
//! ([`scram::server::Verified`]), a certificate that the policy binds to an identity ([`certificate::Judged`]), a token with a
//! good signature that holds at this moment ([`token::Assertion`]). Such values have private constructors, so whoever holds one
//! knows that the check was made. What a webhook says ([`webhook::Asserted`]) was asked for elsewhere; here is how the question
//! and the answer are written. This room does not read sockets
//! or files, does not know the protocol's framing and decides nothing about access: grants are `postern_policy`'s.
//!
//! What it promises:
//! - nothing a peer sends makes it panic, and what it keeps of a peer's bytes is bounded;
//! - MACs and proofs are compared in constant time, secrets are zeroed when dropped and cannot be printed;
//! - an unknown name and a wrong password are the same conversation, byte for byte in length and in work.

pub mod certificate;
mod kept;
pub mod oauthbearer;
pub mod scram;
pub mod token;
pub mod webhook;
