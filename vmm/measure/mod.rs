//! Counters, histograms and traces, below everything that counts.

mod counter;
mod latency;
pub mod trace;

pub use counter::Counter;
pub use latency::{Latency, LatencySummary};
