//! Pseudo-random numbers, the same in every run.

/// Knuth's MMIX generator.
pub struct Random(u64);

impl Random {
    pub const fn new() -> Self {
        Self(1)
    }

    /// The next number: the high bits, which are the better ones.
    pub const fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}
