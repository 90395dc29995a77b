//! Keys, signatures and judgements with real keys, and the reason of every refusal.

mod cache;
mod checks;
mod compact;
mod driven;
mod driven_keys;
mod judgement;
mod keys;
mod properties;
mod signatures;
