//! What a comparison comes to: each cell against its baseline, and a winner where the samples name one.

use std::collections::BTreeMap;

use super::cell::{Cell, Series};
use super::statistics::{CONFIDENCE, Difference, Interval, median_interval, ratio_interval};

/// All cells, and what they say.
#[derive(Debug)]
pub struct Comparison {
    /// A row for each cell, in the order of the comparison.
    pub rows: Vec<Row>,
    /// A line for each work: who wins, or why nobody does.
    pub conclusions: Vec<String>,
    /// What cells are compared with.
    pub baseline: String,
}

/// A cell.
#[derive(Debug)]
pub struct Row {
    /// What was measured of it.
    pub series: Series,
    /// The median with its interval; `None` with too few samples.
    pub median: Option<Interval>,
    /// How it compares with its baseline.
    pub standing: Standing,
}

/// A cell against its baseline.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Standing {
    /// It is the baseline.
    Baseline,
    /// The ratio of the medians: below 1 it is faster.
    Ratio(Interval, Difference),
    /// One of the two has too few samples.
    Unknown,
}

impl Comparison {
    /// Compares cells. The baseline of each is the cell with the values of `baseline` and otherwise its own.
    #[must_use]
    pub fn new(series: Vec<Series>, baseline: &[(&str, String)]) -> Self {
        let times: BTreeMap<Cell, Vec<f64>> =
            series.iter().map(|series| (series.cell.clone(), series.times())).collect();
        let conclusions = conclusions(&series, &times);
        let row = |series: Series| {
            let base = baseline_of(&series.cell, baseline);
            let standing = match times.get(&base) {
                _ if base == series.cell => Standing::Baseline,
                Some(base) => standing(&series.times(), base),
                None => Standing::Unknown,
            };
            Row { median: median_interval(&series.times()), series, standing }
        };
        let rows = series.into_iter().map(row).collect();
        let names = baseline.iter().map(|(axis, value)| format!("{axis}={value}"));
        Self { rows, conclusions, baseline: names.collect::<Vec<_>>().join(" ") }
    }
}

fn baseline_of(cell: &Cell, baseline: &[(&str, String)]) -> Cell {
    let mut base = cell.clone();
    for (axis, value) in baseline {
        base.axes.insert((*axis).to_owned(), value.clone());
    }
    base
}

fn standing(times: &[f64], base: &[f64]) -> Standing {
    match ratio_interval(times, base, CONFIDENCE) {
        Some(ratio) => Standing::Ratio(ratio, ratio.difference()),
        None => Standing::Unknown,
    }
}

/// For each work the cell that is faster than every other; where there is none, who shares the lead.
fn conclusions(series: &[Series], times: &BTreeMap<Cell, Vec<f64>>) -> Vec<String> {
    let mut works: Vec<String> = series.iter().map(|series| series.cell.work()).collect();
    works.dedup();
    let conclude = |work: String| {
        let cells = series.iter().map(|series| &series.cell).filter(|cell| cell.work() == work);
        let medians = cells.filter_map(|cell| {
            let median = median_interval(&times[cell])?.estimate;
            Some((cell, median))
        });
        let mut measured: Vec<(&Cell, f64)> = medians.collect();
        measured.sort_by(|one, other| one.1.total_cmp(&other.1));
        let Some((&(best, _), others)) = measured.split_first() else {
            return format!("{work}: nothing was measured");
        };
        let tied = others.iter().map(|(cell, _)| *cell).filter(|cell| {
            let ratio = ratio_interval(&times[best], &times[*cell], CONFIDENCE);
            ratio.is_none_or(|ratio| ratio.difference() != Difference::Faster)
        });
        let tied: Vec<String> = tied.map(Cell::place).collect();
        match (others, tied.as_slice()) {
            ([], _) => format!("{work}: only {} was measured", best.place()),
            (_, []) => format!("{work}: the winner is {}", best.place()),
            (_, [other]) => format!("{work}: no winner, {} and {other} cannot be told apart", best.place()),
            (_, [other, rest @ ..]) => {
                let (best, rest) = (best.place(), rest.len());
                format!("{work}: no winner, {best} cannot be told from {other} and {rest} more")
            }
        }
    };
    works.into_iter().map(conclude).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Sample;

    fn series(backing: &str, ratio: &str, around: u64) -> Series {
        let axes = [("backing", backing), ("ratio", ratio)];
        let axes = axes.map(|(axis, value)| (axis.to_owned(), value.to_owned())).into();
        let sample = |n| Sample { ns: around + n, ..Sample::default() };
        let samples = (0..10).map(sample).collect();
        Series { cell: Cell { workload: "sort".to_owned(), axes }, samples, unmeasured: None }
    }

    fn compare(series: &[Series], baseline: &[(&str, &str)]) -> Comparison {
        let baseline: Vec<_> = baseline.iter().map(|(axis, value)| (*axis, (*value).to_owned())).collect();
        Comparison::new(series.to_vec(), &baseline)
    }

    #[test]
    fn a_baseline_that_names_one_axis_is_each_rows_own_in_the_others() {
        let all = [
            series("4k", "1", 1000),
            series("thp", "1", 500),
            series("4k", "2", 4000),
            series("thp", "2", 2000),
        ];
        let rows = compare(&all, &[("backing", "4k")]).rows;
        let ratios = rows.iter().map(|row| match row.standing {
            Standing::Ratio(ratio, Difference::Faster) => (ratio.estimate * 10.0).round() as u64,
            _ => 0,
        });
        assert_eq!(ratios.collect::<Vec<_>>(), [0, 5, 0, 5]);
        assert_eq!(rows[0].standing, Standing::Baseline);
        assert_eq!(rows[2].standing, Standing::Baseline);
    }

    #[test]
    fn a_winner_is_named_only_where_it_beats_every_other() {
        let [one, two, far] = [series("4k", "1", 1000), series("4k", "2", 1001), series("thp", "1", 2000)];
        let won = compare(&[one.clone(), far.clone()], &[]).conclusions;
        assert_eq!(won, ["sort: the winner is backing=4k ratio=1"]);
        let tied = compare(&[one.clone(), two, far], &[]).conclusions;
        assert!(tied[0].contains("no winner") && tied[0].contains("cannot be told apart"), "{tied:?}");
        let mut empty = one;
        empty.samples.clear();
        assert!(compare(&[empty], &[]).conclusions[0].contains("nothing was measured"));
    }

    #[test]
    fn a_baseline_that_was_not_measured_gives_no_ratio() {
        let mut base = series("4k", "1", 1000);
        base.samples.clear();
        let rows = compare(&[base, series("thp", "1", 500)], &[("backing", "4k")]).rows;
        assert_eq!(rows[1].standing, Standing::Unknown);
    }
}
