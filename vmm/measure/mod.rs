//! Counters and histograms, below everything that counts.

mod counter;
mod latency;

pub use counter::Counter;
pub use latency::{Latency, LatencySummary};
