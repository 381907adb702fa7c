//! The plots of a comparison, as SVG inside the page. Their units are pixels of a narrow screen, on which
//! letters are then as large as the page's; on a wide one the page lets them grow. Colours are the page's.

use std::fmt::Write;

use super::super::escape::Escaped;
use super::super::units::Nanos;
use super::scale::Scale;
use crate::compare::{Interval, Row, Standing};

/// Width of every plot.
pub const WIDTH: f64 = 340.0;
/// Height of one row of a plot: a line of text, and below it the marks.
const ROW: f64 = 36.0;
/// Where rows start, and how much the axis below them takes.
const TOP: f64 = 6.0;
const AXIS: f64 = 26.0;
/// What stays free on both sides.
pub const MARGIN: f64 = 12.0;

/// The ratios of one work to their baseline: a mark each, and a bar for the interval. `None` if there is
/// none.
pub fn ratios(rows: &[&Row]) -> Option<String> {
    let ratio = |row: &Row| match row.standing {
        Standing::Ratio(interval, _) => Some(interval),
        Standing::Baseline if row.median.is_some() => Some(Interval { low: 1.0, estimate: 1.0, high: 1.0 }),
        _ => None,
    };
    let shown: Vec<(&Row, Interval)> = rows.iter().filter_map(|&row| Some((row, ratio(row)?))).collect();
    if shown.len() < 2 {
        return None;
    }
    let ends = shown.iter().flat_map(|(_, interval)| [interval.low, interval.high]);
    let scale = Scale::fit(ends, MARGIN, WIDTH - 2.0 * MARGIN);
    let mut marks = line("zero", scale.at(1.0), TOP, scale.at(1.0), bottom(shown.len()));
    for (number, (row, ratio)) in shown.iter().enumerate() {
        let y = label(&mut marks, number, row);
        marks += &line("bar", scale.at(ratio.low), y, scale.at(ratio.high), y);
        marks += &dot("mark", scale.at(ratio.estimate), y, 4.5, &ratio.to_string());
    }
    let axis = axis(&scale, shown.len(), |tick| format!("{tick}x"));
    Some(svg(
        "ratio of medians to the baseline, 99% confidence",
        bottom(shown.len()) + AXIS,
        &(axis + &marks),
    ))
}

/// Every sample of one work, and its median. `None` if there are none.
pub fn samples(rows: &[&Row]) -> Option<String> {
    let shown: Vec<&Row> = rows.iter().copied().filter(|row| !row.series.samples.is_empty()).collect();
    if shown.is_empty() {
        return None;
    }
    let times = shown.iter().flat_map(|row| row.series.times());
    let scale = Scale::fit(times, MARGIN, WIDTH - 2.0 * MARGIN);
    let mut marks = String::new();
    for (number, row) in shown.iter().enumerate() {
        let y = label(&mut marks, number, row);
        for time in row.series.times() {
            marks += &dot("sample", scale.at(time), y, 3.0, &Nanos(time as u64).to_string());
        }
        if let Some(median) = row.median {
            let x = scale.at(median.estimate);
            marks += &line("median", x, y - 8.0, x, y + 8.0);
        }
    }
    let axis = axis(&scale, shown.len(), |tick| Nanos(tick as u64).to_string());
    Some(svg("every sample, and the median", bottom(shown.len()) + AXIS, &(axis + &marks)))
}

/// Writes a row's name and returns where its marks go.
fn label(marks: &mut String, number: usize, row: &Row) -> f64 {
    let top = TOP + number as f64 * ROW;
    let cell = &row.series.cell;
    let name = if cell.place().is_empty() { cell.work() } else { cell.place() };
    // Writing to a string does not fail.
    let _ = write!(marks, r#"<text x="{MARGIN}" y="{:.1}">{}</text>"#, top + 12.0, Escaped(&name));
    top + 23.0
}

fn bottom(rows: usize) -> f64 {
    TOP + rows as f64 * ROW
}

/// A line of a class of the page's.
pub fn line(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#)
}

/// A mark that says its value when it is pointed at.
pub fn dot(class: &str, x: f64, y: f64, radius: f64, value: &str) -> String {
    format!(
        r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"><title>{}</title></circle>"#,
        Escaped(value)
    )
}

fn axis(scale: &Scale, rows: usize, name: impl Fn(f64) -> String) -> String {
    let bottom = bottom(rows);
    let tick = |value: f64| {
        let x = scale.at(value);
        // The outer names stay inside the plot.
        let anchor = match x {
            x if x < WIDTH * 0.12 => "start",
            x if x > WIDTH * 0.88 => "end",
            _ => "middle",
        };
        let name = name((value * 1e6).round() / 1e6);
        let text = format!(
            r#"<text class="tick" text-anchor="{anchor}" x="{x:.1}" y="{:.1}">{name}</text>"#,
            bottom + 16.0
        );
        line("grid", x, TOP, x, bottom) + &text
    };
    scale.ticks().into_iter().map(tick).collect()
}

/// A plot with its title.
pub fn svg(title: &str, height: f64, marks: &str) -> String {
    format!(
        r#"<figure><figcaption>{title}</figcaption><svg role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {height}">{marks}</svg></figure>"#
    )
}
