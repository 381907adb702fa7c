//! What a run prints: tables and JSON.

mod level;
mod table;
mod units;

pub use level::{Level, Percentiles, SourceCount};
pub use table::table;
pub use units::{Count, Nanos, Pages};
