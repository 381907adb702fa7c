//! Time, from the time-stamp counter.

use crate::arch::cpu;

/// A second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    boot_tsc: u64,
    boot_unix_ns: u64,
    /// Nanoseconds a cycle, as a fraction of 2^32.
    scale: u64,
}

impl Clock {
    /// A counter of `tsc_khz` that read `boot_tsc` at `boot_unix_ns` nanoseconds after 1970.
    #[must_use]
    pub fn new(tsc_khz: u64, boot_tsc: u64, boot_unix_ns: u64) -> Self {
        Self { boot_tsc, boot_unix_ns, scale: (1_000_000 << 32) / tsc_khz.max(1) }
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.at(cpu::rdtsc())
    }

    fn at(&self, tsc: u64) -> u64 {
        self.nanoseconds(tsc.saturating_sub(self.boot_tsc))
    }

    /// How long so many cycles are.
    #[must_use]
    pub fn nanoseconds(&self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.scale)) >> 32) as u64
    }

    /// When the machine started, in nanoseconds since 1970.
    #[must_use]
    pub fn boot_unix(&self) -> u64 {
        self.boot_unix_ns
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn unix(&self) -> u64 {
        self.boot_unix_ns + self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_become_nanoseconds() {
        let clock = Clock::new(2_500_000, 1000, 0);
        assert_eq!(clock.at(1000), 0);
        assert_eq!(clock.at(900), 0, "the counter of another CPU may be behind");
        let hour = clock.at(1000 + 2_500_000_000 * 3600);
        assert!(hour.abs_diff(3600 * SECOND) < 1000);
    }
}
