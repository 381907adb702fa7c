//! What samples say: medians, and how sure they are.
//!
//! Times of programs have outliers on one side and no known distribution, so nothing here assumes one: the
//! median is what is reported, and its interval comes from the samples themselves (the percentile bootstrap,
//! Efron 1979). Everything is computed from a fixed seed, so the same samples give the same answer.

use std::fmt;

use crate::measure::Random;

/// How often samples are drawn again from themselves. At the confidence of 99% fifty of them lie outside.
const RESAMPLES: usize = 5_000;
const SEED: u64 = 1;

/// The confidence of every interval that is shown.
pub const CONFIDENCE: f64 = 0.99;

/// The fewest samples that two sides need before anything is said. Of two sides with seven, all of one are
/// above all of the other by chance once in 1716 times; with five it would be once in 126.
pub const FEWEST: usize = 7;

/// A value and where the true one lies, with the confidence that was asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    /// The least that is plausible.
    pub low: f64,
    /// What the samples themselves give.
    pub estimate: f64,
    /// The most that is plausible.
    pub high: f64,
}

/// Which of two sides takes longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// The samples do not say.
    None,
    /// The first takes less time.
    Faster,
    /// The first takes more.
    Slower,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.estimate {
            small if small < 10.0 => 3,
            medium if medium < 100.0 => 1,
            _ => 0,
        };
        let Self { low, estimate, high } = self;
        write!(f, "{estimate:.decimals$} ({low:.decimals$} to {high:.decimals$})")
    }
}

impl Interval {
    /// How far it reaches from the estimate, as a part of that.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        (self.high - self.estimate).max(self.estimate - self.low) / self.estimate
    }

    /// What this ratio of two sides says about them.
    #[must_use]
    pub fn difference(&self) -> Difference {
        match self {
            _ if self.high < 1.0 => Difference::Faster,
            _ if self.low > 1.0 => Difference::Slower,
            _ => Difference::None,
        }
    }
}

/// The median of `samples`; 0 if there are none.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    let sorted = sorted(samples);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => 0.0,
        Some(upper) if sorted.len() % 2 == 1 => *upper,
        Some(upper) => sorted[middle - 1].midpoint(*upper),
    }
}

/// The median of `samples` with its interval; `None` with fewer than [`FEWEST`].
#[must_use]
pub fn median_interval(samples: &[f64]) -> Option<Interval> {
    let mut side = Resampled::new(samples);
    interval(CONFIDENCE, median(samples), samples.len(), |random| side.median(random))
}

/// The median of `samples` by that of `base`, with the interval of this `confidence`; `None` where either
/// side has fewer than [`FEWEST`].
#[must_use]
pub fn ratio_interval(samples: &[f64], base: &[f64], confidence: f64) -> Option<Interval> {
    let ratio = median(samples) / median(base);
    let (mut above, mut below) = (Resampled::new(samples), Resampled::new(base));
    let fewest = samples.len().min(base.len());
    interval(confidence, ratio, fewest, |random| above.median(random) / below.median(random))
}

/// The interval of a statistic that `draw` computes anew from samples drawn again.
fn interval(
    confidence: f64,
    estimate: f64,
    samples: usize,
    mut draw: impl FnMut(&mut Random) -> f64,
) -> Option<Interval> {
    if samples < FEWEST || !estimate.is_finite() {
        return None;
    }
    let mut random = Random::new(SEED);
    let mut drawn: Vec<f64> = (0..RESAMPLES).map(|_| draw(&mut random)).collect();
    drawn.sort_by(f64::total_cmp);
    let outside = ((1.0 - confidence) / 2.0 * RESAMPLES as f64) as usize;
    Some(Interval { low: drawn[outside], estimate, high: drawn[RESAMPLES - 1 - outside] })
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Samples that are drawn again from themselves.
struct Resampled {
    sorted: Vec<f64>,
    /// How often each was drawn.
    counts: Vec<usize>,
}

impl Resampled {
    fn new(samples: &[f64]) -> Self {
        Self { sorted: sorted(samples), counts: vec![0; samples.len()] }
    }

    /// The median of as many samples, each drawn from all.
    fn median(&mut self, random: &mut Random) -> f64 {
        let count = self.sorted.len();
        self.counts.fill(0);
        for _ in 0..count {
            self.counts[random.below(count)] += 1;
        }
        self.ranked((count - 1) / 2).midpoint(self.ranked(count / 2))
    }

    /// The drawn sample that `rank` others do not exceed.
    fn ranked(&self, rank: usize) -> f64 {
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen > rank
        });
        place.map_or(0.0, |place| self.sorted[place])
    }
}

#[cfg(test)]
mod tests;
