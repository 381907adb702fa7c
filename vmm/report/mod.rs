//! What a run prints: tables and JSON.

mod level;

pub use level::{Level, Percentiles, SourceCount};
