//! One level of paging as a reader sees it: the guest's view and the host's have the same shape.

use abi::stats::{BUCKETS, GuestStats, Latency, Source};
use serde::Serialize;

use crate::measure::LatencySummary;
use crate::pager::{HostStats, PagerKind};

/// What one level of paging did. Counts are 4 KiB pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Level {
    /// Faults served without device I/O.
    pub minor_faults: u64,
    /// Faults that needed device I/O.
    pub major_faults: u64,
    /// Pages given up without writing them: their copy elsewhere was still good.
    pub evicted_clean: u64,
    /// Pages written out before they were given up.
    pub evicted_dirty: u64,
    /// Pages brought back from swap or store.
    pub swapped_in: u64,
    /// Pages sent to swap or store.
    pub swapped_out: u64,
    /// Pages in RAM at the end.
    pub resident: u64,
    /// Most pages in RAM at a time.
    pub resident_peak: u64,
    /// Time to serve a minor fault.
    pub minor_latency: Percentiles,
    /// Time to serve a major fault.
    pub major_latency: Percentiles,
    /// Where the pages came from.
    pub sources: Vec<SourceCount>,
}

/// How many faults one source served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceCount {
    /// Its name.
    pub source: &'static str,
    /// How many.
    pub faults: u64,
}

/// Mean and percentiles of a duration in nanoseconds; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// The mean, exact but for the fraction.
    pub mean_ns: Option<u64>,
    /// Half were at most this long.
    pub p50_ns: Option<u64>,
    /// 99 of 100 were at most this long.
    pub p99_ns: Option<u64>,
}

impl From<LatencySummary> for Percentiles {
    fn from(summary: LatencySummary) -> Self {
        let measured = |ns| (summary.count > 0).then_some(ns);
        Self {
            mean_ns: measured(summary.mean_ns),
            p50_ns: measured(summary.p50_ns),
            p99_ns: measured(summary.p99_ns),
        }
    }
}

impl Level {
    /// The guest's view, from what its kernel counted. `tsc_khz` turns its cycles into time.
    #[must_use]
    pub fn of_guest(stats: &GuestStats, tsc_khz: u64) -> Self {
        Self {
            minor_faults: stats.minor_faults(),
            major_faults: stats.major_faults(),
            evicted_clean: stats.evicted_clean,
            evicted_dirty: stats.evicted_dirty,
            swapped_in: stats.swapped_in,
            swapped_out: stats.swapped_out,
            resident: stats.resident,
            resident_peak: stats.resident_peak,
            minor_latency: percentiles(&stats.minor, tsc_khz),
            major_latency: percentiles(&stats.major, tsc_khz),
            sources: Source::ALL
                .into_iter()
                .map(|source| SourceCount { source: source.name(), faults: stats.faults[source as usize] })
                .collect(),
        }
    }

    /// The host's view, from what its pager counted. A page that was all zeros left clean: it was written nowhere.
    #[must_use]
    pub fn of_host(stats: &HostStats) -> Self {
        let faults = &stats.faults;
        // It counts its faults by kind only.
        let by_kernel = stats.pager == PagerKind::Kernel.name();
        let swapped_in = if by_kernel {
            stats.major
        } else {
            faults.same_filled.count + faults.memory.count + faults.file.count
        };
        let sources = [
            ("zero", faults.zero.count),
            ("rescued", faults.rescued.count),
            ("same-filled", faults.same_filled.count),
            ("memory", faults.memory.count),
            ("store file", faults.file.count),
            ("host's kernel", if by_kernel { stats.minor } else { 0 }),
            ("host's swap", if by_kernel { stats.major } else { 0 }),
        ];
        Self {
            minor_faults: stats.minor,
            major_faults: stats.major,
            evicted_clean: stats.evicted_clean + stats.evicted_zero,
            evicted_dirty: stats.evicted_dirty,
            swapped_in,
            swapped_out: stats.evicted_dirty,
            resident: stats.resident,
            resident_peak: stats.resident_peak,
            minor_latency: faults.minor.into(),
            major_latency: faults.file.into(),
            sources: sources.map(|(source, faults)| SourceCount { source, faults }).into(),
        }
    }

    /// All faults served.
    #[must_use]
    pub const fn faults(&self) -> u64 {
        self.minor_faults + self.major_faults
    }
}

fn percentiles(latency: &Latency, tsc_khz: u64) -> Percentiles {
    let at = |percent| percentile(latency, percent).map(|cycles| to_ns(cycles, tsc_khz));
    let mean = latency.total.checked_div(recorded(latency)).map(|cycles| to_ns(cycles, tsc_khz));
    Percentiles { mean_ns: mean, p50_ns: at(50), p99_ns: at(99) }
}

/// How many durations there are. The guest writes these: sums that overflow are nonsense, but must not stop the report.
fn recorded(latency: &Latency) -> u64 {
    latency.counts.iter().fold(0u64, |sum, &count| sum.saturating_add(count))
}

/// The smallest bucket top that `percent` of the durations do not exceed.
fn percentile(latency: &Latency, percent: u64) -> Option<u64> {
    let total = recorded(latency);
    let wanted = (u128::from(total) * u128::from(percent)).div_ceil(100) as u64;
    let mut seen = 0u64;
    (0..BUCKETS).filter(|_| total > 0).find_map(|bucket| {
        seen = seen.saturating_add(latency.counts[bucket]);
        (seen >= wanted).then(|| Latency::bucket_top(bucket))
    })
}

/// Cycles of a guest's time-stamp counter as nanoseconds.
#[must_use]
pub fn to_ns(cycles: u64, tsc_khz: u64) -> u64 {
    (u128::from(cycles) * 1_000_000 / u128::from(tsc_khz.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(durations: &[u64]) -> Latency {
        let mut latency = Latency { counts: [0; BUCKETS], total: 0 };
        durations.iter().for_each(|&duration| latency.record(duration));
        latency
    }

    #[test]
    fn percentiles_are_at_most_a_quarter_too_high() {
        let durations: Vec<u64> = (1..=1000).map(|n| n * 100).collect();
        let measured = percentiles(&latency(&durations), 1_000_000);
        let (p50, p99) = (measured.p50_ns.expect("measured"), measured.p99_ns.expect("measured"));
        assert!((50_000..=62_500).contains(&p50), "{p50}");
        assert!((99_000..=123_750).contains(&p99), "{p99}");
        assert_eq!(measured.mean_ns, Some(50_050), "the mean is exact");
    }

    #[test]
    fn nothing_measured_is_no_number() {
        assert_eq!(percentiles(&latency(&[]), 1_000_000), Percentiles::default());
    }
}
