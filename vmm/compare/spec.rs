//! What is to be compared: what the command line and a file ask for, put together and checked.

use thiserror::Error;

use super::axis::{AXES, Axis};
use super::cell::Cell;
use super::invocation::Invocation;
use super::statistics::FEWEST;
use super::{RAM, workload};
use crate::memory::Size;

/// How sure medians are to be, in percent, if nothing else is asked for.
const PRECISION: f64 = 3.0;
/// The most samples of a cell, if nothing else is asked for.
const REPEATS: usize = 15;
/// More cells than this take days.
const MOST_CELLS: usize = 10_000;

/// Why a comparison cannot be made.
#[derive(Debug, Error)]
pub enum SpecError {
    /// Something was asked for that is not there. The message says what is.
    #[error("{0}")]
    Unknown(String),
    /// The file cannot be read.
    #[error("{path}: {error}; give the path of a TOML file")]
    Unreadable {
        /// Which.
        path: String,
        /// The host's answer.
        error: std::io::Error,
    },
    /// There is a mistake in the file.
    #[error("{path}:{line}:{column}: {message}")]
    Malformed {
        /// Which.
        path: String,
        /// The mistake's line, from 1.
        line: usize,
        /// Its column, in characters from 1.
        column: usize,
        /// What it is.
        message: String,
    },
}

/// An axis, and which of its values are compared.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The axis.
    pub axis: &'static Axis,
    /// Its values, the first is the baseline's.
    pub values: Vec<String>,
}

/// What a user asks for; what is left out has a default.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The axes.
    pub axes: Vec<Choice>,
    /// Built-in workloads.
    pub workloads: Vec<&'static str>,
    /// Or a program with its arguments.
    pub program: Vec<String>,
    /// Whether every cell runs in the lab, also without the axis for that.
    pub in_lab: bool,
    /// Values of the baseline that are not the first of their axis.
    pub baseline: Vec<(&'static Axis, String)>,
    /// Guest RAM.
    pub ram: Option<Size>,
    /// The guest's swap disk.
    pub swap: Option<Size>,
    /// How far a median's interval may reach from it, in percent.
    pub precision: Option<f64>,
    /// The most samples of a cell.
    pub repeats: Option<usize>,
}

/// A comparison that can be made.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The axes, in the order of [`AXES`].
    pub axes: Vec<Choice>,
    /// What is measured: built-in workloads, or none and a program.
    pub workloads: Vec<&'static str>,
    /// The user's own program with its arguments; empty for workloads.
    pub program: Vec<String>,
    /// Whether every cell runs in the lab.
    pub in_lab: bool,
    /// The baseline: these values, and otherwise each cell's own.
    pub baseline: Vec<(&'static str, String)>,
    /// Guest RAM.
    pub ram: Size,
    /// The guest's swap disk.
    pub swap: Option<Size>,
    /// How far a median's interval may reach from it, as a part of it.
    pub precision: f64,
    /// The most samples of a cell.
    pub repeats: usize,
}

impl Choice {
    /// Reads `NAME=VALUE,VALUE...`.
    ///
    /// # Errors
    /// There is no such axis, or no such value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').ok_or_else(|| form(text))?;
        let axis = Axis::named(name)?;
        let mut choice = Self { axis, values: Vec::new() };
        values.split(',').try_for_each(|value| choice.add(value.trim()))?;
        Ok(choice)
    }

    /// Adds a value, once.
    ///
    /// # Errors
    /// There is no such value.
    pub fn add(&mut self, value: &str) -> Result<(), String> {
        self.axis.check(value)?;
        if !self.values.iter().any(|known| known == value) {
            self.values.push(value.to_owned());
        }
        Ok(())
    }
}

fn form(text: &str) -> String {
    format!("{text:?} is no axis with values: write NAME=VALUE,VALUE, such as backing=4k,thp")
}

impl Request {
    /// What `other` asks for goes before what this does, axis by axis.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        for choice in other.axes {
            self.axes.retain(|known| known.axis.name != choice.axis.name);
            self.axes.push(choice);
        }
        for (axis, value) in other.baseline {
            self.baseline.retain(|(known, _)| known.name != axis.name);
            self.baseline.push((axis, value));
        }
        if !other.workloads.is_empty() || !other.program.is_empty() {
            (self.workloads, self.program) = (other.workloads, other.program);
        }
        self.in_lab |= other.in_lab;
        self.ram = other.ram.or(self.ram);
        self.swap = other.swap.or(self.swap);
        self.precision = other.precision.or(self.precision);
        self.repeats = other.repeats.or(self.repeats);
        self
    }

    /// The comparison that this asks for.
    ///
    /// # Errors
    /// It makes no sense; the message says why.
    pub fn finish(self) -> Result<Spec, SpecError> {
        let refuse = |message: String| Err(SpecError::Unknown(message));
        let mut axes = self.axes;
        axes.sort_by_key(|choice| AXES.iter().position(|axis| axis.name == choice.axis.name));
        if axes.is_empty() {
            let names = AXES.iter().map(|axis| axis.name).collect::<Vec<_>>().join(", ");
            return refuse(format!("there is nothing to vary: give --axis NAME=VALUES; axes are {names}"));
        }
        if !self.program.is_empty() && !self.workloads.is_empty() {
            return refuse("give workloads or a program, not both".to_owned());
        }
        if !self.program.is_empty() && axes.iter().any(|choice| choice.axis.is_load) {
            return refuse("axis size is the built-in workloads': give a program its size itself".to_owned());
        }
        for (axis, value) in &self.baseline {
            let chosen = axes.iter().find(|choice| choice.axis.name == axis.name && !axis.is_load);
            if !chosen.is_some_and(|choice| choice.values.contains(value)) {
                return refuse(format!(
                    "the baseline's {}={value} is no cell's: add it to --axis",
                    axis.name
                ));
            }
        }
        let precision = self.precision.unwrap_or(PRECISION);
        if !(precision > 0.0 && precision < 100.0) {
            return refuse(format!(
                "a precision of {precision}% cannot be had: give one above 0 and below 100"
            ));
        }
        let repeats = self.repeats.unwrap_or(REPEATS);
        if repeats < FEWEST {
            return refuse(format!("{repeats} repeats prove nothing: give at least {FEWEST}"));
        }
        let mut workloads = self.workloads;
        if self.program.is_empty() && workloads.is_empty() {
            workloads = workload::USUAL.to_vec();
        }
        let in_lab = self.in_lab || axes.iter().any(|choice| choice.axis.name == "mmu");
        let (program, ram, swap) = (self.program, self.ram.unwrap_or(RAM), self.swap);
        let precision = precision / 100.0;
        let baseline = baseline(&axes, &self.baseline);
        let spec = Spec { axes, workloads, program, in_lab, baseline, ram, swap, precision, repeats };
        if spec.axes.iter().map(|choice| choice.values.len()).product::<usize>() > MOST_CELLS {
            return refuse(format!("more than {MOST_CELLS} cells take days: give fewer values"));
        }
        Ok(spec)
    }
}

