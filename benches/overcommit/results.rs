//! The table: for each pass and row the median time of a visit, and its ratio to the medium's baselines.

use std::collections::BTreeMap;
use std::fmt;

use crate::Options;
use crate::contender::{Contender, Measured, Pass};

/// What was measured.
pub struct Results {
    title: String,
    rows: Vec<Contender>,
    /// The passes, in the program's order.
    passes: Vec<String>,
    /// Microseconds a visit, by row and pass.
    samples: BTreeMap<(&'static str, String), Vec<f64>>,
    /// The most that was resident in any run, in MiB.
    peaks: BTreeMap<&'static str, u64>,
    /// Why a row could not be measured.
    failures: BTreeMap<&'static str, String>,
}

impl Results {
    pub fn new(options: &Options) -> Self {
        let Options { size, budget, pairs, .. } = options;
        Self {
            title: format!("{size} MiB touched, {budget} MiB resident, medians of {pairs} runs"),
            rows: options.rows.clone(),
            passes: Vec::new(),
            samples: BTreeMap::new(),
            peaks: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Whether the row did not fail yet.
    pub fn is_possible(&self, row: &Contender) -> bool {
        !self.failures.contains_key(row.name)
    }

    pub fn add(&mut self, row: &Contender, run: Result<Measured, String>) {
        let Measured { passes, peak } = match run {
            Ok(measured) => measured,
            Err(reason) => return drop(self.failures.insert(row.name, reason)),
        };
        if let Some(peak) = peak {
            let highest = self.peaks.entry(row.name).or_default();
            *highest = peak.max(*highest);
        }
        for Pass { pass, visits, ns } in passes {
            if !self.passes.contains(&pass) {
                self.passes.push(pass.clone());
            }
            self.samples.entry((row.name, pass)).or_default().push(ns as f64 / 1000.0 / visits as f64);
        }
    }

    fn median(&self, row: &Contender, pass: &str) -> Option<f64> {
        let mut samples = self.samples.get(&(row.name, pass.to_owned()))?.clone();
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        Some(if samples.len() % 2 == 1 {
            samples[middle]
        } else {
            (samples[middle - 1] + samples[middle]) / 2.0
        })
    }

    /// The median's ratio to that of the row whose name begins with `baseline` and that has the same medium.
    fn ratio(&self, row: &Contender, pass: &str, baseline: &str) -> String {
        let of = |other: &&Contender| other.medium == row.medium && other.name.starts_with(baseline);
        let baseline = self.rows.iter().find(of).and_then(|other| self.median(other, pass));
        match (self.median(row, pass), baseline) {
            (Some(own), Some(baseline)) => format!("{:.2}", own / baseline),
            _ => "-".to_owned(),
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "{:<11} {:<16} {:>9} {:>10} {:>10} {:>10}",
            "pass", "row", "us a page", "pages/s", "/ native", "/ kernel"
        )?;
        for pass in &self.passes {
            for row in &self.rows {
                let Some(median) = self.median(row, pass) else { continue };
                let [native, kernel] = ["native", "kernel"].map(|baseline| self.ratio(row, pass, baseline));
                writeln!(
                    f,
                    "{pass:<11} {:<16} {median:>9.2} {:>10.0} {native:>10} {kernel:>10}",
                    row.name,
                    1e6 / median
                )?;
            }
        }
        let peaks: Vec<_> = self.peaks.iter().map(|(row, peak)| format!("{row} {peak}")).collect();
        if !peaks.is_empty() {
            writeln!(f, "most of guest RAM resident, MiB: {}", peaks.join(", "))?;
        }
        self.failures.iter().try_for_each(|(row, reason)| writeln!(f, "{row}: not measured: {reason}"))
    }
}
