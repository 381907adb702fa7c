//! How long accesses take, each by itself, in cycles of the time-stamp counter: reading that is no system
//! call.

/// The counter now. No access to memory moves past this, neither in the compiler nor in the CPU.
pub fn now() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: every x86-64 CPU has these instructions, which change two registers.
    unsafe { core::arch::asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack)) };
    high << 32 | low
}

/// Durations, and what they come to.
#[derive(Default)]
pub struct Samples(Vec<u64>);

impl Samples {
    /// Makes room, so that no sample pays for it.
    pub fn with_room(count: usize) -> Self {
        // Written, not only reserved: the pages must be there, too.
        let mut samples = vec![1; count];
        samples.clear();
        Self(samples)
    }

    pub fn take(&mut self, access: impl FnOnce()) {
        let start = now();
        access();
        self.0.push(now() - start);
    }

    /// The duration that `percent` of them do not exceed.
    pub fn percentile(&mut self, percent: usize) -> u64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
