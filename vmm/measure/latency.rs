//! How long something takes: a histogram of durations.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest duration that is told apart: a minute, in nanoseconds. Longer ones count as this.
const LONGEST_NS: u64 = 60_000_000_000;

/// A histogram of durations, exact to two significant digits, and their exact sum; about 15 KiB.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u32>,
    total_ns: u64,
}

/// What a [`Latency`] comes to, in nanoseconds; all 0 when nothing was recorded.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct LatencySummary {
    /// How many durations.
    pub count: u64,
    /// Their mean, exact but for the fraction.
    pub mean_ns: u64,
    /// Half took no longer than this.
    pub p50_ns: u64,
    /// 9 in 10 took no longer than this.
    pub p90_ns: u64,
    /// 99 in 100 took no longer than this.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Latency {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns.clamp(1, LONGEST_NS));
        self.total_ns = self.total_ns.saturating_add(ns);
    }

    /// Its summary now.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.histogram.len(),
            mean_ns: self.total_ns / self.histogram.len().max(1),
            p50_ns: self.histogram.value_at_quantile(0.5),
            p90_ns: self.histogram.value_at_quantile(0.9),
            p99_ns: self.histogram.value_at_quantile(0.99),
            max_ns: self.histogram.max(),
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so there is nothing that does not fit.
        let _ = self.histogram.add(&other.histogram);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
    }
}

impl Default for Latency {
    #[expect(clippy::expect_used, reason = "the bounds are constants, and valid ones")]
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("valid bounds");
        Self { histogram, total_ns: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::default();
        for micros in 1..=100 {
            latency.record(Duration::from_micros(micros));
        }
        latency.record(Duration::from_secs(3600));
        let summary = latency.summary();
        assert_eq!(summary.count, 101);
        assert!((50_000..=52_000).contains(&summary.p50_ns), "{summary:?}");
        assert!((99_000..=101_000).contains(&summary.p99_ns), "{summary:?}");
        assert!(summary.max_ns >= LONGEST_NS, "longer ones count as the longest: {summary:?}");
    }

    #[test]
    fn the_mean_is_exact_over_all_that_was_merged() {
        let mut latency = Latency::default();
        let mut other = Latency::default();
        latency.record(Duration::from_nanos(123_456_789));
        other.record(Duration::from_nanos(1));
        latency.merge(&other);
        assert_eq!(latency.summary().mean_ns, 61_728_395);
    }

    #[test]
    fn an_empty_histogram_has_an_empty_summary() {
        assert_eq!(Latency::default().summary().max_ns, 0);
    }
}
