//! Where a certificate's key or name is filed: the hash of each kind of key, in one place for builder, lookup and check.

use std::collections::BTreeSet;

use super::hash::Hash;
use super::layout::{KeyTables, NameRecord, ShapeRecord, Text};
use super::table::HashTable;

/// DNS names are at most this long, bytes (RFC 1035, 2.3.4): a longer one in a certificate matches nothing.
pub const MAX_DNS_NAME: usize = 253;

pub fn pin_hash(digest: &[u8; 32]) -> u64 {
    // Already a SHA-256; mixed once more so that handmade digests spread as well.
    Hash::new(4).bytes(digest).finish()
}

pub fn name_hash(provider: u32, text: &str) -> u64 {
    Hash::new(5).number(u64::from(provider)).text(text).finish()
}

pub fn identity_hash(name: &str) -> u64 {
    Hash::new(8).text(name).finish()
}

/// DNS names are filed in lower case (RFC 4343).
pub fn dns_hash(provider: u32, name: &str) -> Option<u64> {
    let mut lower = [0u8; MAX_DNS_NAME];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    Some(Hash::new(7).number(u64::from(provider)).bytes(lower).finish())
}

impl KeyTables {
    /// Builds the indexes of tables that are complete.
    pub fn index(&mut self, strings: &str) {
        let text = |record: &NameRecord| piece(strings, record.text);
        self.fingerprint_index = HashTable::build(self.fingerprints.iter().map(|pin| pin_hash(&pin.digest)));
        self.public_key_index = HashTable::build(self.public_keys.iter().map(|pin| pin_hash(&pin.digest)));
        self.uri_index = HashTable::build(self.uris.iter().map(|name| name_hash(name.provider, text(name))));
        self.common_name_index = HashTable::build(
            self.common_names
                .iter()
                .map(|name| name_hash(name.provider, text(name))),
        );
        self.subject_index = HashTable::build(self.subjects.iter().map(|name| name_hash(name.provider, text(name))));
        // A name that is too long to be one is filed under its plain hash, where no lookup finds it.
        let of_dns = |name: &NameRecord| dns_hash(name.provider, text(name)).unwrap_or(0);
        self.dns_index = HashTable::build(self.dns.iter().map(of_dns));
        let shapes: Vec<Option<ShapeRecord>> = self
            .uri_patterns
            .iter()
            .map(|name| ShapeRecord::of(text(name)))
            .collect();
        let of_pattern = |(name, shape): (&NameRecord, &Option<ShapeRecord>)| {
            shape.map_or(0, |shape| shape.hash(name.provider, text(name)))
        };
        self.uri_pattern_index = HashTable::build(self.uri_patterns.iter().zip(&shapes).map(of_pattern));
        self.uri_shapes = shapes
            .into_iter()
            .flatten()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
    }
}

fn piece(strings: &str, text: Text) -> &str {
    let start = text.start as usize;
    strings.get(start..start + text.length as usize).unwrap_or_default()
}
