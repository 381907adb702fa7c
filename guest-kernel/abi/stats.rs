//! What the kernel counts, in a structure that the VMM reads while the guest runs.
//!
//! The kernel is the only writer. Each field is a plain 8-byte word that it writes whole, so that a reader
//! never sees half a value; fields may be of slightly different moments.

/// Where a page came from when a guest fault was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Source {
    /// A zeroed frame (minor).
    Zero = 0,
    /// A zeroed frame for a grown stack (minor).
    Stack = 1,
    /// A page that was in RAM already (minor): only the mapping or a right was missing.
    Resident = 2,
    /// A copy of a shared frame (minor).
    Copy = 3,
    /// The file disk (major).
    File = 4,
    /// The swap disk (major).
    Swap = 5,
}

impl Source {
    /// Every source, in the order of [`GuestStats::faults`].
    pub const ALL: [Self; 6] = [Self::Zero, Self::Stack, Self::Resident, Self::Copy, Self::File, Self::Swap];

    /// Whether a fault from this source needs device I/O.
    #[must_use]
    pub const fn is_major(self) -> bool {
        matches!(self, Self::File | Self::Swap)
    }

    /// The word for tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Stack => "stack",
            Self::Resident => "resident",
            Self::Copy => "copy",
            Self::File => "file",
            Self::Swap => "swap",
        }
    }
}

/// How many buckets [`Latency`] has.
pub const BUCKETS: usize = 256;
const SUB_BITS: u32 = 2;

/// A histogram of durations in TSC cycles, logarithmic with 4 buckets an octave: a value read back is at
/// most 25% too high. Their sum is exact.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Latency {
    /// Durations seen, by [`Latency::bucket`].
    pub counts: [u64; BUCKETS],
    /// All durations together, in cycles.
    pub total: u64,
}

impl Latency {
    /// Counts a duration.
    #[inline]
    pub fn record(&mut self, cycles: u64) {
        if let Some(count) = self.counts.get_mut(Self::bucket(cycles)) {
            *count += 1;
        }
        self.total = self.total.wrapping_add(cycles);
    }

    /// The bucket of a duration.
    #[must_use]
    pub const fn bucket(cycles: u64) -> usize {
        if cycles < 1 << SUB_BITS {
            return cycles as usize;
        }
        let octave = cycles.ilog2();
        let sub = (cycles >> (octave - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
        (((octave - SUB_BITS + 1) as usize) << SUB_BITS) + sub
    }

    /// The largest duration of a bucket.
    #[must_use]
    pub const fn bucket_top(bucket: usize) -> u64 {
        if bucket < 1 << SUB_BITS {
            return bucket as u64;
        }
        let shift = (bucket >> SUB_BITS) as u32 - 1;
        let sub = (bucket & ((1 << SUB_BITS) - 1)) as u128;
        ((((1u128 << SUB_BITS) + sub + 1) << shift) - 1) as u64
    }
}

/// The kernel's counters. Pages unless said otherwise.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct GuestStats {
    /// Faults served, by [`Source`].
    pub faults: [u64; 6],
    /// Faults that no area or right allowed: the program got a signal or EFAULT.
    pub invalid_faults: u64,
    /// Pages dropped without I/O: the file or the swap slot had the same content.
    pub evicted_clean: u64,
    /// Pages written out before their frame was reused.
    pub evicted_dirty: u64,
    /// Pages of files that a fault on a neighbour mapped.
    pub mapped_around: u64,
    /// Pages read from the swap disk.
    pub swapped_in: u64,
    /// Those of them that nobody had asked for yet.
    pub swapped_ahead: u64,
    /// Pages written to the swap disk.
    pub swapped_out: u64,
    /// Pages read from the file disk.
    pub file_read: u64,
    /// Pages written to the file disk.
    pub file_written: u64,
    /// User pages in RAM now: resident set.
    pub resident: u64,
    /// Most user pages that were in RAM.
    pub resident_peak: u64,
    /// Frames that the kernel itself uses: image, tables, heap.
    pub kernel_frames: u64,
    /// Frames that hold nothing.
    pub free_frames: u64,
    /// Swap slots in use.
    pub slots_used: u64,
    /// User pages that are part of a huge page.
    pub huge: u64,
    /// Faults that a huge page served.
    pub huge_faults: u64,
    /// Huge pages made of small ones that were resident already.
    pub huge_promoted: u64,
    /// Huge pages split.
    pub huge_split: u64,
    /// System calls served.
    pub system_calls: u64,
    /// Times the CPU went from one thread to another.
    pub switches: u64,
    /// 1 if the TLB keeps address spaces apart.
    pub tlb_tags: u64,
    /// Times that load control held a process back.
    pub held_back: u64,
    /// Whole processes brought back from swap.
    pub swapped_whole: u64,
    /// Timer interrupts.
    pub ticks: u64,
    /// TSC cycles from the kernel's entry to the program's first instruction; 0 until then.
    pub boot: u64,
    /// From the entry of the fault handler to its return, minor faults.
    pub minor: Latency,
    /// The same, major faults.
    pub major: Latency,
}

impl GuestStats {
    /// Faults served without device I/O.
    #[must_use]
    pub fn minor_faults(&self) -> u64 {
        self.faults_that(|source| !source.is_major())
    }

    /// Faults that took device I/O.
    #[must_use]
    pub fn major_faults(&self) -> u64 {
        self.faults_that(Source::is_major)
    }

    fn faults_that(&self, are: fn(Source) -> bool) -> u64 {
        Source::ALL.into_iter().filter(|&source| are(source)).map(|source| self.faults[source as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_the_durations_it_says() {
        for cycles in (0..100_000).chain([u64::MAX / 3, u64::MAX]) {
            let bucket = Latency::bucket(cycles);
            assert!(bucket < BUCKETS);
            assert!(cycles <= Latency::bucket_top(bucket));
            assert!(bucket == 0 || cycles > Latency::bucket_top(bucket - 1));
        }
    }
}
