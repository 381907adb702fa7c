//! New samples against old ones: has anything become slower?

use super::cell::{Cell, Series};
use super::journal::Record;
use super::statistics::{Difference, Interval, ratio_interval};

/// How often, of all checks where nothing has changed, one may raise the alarm, however many cells it has.
const FALSE_ALARMS: f64 = 0.01;

/// What a check comes to.
#[derive(Debug)]
pub struct Check {
    /// One for each cell of the old samples, and then those that are new.
    pub cells: Vec<Checked>,
    /// What makes the two hard to compare, such as another CPU.
    pub warnings: Vec<String>,
}

/// One cell.
#[derive(Debug)]
pub struct Checked {
    /// Which.
    pub cell: Cell,
    /// What became of it.
    pub finding: Finding,
}

/// What became of a cell.
#[derive(Clone, PartialEq, Debug)]
pub enum Finding {
    /// It takes longer: new by old.
    Slower(Interval),
    /// It takes less.
    Faster(Interval),
    /// The samples show no difference, or none that matters.
    Same(Interval),
    /// It was measured before and failed now: what happened.
    Failed(String),
    /// It is on one side only, or has too few samples: why.
    Skipped(String),
}

impl Check {
    /// Compares new samples with old ones. Differences up to `tolerance`, a part of the old time, do not
    /// matter.
    #[must_use]
    pub fn new(old: &Record, new: &Record, tolerance: f64) -> Self {
        let of =
            |record: &Record, cell: &Cell| record.series.iter().find(|series| series.cell == *cell).cloned();
        let only_new = new.series.iter().filter(|series| of(old, &series.cell).is_none());
        let cells: Vec<&Cell> = old.series.iter().chain(only_new).map(|series| &series.cell).collect();
        // Bonferroni: all cells together raise no more false alarms than one would.
        let confidence = 1.0 - FALSE_ALARMS / cells.len().max(1) as f64;
        let checked = |cell: &Cell| {
            let finding = match (of(old, cell), of(new, cell)) {
                (Some(old), Some(new)) => finding(&old, &new, confidence, tolerance),
                (Some(_), None) => Finding::Skipped("not in the new samples".to_owned()),
                _ => Finding::Skipped("not in the old samples".to_owned()),
            };
            Checked { cell: cell.clone(), finding }
        };
        Self { cells: cells.into_iter().map(checked).collect(), warnings: warnings(old, new) }
    }

    /// Whether something became slower, or fails that did not.
    #[must_use]
    pub fn has_regressed(&self) -> bool {
        self.cells.iter().any(|checked| matches!(checked.finding, Finding::Slower(_) | Finding::Failed(_)))
    }
}

fn finding(old: &Series, new: &Series, confidence: f64, tolerance: f64) -> Finding {
    match &new.unmeasured {
        Some(why) if !why.refused && old.unmeasured.is_none() => return Finding::Failed(why.reason.clone()),
        Some(why) => return Finding::Skipped(why.reason.clone()),
        None => {}
    }
    let Some(ratio) = ratio_interval(&new.times(), &old.times(), confidence) else {
        return Finding::Skipped("too few samples".to_owned());
    };
    match ratio.difference() {
        Difference::Slower if ratio.estimate > 1.0 + tolerance => Finding::Slower(ratio),
        Difference::Faster if ratio.estimate < 1.0 - tolerance => Finding::Faster(ratio),
        _ => Finding::Same(ratio),
    }
}

fn warnings(old: &Record, new: &Record) -> Vec<String> {
    let pairs = [
        ("CPU", &old.header.cpu, &new.header.cpu),
        ("kernel", &old.header.kernel, &new.header.kernel),
        ("second level", &old.header.second_level, &new.header.second_level),
    ];
    let differ = pairs.into_iter().filter(|(_, old, new)| old != new);
    let mut warnings: Vec<String> =
        differ.map(|(what, old, new)| format!("another {what}: {old} before, {new} now")).collect();
    if (old.header.ram, old.header.swap) != (new.header.ram, new.header.swap) {
        warnings.push("another --ram or --swap".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Header, Sample, Unmeasured};

    fn record(cells: &[(&str, &[u64])]) -> Record {
        let series = cells.iter().map(|(name, times)| Series {
            cell: Cell { workload: (*name).to_owned(), axes: [].into() },
            samples: times.iter().map(|&ns| Sample { ns, ..Sample::default() }).collect(),
            unmeasured: None,
        });
        let header = Header {
            version: String::new(),
            bifold: String::new(),
            program: String::new(),
            command: Vec::new(),
            cpu: "c".to_owned(),
            kernel: String::new(),
            second_level: String::new(),
            ram: 1,
            swap: None,
        };
        Record { header, series: series.collect() }
    }

    const OLD: &[u64] = &[1000, 1003, 1001, 1002, 999, 1004, 998, 1000, 1001, 1000];

    fn times(factor: f64) -> Vec<u64> {
        OLD.iter().map(|&ns| (ns as f64 * factor) as u64).collect()
    }

    fn check(new: &[u64], tolerance: f64) -> Check {
        Check::new(&record(&[("sort", OLD)]), &record(&[("sort", new)]), tolerance)
    }

    #[test]
    fn a_slowdown_that_matters_is_a_regression_and_nothing_else_is() {
        assert!(check(&times(1.05), 0.02).has_regressed());
        assert!(!check(OLD, 0.0).has_regressed(), "the same samples");
        let small = check(&times(1.015), 0.02);
        assert!(matches!(small.cells[0].finding, Finding::Same(_)), "{small:?}");
        assert!(check(&times(1.015), 0.0).has_regressed(), "no tolerance");
        let faster = check(&times(0.9), 0.02);
        assert!(matches!(faster.cells[0].finding, Finding::Faster(_)), "{faster:?}");
        assert!(!faster.has_regressed());
        assert!(!check(&times(2.0)[..3], 0.0).has_regressed(), "too few to say");
    }

    #[test]
    fn cells_of_one_side_are_named_and_a_new_failure_is_a_regression() {
        let (old, mut new) = (record(&[("a", OLD), ("b", OLD)]), record(&[("b", &[]), ("c", OLD)]));
        let why = |refused| Some(Unmeasured { refused, reason: "it crashed".to_owned() });
        new.series[0].unmeasured = why(false);
        let checked = Check::new(&old, &new, 0.0);
        let names: Vec<&str> = checked.cells.iter().map(|checked| checked.cell.workload.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(checked.cells[1].finding, Finding::Failed("it crashed".to_owned()));
        assert!(checked.has_regressed());
        new.series[0].unmeasured = why(true);
        assert!(!Check::new(&old, &new, 0.0).has_regressed(), "another host may lack something");
    }

    #[test]
    fn another_machine_is_said() {
        let (old, mut new) = (record(&[]), record(&[]));
        new.header.cpu = "d".to_owned();
        assert_eq!(Check::new(&old, &new, 0.0).warnings, ["another CPU: c before, d now"]);
    }
}
