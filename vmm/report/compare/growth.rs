//! The plot of a workload over growing memory: time of one operation against size, a line for each place.

use std::collections::BTreeMap;

use super::super::escape::Escaped;
use super::super::units::Nanos;
use super::plot::{MARGIN, WIDTH, dot, line, svg};
use super::scale::Scale;
use crate::compare::Row;
use crate::memory::Size;

/// Height of the lines' part, and where it starts and ends.
const TOP: f64 = 8.0;
const BOTTOM: f64 = 190.0;
/// Room for the names of times, on the left.
const LEFT: f64 = 58.0;
/// Height of a line of the legend.
const NAME: f64 = 18.0;
/// How many colours the page has for lines.
const COLOURS: usize = 6;

/// Sizes in bytes with the time of an operation in nanoseconds, by place.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// The plot of one workload's rows; `None` unless two sizes were measured.
pub fn plot(rows: &[&Row]) -> Option<String> {
    let mut lines = Lines::new();
    for row in rows {
        lines.entry(row.series.cell.place()).or_default().extend(point(row));
    }
    lines.retain(|_, points| points.len() >= 2);
    if lines.is_empty() {
        return None;
    }
    let points = || lines.values().flatten();
    let across = Scale::fit(points().map(|point| point.0), LEFT, WIDTH - LEFT - MARGIN);
    let up = Scale::fit(points().map(|point| point.1), BOTTOM, TOP - BOTTOM);
    let mut marks = axes(&across, &up, points().map(|point| point.0));
    for (number, (place, points)) in lines.iter_mut().enumerate() {
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let class = format!("series c{}", number % COLOURS);
        for pair in points.windows(2) {
            let [(x1, y1), (x2, y2)] = [pair[0], pair[1]].map(|(size, time)| (across.at(size), up.at(time)));
            marks += &line(&class, x1, y1, x2, y2);
        }
        for (size, time) in points {
            marks += &dot(&class, across.at(*size), up.at(*time), 3.5, &shown(*time));
        }
        let y = BOTTOM + 34.0 + number as f64 * NAME;
        marks += &line(&class, MARGIN, y, MARGIN + 22.0, y);
        marks += &format!(r#"<text x="{}" y="{:.1}">{}</text>"#, MARGIN + 30.0, y + 4.0, Escaped(place));
    }
    let height = BOTTOM + 34.0 + lines.len() as f64 * NAME;
    Some(svg("time of an operation against the memory worked on", height, &marks))
}

/// A row's size and its median time of an operation.
fn point(row: &Row) -> Option<(f64, f64)> {
    let size: Size = row.series.cell.axes.get("size")?.parse().ok()?;
    let operations = row.series.samples.iter().find_map(|sample| sample.operations)?;
    Some((size.bytes() as f64, row.median?.estimate / operations.max(1) as f64))
}

fn axes(across: &Scale, up: &Scale, sizes: impl Iterator<Item = f64>) -> String {
    let mut marks = String::new();
    for tick in up.ticks() {
        let y = up.at(tick);
        marks += &line("grid", LEFT, y, WIDTH - MARGIN, y);
        marks += &format!(
            r#"<text class="tick" text-anchor="end" x="{}" y="{:.1}">{}</text>"#,
            LEFT - 5.0,
            y + 4.0,
            shown(tick)
        );
    }
    let mut sizes: Vec<u64> = sizes.map(|size| size as u64).collect();
    sizes.sort_unstable();
    sizes.dedup();
    // Every size has its place; as many as do not touch each other have their names.
    let every = sizes.len().div_ceil(5);
    for &size in sizes.iter().step_by(every) {
        let (x, name) = (across.at(size as f64), Size::from_bytes(size).map(|size| size.to_string()));
        let (y, name) = (BOTTOM + 16.0, name.unwrap_or_default());
        marks += &format!(r#"<text class="tick" text-anchor="middle" x="{x:.1}" y="{y:.1}">{name}</text>"#);
    }
    marks
}

/// A time that may be less than a nanosecond.
fn shown(ns: f64) -> String {
    if ns < 10.0 { format!("{ns:.2} ns") } else { Nanos(ns as u64).to_string() }
}
