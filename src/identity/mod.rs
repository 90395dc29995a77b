//! Proof in, identity or reason out. Pure: time and randomness are arguments.
