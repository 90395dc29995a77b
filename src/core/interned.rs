//! One copy of each session's terms, however many sessions have them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::session::Terms;

/// Grows with the terms in use; those nobody has any more go when it would grow.
#[derive(Default)]
pub(super) struct Interned(HashSet<Arc<Terms>>);

impl Interned {
    /// The copy that others with the same terms have, or the first one.
    pub fn share(&mut self, terms: Terms) -> Arc<Terms> {
        if let Some(known) = self.0.get(&terms) {
            return known.clone();
        }
        if self.0.len() == self.0.capacity() {
            self.0.retain(|terms| Arc::strong_count(terms) > 1);
        }
        let terms = Arc::new(terms);
        self.0.insert(terms.clone());
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_policy::model::{Access, Limits, OnExpiry};

    fn terms(identity: &str) -> Terms {
        let name = |text: &str| text.into();
        Terms {
            identity: name(identity),
            grant: name("g"),
            role: name("r"),
            cluster: name("c"),
            user: name("u"),
            database: name("d"),
            server_database: name("d"),
            access: Access::ReadWrite,
            settings: Box::default(),
            limits: Limits::default(),
            on_expiry: OnExpiry::default(),
            expiry_notice: None,
        }
    }

    #[test]
    fn equal_terms_are_one_and_unused_ones_go() {
        let mut interned = Interned::default();
        let one = interned.share(terms("a"));
        assert!(Arc::ptr_eq(&one, &interned.share(terms("a"))));
        for index in 0..10_000 {
            interned.share(terms(&index.to_string()));
        }
        assert!(interned.0.len() < 1_000, "{} kept", interned.0.len());
        assert!(Arc::ptr_eq(&one, &interned.share(terms("a"))));
    }
}
