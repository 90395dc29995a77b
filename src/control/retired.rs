//! Policies that were in force and may still be read.

use std::sync::Arc;

use super::background::drop_slowly;
use crate::in_force::InForce;

/// Kept here until no core reads them, so that the last one to let go is never a core: freeing a large policy takes time.
#[derive(Default)]
pub struct Retired(Vec<Arc<InForce>>);

impl Retired {
    pub fn add(&mut self, old: Arc<InForce>) {
        self.0.push(old);
    }

    /// Frees those that nobody else holds. A retired policy can be reached by nobody new, so a count of one is final.
    pub fn free(&mut self) {
        let free: Vec<_> = self.0.extract_if(.., |old| Arc::strong_count(old) == 1).collect();
        if !free.is_empty() {
            drop_slowly(free);
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
