//! The gate itself: a state machine from the first byte to relay and close. Pure.
