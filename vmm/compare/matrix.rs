//! Which cell is measured next, and when there is enough.
//!
//! Cells are measured in rounds. Each round takes every cell that still needs samples once, in an order of
//! its own, so that what the machine does besides (a neighbour, its clock, its temperature) falls on all
//! cells alike and not on one of them. The first round only warms up. A cell is done when its median is as
//! sure as was asked for.

use std::collections::BTreeMap;
use std::error::Error;

use super::cell::{Cell, Series, Unmeasured};
use super::journal::Journal;
use super::runner::Outcome;
use super::spec::Spec;
use super::statistics::{FEWEST, median_interval};
use crate::measure::Random;

/// Measures all cells of `spec`, from where the journal stands. `run` runs one; `tell` hears, before each
/// run, which cell it is of and how many runs are left at most.
///
/// # Errors
/// A sample cannot be kept, or nothing can be run. What was measured until then is in the journal.
pub fn measure(
    spec: &Spec,
    (journal, known): (&mut Journal, Vec<Series>),
    mut run: impl FnMut(&Cell) -> Result<Outcome, Box<dyn Error>>,
    mut tell: impl FnMut(&Cell, usize),
) -> Result<Vec<Series>, Box<dyn Error>> {
    let mut matrix = Matrix::new(spec, known);
    // Another order for each start: the same one again would favour the same cells.
    let mut random = Random::new(matrix.taken() as u64);
    for round in 0.. {
        let mut due: Vec<usize> = (0..matrix.series.len()).filter(|&at| matrix.needs_more(at)).collect();
        if due.is_empty() {
            break;
        }
        random.shuffle(&mut due);
        for at in due {
            tell(&matrix.series[at].cell, matrix.runs_left());
            let outcome = matrix.checked(at, run(&matrix.series[at].cell)?);
            let Series { cell, samples, unmeasured } = &mut matrix.series[at];
            let (refused, reason) = match outcome {
                Outcome::Measured(sample) if round > 0 => {
                    journal.sample(cell, &sample)?;
                    samples.push(sample);
                    continue;
                }
                Outcome::Measured(_) => continue,
                Outcome::Refused(reason) => (true, reason),
                Outcome::Failed(reason) => (false, reason),
            };
            let why = Unmeasured { refused, reason };
            journal.unmeasured(cell, &why)?;
            *unmeasured = Some(why);
        }
    }
    Ok(matrix.series)
}

struct Matrix<'a> {
    spec: &'a Spec,
    series: Vec<Series>,
    /// What each work computes, by the first run that said it.
    answers: BTreeMap<String, String>,
}

impl<'a> Matrix<'a> {
    fn new(spec: &'a Spec, known: Vec<Series>) -> Self {
        let mut known: BTreeMap<Cell, Series> =
            known.into_iter().map(|series| (series.cell.clone(), series)).collect();
        let mut matrix = Self { spec, series: Vec::new(), answers: BTreeMap::new() };
        for cell in spec.cells() {
            let mut series = known.remove(&cell).unwrap_or_else(|| Series::new(cell));
            // What could not be done then may work now.
            series.unmeasured = None;
            if let Some(answer) = series.samples.iter().find_map(|sample| sample.answer.clone()) {
                matrix.answers.entry(series.cell.work()).or_insert(answer);
            }
            matrix.series.push(series);
        }
        matrix
    }

    fn taken(&self) -> usize {
        self.series.iter().map(|series| series.samples.len()).sum()
    }

    fn needs_more(&self, at: usize) -> bool {
        let Series { samples, unmeasured, .. } = &self.series[at];
        if unmeasured.is_some() || samples.len() >= self.spec.repeats {
            return false;
        }
        let sure = median_interval(&self.series[at].times())
            .is_some_and(|interval| interval.relative_error() <= self.spec.precision);
        samples.len() < FEWEST || !sure
    }

    /// The most runs that may still come.
    fn runs_left(&self) -> usize {
        let left = |at: usize| self.spec.repeats - self.series[at].samples.len().min(self.spec.repeats);
        (0..self.series.len()).filter(|&at| self.needs_more(at)).map(left).sum()
    }

    /// The same outcome, unless it is another answer than the same work gave elsewhere.
    fn checked(&mut self, at: usize, outcome: Outcome) -> Outcome {
        let Outcome::Measured(sample) = &outcome else { return outcome };
        let Some(answer) = &sample.answer else { return outcome };
        let expected = self.answers.entry(self.series[at].cell.work()).or_insert_with(|| answer.clone());
        if expected == answer {
            return outcome;
        }
        let reason = format!("wrong answer {answer}, not {expected}: a bug in Bifold, please report it");
        Outcome::Failed(reason)
    }
}

#[cfg(test)]
mod tests;
