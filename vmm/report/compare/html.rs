//! A comparison as a page: what it says, the table, and two plots for each work.

use std::io::{self, Write};

use super::super::escape::Escaped;
use super::{ComparisonReport, growth, plot};
use crate::compare::Row;

/// Light and dark as the reader's system has it. A wide table scrolls in its box, and plots stand side by
/// side where there is room.
const STYLE: &str = include_str!("page.css");

/// Writes the page.
pub fn write(report: &ComparisonReport, to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    writeln!(to, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(to, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    // An icon of its own: the browser then asks nobody for one.
    writeln!(to, "<link rel=\"icon\" href=\"data:,\">\n<title>bifold compare</title>")?;
    writeln!(to, "<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>bifold compare</h1>")?;
    writeln!(to, "<ul class=\"notes\">")?;
    for note in report.notes() {
        writeln!(to, "<li>{}</li>", Escaped(&note))?;
    }
    writeln!(to, "</ul>")?;
    write_table(report, &mut to)?;
    write_plots(report, &mut to)?;
    writeln!(to, "<h2>Where</h2>\n<dl>")?;
    for (name, value) in report.setting() {
        writeln!(to, "<dt>{name}</dt><dd>{}</dd>", Escaped(&value))?;
    }
    writeln!(to, "</dl>\n</body>\n</html>")?;
    to.flush()
}

fn write_table(report: &ComparisonReport, to: &mut impl Write) -> io::Result<()> {
    write!(to, "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>")?;
    for column in report.columns() {
        write!(to, "<th>{}</th>", Escaped(&column))?;
    }
    writeln!(to, "</tr></thead>\n<tbody>")?;
    for row in &report.comparison.rows {
        write!(to, "<tr class=\"{}\">", super::verdict(row).replace(' ', "-"))?;
        for text in &ComparisonReport::texts(row) {
            write!(to, "<td>{}</td>", Escaped(text))?;
        }
        writeln!(to, "</tr>")?;
    }
    writeln!(to, "</tbody>\n</table></div>")
}

fn write_plots(report: &ComparisonReport, to: &mut impl Write) -> io::Result<()> {
    let mut workloads: Vec<&str> =
        report.comparison.rows.iter().map(|row| row.series.cell.workload.as_str()).collect();
    workloads.dedup();
    for workload in workloads {
        let rows: Vec<&Row> =
            report.comparison.rows.iter().filter(|row| row.series.cell.workload == workload).collect();
        if let Some(plot) = growth::plot(&rows) {
            writeln!(to, "<h2>{}, growing</h2>\n<div class=\"plots\">{plot}</div>", Escaped(workload))?;
        }
    }
    let mut works: Vec<String> = report.comparison.rows.iter().map(|row| row.series.cell.work()).collect();
    works.dedup();
    for work in works {
        let rows: Vec<&Row> =
            report.comparison.rows.iter().filter(|row| row.series.cell.work() == work).collect();
        let plots: String = [plot::ratios(&rows), plot::samples(&rows)].into_iter().flatten().collect();
        if !plots.is_empty() {
            writeln!(to, "<h2>{}</h2>\n<div class=\"plots\">{plots}</div>", Escaped(&work))?;
        }
    }
    Ok(())
}
