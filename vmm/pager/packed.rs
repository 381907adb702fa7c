//! Numbers in as few bits as they need.

/// How many bytes are read and written at once: a number of 32 bits may begin at any bit of the first.
const WINDOW: usize = size_of::<u64>();

/// A table of numbers below a limit, all 0 at first. What was never written takes no memory.
#[derive(Debug)]
pub struct Packed {
    bits: usize,
    bytes: Vec<u8>,
}

impl Packed {
    /// A table of so many numbers, each below `limit`.
    pub fn new(count: u32, limit: u32) -> Self {
        let bits = limit.saturating_sub(1).checked_ilog2().map_or(1, |top| top as usize + 1);
        Self { bits, bytes: vec![0; (count as usize * bits).div_ceil(8) + WINDOW] }
    }

    /// The number at `place`.
    pub fn get(&self, place: u32) -> u32 {
        let (at, shift) = self.find(place);
        (self.window(at) >> shift & self.mask()) as u32
    }

    /// Puts another there.
    pub fn set(&mut self, place: u32, number: u32) {
        let (at, shift) = self.find(place);
        let others = self.window(at) & !(self.mask() << shift);
        self.bytes[at..at + WINDOW].copy_from_slice(&(others | u64::from(number) << shift).to_le_bytes());
    }

    /// What it takes if nothing was ever put at `count` or behind.
    pub const fn bytes(&self, count: u32) -> usize {
        (count as usize * self.bits).div_ceil(8)
    }

    /// The byte in which a number begins, and its bit in there.
    const fn find(&self, place: u32) -> (usize, usize) {
        let bit = place as usize * self.bits;
        (bit / 8, bit % 8)
    }

    fn window(&self, at: usize) -> u64 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    const fn mask(&self) -> u64 {
        (1 << self.bits) - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_packed_table_holds_what_a_plain_one_does(
            limit in prop_oneof![1_u32..40, (0_u32..32).prop_map(|bits| u32::MAX >> bits)],
            steps in prop::collection::vec((0_u32..50, any::<u32>()), 0..200),
        ) {
            let mut packed = Packed::new(50, limit);
            let mut plain = [0; 50];
            for (place, number) in steps {
                packed.set(place, number % limit);
                plain[place as usize] = number % limit;
                prop_assert_eq!(std::array::from_fn(|place| packed.get(place as u32)), plain);
            }
        }
    }
}
