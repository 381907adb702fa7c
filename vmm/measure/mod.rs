//! Counters, histograms, traces and random numbers, below everything that counts.

mod counter;
mod kvm_stats;
mod latency;
mod random;
mod second_level;
pub mod trace;

pub use counter::Counter;
pub use kvm_stats::KvmStats;
pub use latency::{Latency, LatencySummary};
pub use random::Random;
pub use second_level::{SecondLevel, Translation};
