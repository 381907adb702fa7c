//! Comparisons: the same work under different memory systems, measured until the answer is sure, or says that
//! it is not.
//!
//! ```text
//!     spec        which axes, values and workloads (command line, TOML)
//!     cell        one combination; `axis` has the table of what can vary
//!     matrix      which cell is measured next, and when there is enough
//!     runner      one measurement: `bifold run` in a process of its own (`invocation` is its command line)
//!     journal     every sample, on the disk before the next one starts
//!     statistics  medians and their intervals
//!     comparison  cells against their baseline, and winners;  check  new samples against old ones
//! ```

mod axis;
mod cell;
mod check;
mod comparison;
mod invocation;
mod journal;
mod matrix;
pub mod nearest;
mod runner;
mod spec;
mod spec_file;
mod statistics;
mod workload;

pub use axis::{AXES, Axis, Verdict};
pub use cell::{Cell, Sample, Series, Unmeasured};
pub use check::{Check, Checked, Finding};
pub use comparison::{Comparison, Row, Standing};
pub use invocation::Invocation;
pub use journal::{Header, Journal, JournalError, Record};
pub use matrix::measure;
pub use runner::{Outcome, Runner};
pub use spec::{Choice, Request, Spec, SpecError};
pub use statistics::{CONFIDENCE, Difference, FEWEST, Interval, median, median_interval, ratio_interval};
pub use workload::{WORKLOADS, named as workload_named};

use crate::memory::Size;

/// Guest RAM, if nothing else is asked for.
pub const RAM: Size = Size::mib(64);
/// What a built-in workload works on, if nothing else is asked for.
pub const SIZE: Size = Size::mib(4);
