//! A cell of a comparison, and what was measured of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::axis::AXES;

/// One workload under one combination of values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The workload's name, or the program's.
    pub workload: String,
    /// A value for each axis of the comparison.
    pub axes: BTreeMap<String, String>,
}

/// One measurement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// How long it took: what a workload times itself, or a program from its first instruction to its end.
    pub ns: u64,
    /// How many operations of the workload that were.
    pub operations: Option<u64>,
    /// What the workload computed.
    pub answer: Option<String>,
    /// Faults that the guest's pager served.
    pub guest_faults: Option<u64>,
    /// Faults that the host's pager served.
    pub host_faults: Option<u64>,
    /// How many pages of 4 KiB, 2 MiB and 1 GiB KVM had mapped at the end.
    pub mapped: Option<[u64; 3]>,
}

/// Why there are no samples, or no more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unmeasured {
    /// Whether the host cannot do it; otherwise a run failed.
    pub refused: bool,
    /// What was said.
    pub reason: String,
}

/// A cell with its samples, in the order in which they were taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    /// Which.
    pub cell: Cell,
    /// Its samples.
    pub samples: Vec<Sample>,
    /// Why there are none, or no more.
    pub unmeasured: Option<Unmeasured>,
}

impl Cell {
    /// The axes with their values, in the order of [`AXES`]; those of other versions come last.
    #[must_use]
    pub fn values(&self) -> Vec<(&str, &str)> {
        let place = |name: &str| AXES.iter().position(|axis| axis.name == name).unwrap_or(AXES.len());
        let mut values: Vec<_> =
            self.axes.iter().map(|(axis, value)| (axis.as_str(), value.as_str())).collect();
        values.sort_by_key(|(axis, _)| place(axis));
        values
    }

    /// What is done: cells with the same work are compared with each other, and their answers are the same.
    #[must_use]
    pub fn work(&self) -> String {
        let loads = AXES.iter().filter(|axis| axis.is_load);
        let values = loads.filter_map(|axis| Some(format!(" {}={}", axis.name, self.axes.get(axis.name)?)));
        std::iter::once(self.workload.clone()).chain(values).collect()
    }

    /// Where it is done: the values that [`Cell::work`] leaves out.
    #[must_use]
    pub fn place(&self) -> String {
        let is_load = |name: &str| AXES.iter().any(|axis| axis.is_load && axis.name == name);
        let values = self.values().into_iter().filter(|(axis, _)| !is_load(axis));
        let values = values.map(|(axis, value)| format!("{axis}={value}")).collect::<Vec<_>>();
        values.join(" ")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.workload)?;
        self.values().iter().try_for_each(|(axis, value)| write!(f, " {axis}={value}"))
    }
}

impl Series {
    /// Of a cell that was not measured yet.
    #[must_use]
    pub const fn new(cell: Cell) -> Self {
        Self { cell, samples: Vec::new(), unmeasured: None }
    }

    /// The samples' times in nanoseconds.
    #[must_use]
    pub fn times(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.ns as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_named_by_work_and_place_in_the_order_of_the_axes() {
        let axes = [("ratio", "2"), ("size", "4M"), ("backing", "4k"), ("other", "x")];
        let axes = axes.map(|(axis, value)| (axis.to_owned(), value.to_owned())).into();
        let cell = Cell { workload: "chase".to_owned(), axes };
        assert_eq!(cell.to_string(), "chase size=4M backing=4k ratio=2 other=x");
        assert_eq!(cell.work(), "chase size=4M");
        assert_eq!(cell.place(), "backing=4k ratio=2 other=x");
    }
}
