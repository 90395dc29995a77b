//! Chains before policies: who gets in, and with which reason the others do not.

mod chains;
mod kept;
mod names;
mod revocation;
