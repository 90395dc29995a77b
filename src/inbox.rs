//! The one way into a core from another thread: a bounded queue and an eventfd.
