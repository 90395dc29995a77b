//! Logging in to a cluster. The protocol half is pure.
