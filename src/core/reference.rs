//! The name of a session inside the process: core, slab index and generation.

/// Identifies one session for as long as the process lives: an index that is used again has another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionReference {
    /// 0..=4,095.
    pub core: u16,
    /// 0..=1,048,575: the slab entry.
    pub index: u32,
    pub generation: u32,
}

const INDEX_BITS: u32 = 20;

impl SessionReference {
    /// core (12 bits), index (20 bits), generation (32 bits).
    pub fn bits(self) -> u64 {
        let place = (u32::from(self.core) << INDEX_BITS) | self.index;
        (u64::from(place) << 32) | u64::from(self.generation)
    }

    pub fn from_bits(bits: u64) -> Self {
        let place = (bits >> 32) as u32;
        Self {
            core: (place >> INDEX_BITS) as u16,
            index: place & ((1 << INDEX_BITS) - 1),
            generation: bits as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_carry_every_field() {
        let reference = SessionReference {
            core: 4095,
            index: 1_048_575,
            generation: u32::MAX,
        };
        assert_eq!(SessionReference::from_bits(reference.bits()), reference);
        let reference = SessionReference {
            core: 3,
            index: 17,
            generation: 9,
        };
        assert_eq!(SessionReference::from_bits(reference.bits()), reference);
    }
}
