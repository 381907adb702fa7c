//! What a replay prints: faults by number of frames and policy, with the distance to OPT.

use std::fmt;
use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use paging::replay::Tally;
use serde::Serialize;

use super::units::Count;

/// A replay, for people and for programs.
#[derive(Debug, Serialize)]
pub struct ReplayReport {
    /// The trace's file.
    pub trace: String,
    /// The level that it is of, where it says so.
    pub level: Option<&'static str>,
    /// How many references it holds.
    pub references: u64,
    /// How many pages these are to: the faults that no number of frames saves.
    pub pages: u32,
    /// One for each number of frames, in the order asked for.
    pub rows: Vec<Row>,
}

/// What one number of frames gives.
#[derive(Debug, Serialize)]
pub struct Row {
    /// How many pages fit.
    pub frames: u32,
    /// One for each policy, in the same order in every row; OPT is the last.
    pub policies: Vec<Outcome>,
}

/// What one policy costs with one number of frames.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub policy: &'static str,
    /// Pages brought in.
    pub faults: u64,
    /// Pages written out.
    pub writes: u64,
    /// Faults beyond OPT's, as a part of these: 0.5 is half as many again.
    pub over_opt: f64,
}

impl Row {
    /// The last of `tallies` is OPT's.
    #[must_use]
    pub fn new(frames: u32, tallies: &[(&'static str, Tally)]) -> Self {
        let least = tallies.last().map_or(0, |(_, opt)| opt.faults);
        let over = |faults: u64| (faults - least.min(faults)) as f64 / least.max(1) as f64;
        let policies = tallies
            .iter()
            .map(|&(policy, Tally { faults, writes })| Outcome {
                policy,
                faults,
                writes,
                over_opt: over(faults),
            })
            .collect();
        Self { frames, policies }
    }
}

/// More frames and yet more faults: Belady's anomaly.
struct Anomaly {
    policy: &'static str,
    fewer: (u32, u64),
    more: (u32, u64),
}

impl ReplayReport {
    /// Writes it as one JSON object.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_json(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut to, self)?;
        to.write_all(b"\n")
    }

    /// Writes a line for each number of frames and policy, under a line of names.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_csv(&self, to: impl Write) -> io::Result<()> {
        let mut to = io::BufWriter::new(to);
        writeln!(to, "frames,policy,faults,writes,over_opt")?;
        for Row { frames, policies } in &self.rows {
            for Outcome { policy, faults, writes, over_opt } in policies {
                writeln!(to, "{frames},{policy},{faults},{writes},{over_opt:.6}")?;
            }
        }
        to.flush()
    }

    /// The first anomaly of each policy that has one.
    fn anomalies(&self) -> Vec<Anomaly> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.frames);
        let policies = rows.first().map_or(0, |row| row.policies.len());
        let first_of = |index: usize| {
            rows.windows(2).find_map(|pair| {
                let [fewer, more] = [0, 1].map(|n| (pair[n].frames, pair[n].policies[index].faults));
                let policy = pair[0].policies[index].policy;
                (more.1 > fewer.1).then_some(Anomaly { policy, fewer, more })
            })
        };
        (0..policies).filter_map(first_of).collect()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let names = self.rows.iter().take(1).flat_map(|row| &row.policies).map(|outcome| outcome.policy);
        table.set_header(std::iter::once("frames").chain(names));
        for row in &self.rows {
            let frames = Count(row.frames.into()).to_string();
            table.add_row(std::iter::once(frames).chain(row.policies.iter().map(cell)));
        }
        table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }
}

fn cell(outcome: &Outcome) -> String {
    let faults = Count(outcome.faults);
    if outcome.policy == "opt" {
        return faults.to_string();
    }
    format!("{faults} {:>+4.0}%", outcome.over_opt * 100.0)
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.map(|level| format!(", recorded at the {level}'s level")).unwrap_or_default();
        let (references, pages) = (Count(self.references), Count(self.pages.into()));
        writeln!(f, "{}: {references} references to {pages} pages{level}", self.trace)?;
        writeln!(f, "Faults, and how many more than OPT's:\n\n{}", self.table())?;
        for (index, Anomaly { policy, fewer, more }) in self.anomalies().iter().enumerate() {
            let [few, many] = [fewer, more].map(|&(frames, faults)| (Count(frames.into()), Count(faults)));
            let gap = if index == 0 { "\n" } else { "" };
            writeln!(
                f,
                "{gap}Belady's anomaly: {policy} has {} faults with {} frames, and {} with {}.",
                few.1, few.0, many.1, many.0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: &[(u32, u64, u64)]) -> ReplayReport {
        let tally = |faults| Tally { faults, writes: 0 };
        let row = |&(frames, fifo, opt)| Row::new(frames, &[("fifo", tally(fifo)), ("opt", tally(opt))]);
        let rows = rows.iter().map(row).collect();
        ReplayReport { trace: "t".to_owned(), level: None, references: 12, pages: 5, rows }
    }

    #[test]
    fn a_distance_is_a_part_of_opts_faults() {
        let text = report(&[(3, 9, 6)]).to_string();
        assert!(text.lines().any(|line| line.split_whitespace().eq(["3", "9", "+50%", "6"])), "{text}");
    }

    #[test]
    fn an_anomaly_is_named_whatever_the_order_of_the_rows() {
        let named = report(&[(4, 10, 6), (3, 9, 7)]).to_string();
        assert!(named.contains("fifo has 9 faults with 3 frames, and 10 with 4."), "{named}");
        assert!(!report(&[(3, 9, 7), (4, 9, 6)]).to_string().contains("anomaly"));
    }

    #[test]
    fn csv_has_a_line_for_each_number_of_frames_and_policy() {
        let mut bytes = Vec::new();
        report(&[(3, 9, 7)]).write_csv(&mut bytes).unwrap();
        let expected = "frames,policy,faults,writes,over_opt\n3,fifo,9,0,0.285714\n3,opt,7,0,0.000000\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
