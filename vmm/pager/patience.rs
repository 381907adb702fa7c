//! How long to look for the next fault before sleeping until it comes.
//!
//! To be woken takes longer than to answer most faults, so where one fault follows another soon it pays to keep looking. Where they are rare
//! it does not: whoever looks keeps a CPU from others. So it is the recent past that decides (spin-then-block: Karlin and
//! others, "Empirical Studies of Competitive Spinning for a Shared-Memory Multiprocessor", SOSP 1991).

use std::time::Duration;

/// Longer gaps than this are not worth looking through: some times what it costs to sleep and be woken, and what KVM looks for before
/// it halts a vCPU's thread (`halt_poll_ns`). Not less: to be woken takes 40 us on some hosts, so gaps of 80 us would never get
/// shorter.
const WORTH_IT: Duration = Duration::from_micros(200);
/// A gap that counts no more than this, however long it was.
const LONGEST: Duration = Duration::from_millis(1);

/// The mean of recent gaps between faults.
#[derive(Debug)]
pub struct Patience {
    mean: Duration,
    cpus: u32,
}

impl Patience {
    /// Gaps are taken to be long at first. `cpus`: how many there are.
    pub const fn new(cpus: u32) -> Self {
        Self { mean: LONGEST, cpus }
    }

    /// How long to look, while so many other threads of the pager are at work.
    pub fn now(&self, others: u32) -> Duration {
        if self.is_worth_it() && self.has_cpu(others) { self.mean * 3 } else { Duration::ZERO }
    }

    /// Whether one fault follows another soon.
    pub fn is_worth_it(&self) -> bool {
        self.mean <= WORTH_IT
    }

    /// Whether there is a CPU for a thread that answers faults, beside a vCPU and so many other threads of the pager.
    pub const fn has_cpu(&self, others: u32) -> bool {
        others + 2 <= self.cpus
    }

    /// The next fault came after so long.
    pub fn learn(&mut self, gap: Duration) {
        self.mean = (self.mean * 7 + gap.min(LONGEST)) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_where_faults_are_frequent_and_a_cpu_is_free() {
        let mut patience = Patience::new(2);
        assert_eq!(patience.now(0), Duration::ZERO, "nothing is known");
        (0..40).for_each(|_| patience.learn(Duration::from_micros(10)));
        assert!(patience.now(0) > Duration::from_micros(10));
        assert_eq!(patience.now(1), Duration::ZERO, "the other thread needs the CPU");
        (0..5).for_each(|_| patience.learn(Duration::from_secs(1)));
        assert_eq!(patience.now(0), Duration::ZERO);
    }
}
