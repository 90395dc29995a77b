//! An open-addressing hash table of numbers, built once and searched in place.
//!
//! Eight bytes an entry: 32 bits of the hash, then one more than the number (zero is an empty entry). At most half full, so a
//! miss costs one cache line nearly always. Equal keys may stand in it more than once; a search yields each.

use rkyv::{Archive, Serialize};

/// A power of two of entries, or none.
#[derive(Archive, Serialize, Default, PartialEq, Eq, Debug)]
pub struct HashTable {
    entries: Vec<u64>,
}

impl HashTable {
    /// Of the hashes of items `0..`, in order.
    pub fn build(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        if hashes.len() == 0 {
            return Self::default();
        }
        let capacity = (hashes.len() * 2).next_power_of_two();
        let mut entries = vec![0u64; capacity];
        for (number, hash) in (0u32..).zip(hashes) {
            let mut place = start(hash, capacity);
            while entries[place] != 0 {
                place = (place + 1) & (capacity - 1);
            }
            entries[place] = entry(hash, number);
        }
        Self { entries }
    }
}

impl ArchivedHashTable {
    /// Numbers whose stored hash bits agree with `hash`: the caller confirms each on the whole key.
    pub fn candidates(&self, hash: u64) -> Candidates<'_> {
        let entries = self.entries.as_slice();
        Candidates {
            entries,
            place: start(hash, entries.len()),
            tag: tag(hash),
            left: entries.len(),
        }
    }

    /// Whether this is what [`HashTable::build`] made.
    pub fn equals(&self, built: &HashTable) -> bool {
        self.entries
            .iter()
            .map(|entry| entry.to_native())
            .eq(built.entries.iter().copied())
    }

    /// How many numbers it holds; a walk over all of it.
    pub fn count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.to_native() != 0).count()
    }

    /// Whether the number of entries is what `build` makes for `items`.
    pub fn fits(&self, items: usize) -> bool {
        let expected = if items == 0 { 0 } else { (items * 2).next_power_of_two() };
        self.entries.len() == expected
    }
}

/// Candidates in the order they were put in.
pub struct Candidates<'a> {
    entries: &'a [rkyv::rend::u64_le],
    place: usize,
    tag: u32,
    left: usize,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.left > 0 {
            let entry = self.entries.get(self.place)?.to_native();
            let number = (entry as u32).checked_sub(1)?;
            self.place = (self.place + 1) & (self.entries.len() - 1);
            self.left -= 1;
            if (entry >> 32) as u32 == self.tag {
                return Some(number);
            }
        }
        None
    }
}

fn start(hash: u64, capacity: usize) -> usize {
    // The high bits choose the place, the low ones are the tag.
    if capacity <= 1 {
        0
    } else {
        (hash >> (64 - capacity.trailing_zeros())) as usize
    }
}

fn tag(hash: u64) -> u32 {
    hash as u32
}

fn entry(hash: u64, number: u32) -> u64 {
    (u64::from(tag(hash)) << 32) | (u64::from(number) + 1)
}

#[cfg(test)]
mod tests {
    use rkyv::rancor::Error;

    use super::super::hash::Hash;
    use super::*;

    fn archived(table: &HashTable) -> rkyv::util::AlignedVec {
        rkyv::to_bytes::<Error>(table).unwrap()
    }

    #[test]
    fn finds_every_item_and_no_other() {
        let hash = |n: u32| Hash::new(9).number(u64::from(n)).finish();
        let bytes = archived(&HashTable::build((0..10_000).map(hash)));
        let table = rkyv::access::<ArchivedHashTable, Error>(&bytes).unwrap();
        assert_eq!(table.count(), 10_000);
        assert!(table.fits(10_000));
        for n in 0..10_000 {
            assert!(table.candidates(hash(n)).any(|found| found == n));
        }
        let strays = (10_000..20_000)
            .filter(|n| table.candidates(hash(*n)).next().is_some())
            .count();
        assert_eq!(strays, 0);
    }

    #[test]
    fn equal_hashes_are_all_yielded_in_order() {
        let bytes = archived(&HashTable::build([7u64 << 40; 3].into_iter()));
        let table = rkyv::access::<ArchivedHashTable, Error>(&bytes).unwrap();
        assert_eq!(table.candidates(7 << 40).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn an_empty_table_has_no_candidates() {
        let bytes = archived(&HashTable::default());
        let table = rkyv::access::<ArchivedHashTable, Error>(&bytes).unwrap();
        assert_eq!(table.candidates(1).next(), None);
    }
}
