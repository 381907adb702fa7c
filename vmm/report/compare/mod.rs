//! What a comparison prints: a table for the terminal, for Markdown and for HTML, and CSV.

mod csv;
mod growth;
mod html;
mod plot;
mod scale;

use std::fmt;
use std::io::{self, Write};

use comfy_table::{Table, presets};

use super::units::{Count, Nanos};
use crate::compare::{Cell, Comparison, Difference, Header, Row, Standing, Unmeasured};

/// A comparison, and what it was made on.
#[derive(Debug)]
pub struct ComparisonReport {
    /// The cells and what they say.
    pub comparison: Comparison,
    /// The host and the program.
    pub header: Header,
    /// How far a median's interval may reach from it, as a part of it.
    pub precision: f64,
}

impl ComparisonReport {
    /// The names of the columns.
    fn columns(&self) -> Vec<String> {
        let axes = self.comparison.rows.first().map(|row| row.series.cell.values()).unwrap_or_default();
        let axes = axes.iter().map(|(axis, _)| (*axis).to_owned());
        let measured =
            ["samples", "median", "99% CI", "guest faults", "host faults", "vs baseline", "verdict"];
        std::iter::once("workload".to_owned()).chain(axes).chain(measured.map(str::to_owned)).collect()
    }

    /// A row's text, one for each column.
    fn texts(row: &Row) -> Vec<String> {
        let Row { series, median, standing } = row;
        let values = series.cell.values().into_iter().map(|(_, value)| value.to_owned());
        let faults = |level: fn(&crate::compare::Sample) -> Option<u64>| {
            let counts: Vec<f64> =
                series.samples.iter().filter_map(level).map(|faults| faults as f64).collect();
            if counts.is_empty() {
                return String::new();
            }
            Count(crate::compare::median(&counts) as u64).to_string()
        };
        let measured = [
            series.samples.len().to_string(),
            median.map(|median| Nanos(median.estimate as u64).to_string()).unwrap_or_default(),
            median.map(|median| format!("±{:.1}%", median.relative_error() * 100.0)).unwrap_or_default(),
            faults(|sample| sample.guest_faults),
            faults(|sample| sample.host_faults),
            times(standing),
            verdict(row).to_owned(),
        ];
        std::iter::once(series.cell.workload.clone()).chain(values).chain(measured).collect()
    }

    /// Lines below the table: what cells are compared with, winners, and cells that are less sure than was
    /// asked for.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.comparison.baseline.is_empty() {
            let base = &self.comparison.baseline;
            notes.push(format!(
                "vs baseline: the ratio of medians to that of {base}, with its 99% confidence interval; below 1 is faster"
            ));
        }
        notes.extend(self.comparison.conclusions.iter().cloned());
        let unsure = |row: &&Row| row.median.is_some_and(|median| median.relative_error() > self.precision);
        let unsure = self.comparison.rows.iter().filter(unsure).count();
        if unsure > 0 {
            let asked = self.precision * 100.0;
            notes.push(format!(
                "{unsure} of {} medians are less sure than {asked}%: give --repeats, or a quieter machine",
                self.comparison.rows.len()
            ));
        }
        notes.extend(self.reasons());
        notes
    }

    /// Why cells were not measured: each reason once, with the first cell that it holds for.
    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<(&Unmeasured, &Cell, usize)> = Vec::new();
        for row in &self.comparison.rows {
            let Some(why) = &row.series.unmeasured else { continue };
            match reasons.iter_mut().find(|(known, ..)| *known == why) {
                Some((.., others)) => *others += 1,
                None => reasons.push((why, &row.series.cell, 0)),
            }
        }
        let line = |(why, cell, others): (&Unmeasured, &Cell, usize)| {
            let what = if why.refused { "not possible here" } else { "failed" };
            let others = if others > 0 { format!(" (and {others} more)") } else { String::new() };
            format!("{what}: {cell}{others}: {}", why.reason)
        };
        reasons.into_iter().map(line).collect()
    }

    /// What was measured, where.
    fn setting(&self) -> Vec<(&'static str, String)> {
        let Header { version, cpu, kernel, second_level, ram, command, .. } = &self.header;
        let mut setting = vec![
            ("Bifold", version.clone()),
            ("CPU", cpu.clone()),
            ("host's kernel", format!("Linux {kernel}")),
            ("second level", second_level.clone()),
            ("guest RAM", format!("{} MiB", ram >> 20)),
        ];
        if !command.is_empty() {
            setting.push(("program", command.join(" ")));
        }
        setting
    }

    /// Writes it as Markdown, for the summary page of a CI system.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_markdown(&self, to: impl Write) -> io::Result<()> {
        let mut to = io::BufWriter::new(to);
        let line = |cells: Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |", cells.join(" | "))
        };
        writeln!(to, "### bifold compare\n")?;
        let columns = self.columns();
        let rule = vec!["---".to_owned(); columns.len()];
        writeln!(to, "{}\n{}", line(columns), line(rule))?;
        for row in &self.comparison.rows {
            writeln!(to, "{}", line(Self::texts(row)))?;
        }
        writeln!(to)?;
        self.notes().iter().try_for_each(|note| writeln!(to, "- {note}"))?;
        let setting = self.setting().into_iter().map(|(name, value)| format!("{name} {value}"));
        writeln!(to, "\n{}", setting.collect::<Vec<_>>().join("; "))?;
        to.flush()
    }

    /// Writes every sample as CSV, under a line of names.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_csv(&self, to: impl Write) -> io::Result<()> {
        csv::write(&self.comparison.rows, to)
    }

    /// Writes it as one HTML page that needs nothing else: no script, no network.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_html(&self, to: impl Write) -> io::Result<()> {
        html::write(self, to)
    }
}

fn times(standing: &Standing) -> String {
    match standing {
        Standing::Ratio(ratio, _) => ratio.to_string(),
        Standing::Baseline => "1".to_owned(),
        Standing::Unknown => String::new(),
    }
}

fn verdict(row: &Row) -> &'static str {
    if let Some(why) = &row.series.unmeasured {
        return if why.refused { "not possible" } else { "failed" };
    }
    match row.standing {
        Standing::Baseline => "baseline",
        Standing::Unknown if row.median.is_none() => "too few samples",
        Standing::Unknown => "no baseline",
        Standing::Ratio(_, Difference::Faster) => "faster",
        Standing::Ratio(_, Difference::Slower) => "slower",
        Standing::Ratio(_, Difference::None) => "no difference",
    }
}

impl fmt::Display for ComparisonReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(self.columns());
        for row in &self.comparison.rows {
            table.add_row(Self::texts(row));
        }
        writeln!(f, "{}\n", table.trim_fmt())?;
        self.notes().iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

#[cfg(test)]
mod tests;
