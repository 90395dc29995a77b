//! The snapshot in force and what is derived from it once, swapped together.
