//! Counters, histograms and traces, below everything that counts.

mod counter;
mod kvm_stats;
mod latency;
mod second_level;
pub mod trace;

pub use counter::Counter;
pub use kvm_stats::KvmStats;
pub use latency::{Latency, LatencySummary};
pub use second_level::{SecondLevel, Translation};
