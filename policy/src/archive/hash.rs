//! The hash of the archived tables: fast, keyed with fixed numbers, the same on every machine and for all time of a
//! format version.
//!
//! A random key would make equal policies compile to different bytes. It is not needed either: the *contents* of a table
//! come from whoever writes the policy, clients only look things up, and what a lookup costs is bounded by the longest run
//! of the table as built. A match is always confirmed on the whole key, so a collision never confuses two names.

/// Odd 64-bit numbers without pattern: the fractional parts of the square roots of 2, 3, 5 and 7.
const KEYS: [u64; 4] = [
    0x6A09_E667_F3BC_C909,
    0xBB67_AE85_84CA_A73B,
    0x3C6E_F372_FE94_F82B,
    0xA54F_F53A_5F1D_36F1,
];

/// A state that takes pieces one after the other; order and boundaries of the pieces count.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Hash {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ KEYS[0])
    }

    pub fn number(self, value: u64) -> Self {
        Self(fold(self.0 ^ value, KEYS[1]))
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut state = self.0;
        let mut chunks = bytes.chunks_exact(16);
        for chunk in &mut chunks {
            let (low, high) = chunk.split_at(8);
            state = fold(word(low) ^ state, word(high) ^ KEYS[1]);
        }
        let (low, high) = chunks.remainder().split_at(chunks.remainder().len().min(8));
        state = fold(word(low) ^ state, word(high) ^ KEYS[2]);
        Self(fold(state ^ bytes.len() as u64, KEYS[3]))
    }

    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub fn finish(self) -> u64 {
        fold(self.0, KEYS[3])
    }
}

/// The high half of a product depends on every bit of both factors; the low half keeps what the high half loses.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Up to eight bytes, little endian.
fn word(bytes: &[u8]) -> u64 {
    if let Ok(whole) = bytes.try_into() {
        return u64::from_le_bytes(whole);
    }
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn is_pinned_because_it_is_part_of_the_file_format() {
        assert_eq!(Hash::new(0).text("").finish(), PINNED[0]);
        assert_eq!(Hash::new(0).text("svc:billing").finish(), PINNED[1]);
        assert_eq!(
            Hash::new(7).text("spiffe://corp/ns/prod/sa/billing").number(3).finish(),
            PINNED[2]
        );
    }

    #[test]
    fn pieces_and_lengths_count() {
        assert_ne!(
            Hash::new(0).text("ab").text("c").finish(),
            Hash::new(0).text("a").text("bc").finish()
        );
        assert_ne!(Hash::new(0).bytes(&[0]).finish(), Hash::new(0).bytes(&[0, 0]).finish());
    }

    #[test]
    fn names_that_differ_in_a_digit_spread_evenly() {
        let slots = 1 << 16;
        let hit: HashSet<u64> = (0..slots)
            .map(|n| Hash::new(1).text(&format!("svc:app-{n:06}")).finish() >> 48)
            .collect();
        let expected = slots as f64 * (1.0 - (-1.0f64).exp());
        let share = hit.len() as f64 / expected;
        assert!(
            (0.98..1.02).contains(&share),
            "{} of {expected} expected slots",
            hit.len()
        );
    }

    const PINNED: [u64; 3] = [0xB6D1_A919_D680_1EF7, 0xDF70_2D6E_68F7_8EBE, 0x5263_D5DF_B8AD_821B];
}
