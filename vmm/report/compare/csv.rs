//! A comparison as CSV (RFC 4180, with Unix's ends of lines): a line for each sample.

use std::io::{self, Write};

use crate::compare::{Row, Sample};

/// Writes every sample of every row.
pub fn write(rows: &[Row], to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    let axes = rows.first().map(|row| row.series.cell.values()).unwrap_or_default();
    let axes: String = axes.iter().map(|(axis, _)| format!("{axis},")).collect();
    writeln!(to, "workload,{axes}sample,ns,operations,guest_faults,host_faults,pages_4k,pages_2m,pages_1g")?;
    for row in rows {
        let cell = &row.series.cell;
        let values: String = cell.values().iter().map(|(_, value)| format!("{},", quoted(value))).collect();
        for (number, sample) in row.series.samples.iter().enumerate() {
            let Sample { ns, operations, guest_faults, host_faults, mapped, .. } = sample;
            let counts = [*operations, *guest_faults, *host_faults].into_iter();
            let counts = counts.chain(mapped.map_or([None; 3], |mapped| mapped.map(Some)));
            let counts: Vec<String> =
                counts.map(|count| count.map(|count| count.to_string()).unwrap_or_default()).collect();
            writeln!(to, "{},{values}{},{ns},{}", quoted(&cell.workload), number + 1, counts.join(","))?;
        }
    }
    to.flush()
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}
