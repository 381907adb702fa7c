//! Exact counts: a job under the clock that counts instructions.
//!
//! One instruction is one nanosecond there, for the emulated host and for the guest on it. So no marks are needed:
//! every duration that the pagers measure and `run` reports is a count of instructions. What differs from an earlier
//! count differs because the software does, not because of noise.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Machine;
use super::{Job, LabError, run_to_end};

/// Durations of the report that are no phases: the tail says where the emulated host's scheduler stepped in, which
/// moves with every change.
const TAIL: &[&str] = &["p99_ns", "max_ns"];
/// By how much a count may grow over its baseline, in percent.
const TOLERANCE_PERCENT: u64 = 2;

/// Instructions by phase: `command` is the whole process, the others are the durations of its report.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, u64>);

/// Runs a bifold command under the exact clock and returns its exit status and counts.
///
/// # Errors
/// Those of [`super::run`].
pub fn count(mut arguments: Vec<String>, timeout: Duration) -> Result<(u8, Counts), LabError> {
    if arguments.first().is_some_and(|first| first == "run") {
        arguments.insert(1, format!("--json={}", lab_init::Spec::REPORT));
    }
    count_job(Job::bifold(arguments)?, Vec::new(), timeout)
}

/// Runs a program on the lab's own Linux under the exact clock, to compare with. Its kernel does nothing against the CPU's
/// flaws: what that costs is not what is compared.
///
/// # Errors
/// Those of [`super::run`].
pub fn count_linux(command: Vec<String>, timeout: Duration) -> Result<(u8, Counts), LabError> {
    count_job(
        Job::linux(command)?,
        ["mitigations=off", "transparent_hugepage=never"].map(str::to_owned).to_vec(),
        timeout,
    )
}

fn count_job(
    mut job: Job,
    kernel_parameters: Vec<String>,
    timeout: Duration,
) -> Result<(u8, Counts), LabError> {
    // Input arrives when it does: nothing that it starts would be the same twice.
    job.stdin = false;
    job.count = true;
    let machine = Machine { cpus: 1, exact_clock: true, kernel_parameters, ..Machine::default() };
    let ended = run_to_end(&machine, job, Some(timeout))?;
    let mut counts = Counts::default();
    for (ns, report) in ended.taken {
        counts.0.insert("command".to_owned(), ns);
        // Without a report, as from a command other than `run`, there is only the whole.
        let report = serde_json::from_slice(&report).unwrap_or(Value::Null);
        counts.take(&mut Vec::new(), &report);
    }
    Ok((ended.status, counts))
}

impl Counts {
    /// Adds every number of a report whose name says that it is a duration, named by the way to it.
    fn take<'a>(&mut self, way: &mut Vec<&'a str>, value: &'a Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    way.push(name);
                    self.take(way, value);
                    way.pop();
                }
            }
            Value::Number(_) if way.last().is_some_and(|name| TAIL.contains(name)) => {}
            Value::Number(number) => {
                let name = way.join(".");
                if let (Some(name), Some(number @ 1..)) = (name.strip_suffix("_ns"), number.as_u64()) {
                    self.0.insert(name.to_owned(), number);
                }
            }
            _ => {}
        }
    }

    /// Reads what [`Counts::save`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        let text = std::fs::read(path).map_err(LabError::file("read", path))?;
        serde_json::from_slice(&text)
            .map_err(|error| LabError::Baseline { path: path.to_owned(), reason: error.to_string() })
    }

    /// Writes them as one JSON object, a line a phase.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LabError> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| std::fs::write(path, text + "\n")).map_err(LabError::file("write", path))
    }

    /// The phases that take more than 2% more than in `baseline`.
    #[must_use]
    pub fn grown(&self, baseline: &Self) -> Vec<&str> {
        let over = |now: u64, before: u64| {
            u128::from(now) * 100 > u128::from(before) * u128::from(100 + TOLERANCE_PERCENT)
        };
        let known =
            self.0.iter().filter_map(|(name, &now)| Some((name.as_str(), now, *baseline.0.get(name)?)));
        known.filter(|&(_, now, before)| over(now, before)).map(|(name, ..)| name).collect()
    }

    /// A line a phase, with the baseline and the change if there is one.
    #[must_use]
    pub fn table(&self, baseline: Option<&Self>) -> String {
        let mut table = String::new();
        for (name, now) in &self.0 {
            // Writing to a string does not fail.
            let _ = write!(table, "{name:<40} {now:>14}");
            if let Some(before) = baseline.and_then(|baseline| baseline.0.get(name)) {
                let change = i128::from(*now) - i128::from(*before);
                let _ = write!(table, " {before:>14} {change:>+12}");
            }
            table.push('\n');
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(phases: &[(&str, u64)]) -> Counts {
        Counts(phases.iter().map(|&(name, count)| (name.to_owned(), count)).collect())
    }

    #[test]
    fn the_durations_of_a_report_are_the_phases() {
        let report = serde_json::json!({
            "ram": 1 << 20, "elapsed_ns": 700, "none_ns": null,
            "guest": { "faults": 3, "minor": { "mean_ns": 40, "p99_ns": 90 }, "major": { "mean_ns": 0 } },
        });
        let mut taken = Counts::default();
        taken.take(&mut Vec::new(), &report);
        assert_eq!(taken, counts(&[("elapsed", 700), ("guest.minor.mean", 40)]));
    }

    #[test]
    fn growth_over_two_percent_is_named() {
        let baseline = counts(&[("a", 1000), ("b", 1000), ("c", 1000), ("gone", 1)]);
        let now = counts(&[("a", 1020), ("b", 1021), ("c", 10), ("new", 9)]);
        assert_eq!(now.grown(&baseline), ["b"]);
        let table = now.table(Some(&baseline));
        assert!(table.lines().any(|line| line.split_whitespace().eq(["c", "10", "1000", "-990"])), "{table}");
    }

    #[test]
    fn a_saved_baseline_is_read_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("counts.json");
        let saved = counts(&[("a", 1)]);
        saved.save(&path).expect("a file");
        assert_eq!(Counts::load(&path).expect("what was written"), saved);
        std::fs::write(&path, "[1]").expect("a file");
        assert!(Counts::load(&path).is_err_and(|error| error.to_string().contains("is no baseline")));
    }
}