/// The values that the baseline has: those named, or else the first of each axis.
fn baseline(axes: &[Choice], named: &[(&'static Axis, String)]) -> Vec<(&'static str, String)> {
    if !named.is_empty() {
        return named.iter().map(|(axis, value)| (axis.name, value.clone())).collect();
    }
    let machine = axes.iter().filter(|choice| !choice.axis.is_load);
    machine.filter_map(|choice| Some((choice.axis.name, choice.values.first()?.clone()))).collect()
}

impl Spec {
    /// Every combination, a workload at a time.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        let program = self.program.first().map(|path| path.rsplit('/').next().unwrap_or(path));
        let workloads = self.workloads.iter().copied().chain(program);
        let mut cells: Vec<Cell> =
            workloads.map(|workload| Cell { workload: workload.to_owned(), axes: [].into() }).collect();
        for Choice { axis, values } in &self.axes {
            let with = |cell: &Cell, value: &String| {
                let mut cell = cell.clone();
                cell.axes.insert(axis.name.to_owned(), value.clone());
                cell
            };
            cells = cells.iter().flat_map(|cell| values.iter().map(move |value| with(cell, value))).collect();
        }
        cells
    }

    /// How a cell is run.
    #[must_use]
    pub fn invocation(&self, cell: &Cell) -> Invocation {
        let mut invocation = Invocation::new(self.ram, self.swap);
        invocation.lab_npt = self.in_lab.then_some(true);
        for Choice { axis, .. } in &self.axes {
            if let Some(value) = cell.axes.get(axis.name) {
                axis.apply(value, &mut invocation);
            }
        }
        invocation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(axes: &[&str]) -> Request {
        let axes = axes.iter().map(|text| Choice::parse(text).expect("an axis")).collect();
        Request { axes, ..Request::default() }
    }

    #[test]
    fn cells_are_every_combination_and_the_baseline_has_the_first_values() {
        let spec = request(&["ratio=1,2,2", "backing=4k,thp"]).finish().expect("a comparison");
        let cells: Vec<String> = spec.cells().iter().map(ToString::to_string).collect();
        assert_eq!(cells.len(), 12, "a value counts once");
        assert_eq!(
            cells[..3],
            ["chase backing=4k ratio=1", "chase backing=4k ratio=2", "chase backing=thp ratio=1"]
        );
        assert_eq!(spec.baseline, [("backing", "4k".to_owned()), ("ratio", "1".to_owned())]);
    }

    #[test]
    fn the_command_line_goes_before_the_file_axis_by_axis() {
        let file = request(&["ratio=1,2", "backing=4k,thp"]);
        let line = Request { repeats: Some(9), ..request(&["ratio=4"]) };
        let spec = file.overridden_by(line).finish().expect("a comparison");
        assert_eq!((spec.axes[1].values.clone(), spec.repeats), (vec!["4".to_owned()], 9));
        assert_eq!(spec.axes[0].values.len(), 2);
    }

    #[test]
    fn all_cells_run_in_the_same_place() {
        let lab = Request { in_lab: true, ..request(&["ratio=1,2"]) }.finish().expect("a comparison");
        assert!(lab.cells().iter().all(|cell| lab.invocation(cell).lab_npt == Some(true)));
        let mmu = request(&["mmu=npt,shadow"]).finish().expect("a comparison");
        let npt = mmu.cells().iter().map(|cell| mmu.invocation(cell).lab_npt).collect::<Vec<_>>();
        assert!(mmu.in_lab && npt[..2] == [Some(true), Some(false)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |request: Request| request.finish().expect_err("refused").to_string();
        assert!(refused(Request::default()).contains("--axis"));
        assert!(refused(Request { repeats: Some(3), ..request(&["ratio=1"]) }).contains('7'));
        assert!(refused(Request { precision: Some(0.0), ..request(&["ratio=1"]) }).contains("above 0"));
        let program = vec!["./prog".to_owned()];
        assert!(refused(Request { program, ..request(&["size=4M"]) }).contains("size"));
        let baseline = vec![(Axis::named("ratio").expect("an axis"), "8".to_owned())];
        assert!(refused(Request { baseline, ..request(&["ratio=1,2"]) }).contains("ratio=8"));
    }
}
