//! Both levels side by side.

use comfy_table::{CellAlignment, Table, presets};

use super::level::{Level, Percentiles};
use super::units::{Count, Nanos, Pages};

/// The table of a run. `host` is `None` where the host's kernel backs guest RAM by itself.
#[must_use]
pub fn table(guest: &Level, host: Option<&Level>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "guest", "host"]);
    for (name, value) in ROWS {
        let host = host.map_or_else(|| "not paged".to_owned(), value);
        table.add_row([(*name).to_owned(), value(guest), host]);
    }
    for row in source_rows(guest, host) {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

type Row = (&'static str, fn(&Level) -> String);

const ROWS: &[Row] = &[
    ("minor faults", |level| Count(level.minor_faults).to_string()),
    ("  p50 / p99", |level| latency(&level.minor_latency)),
    ("major faults", |level| Count(level.major_faults).to_string()),
    ("  p50 / p99", |level| latency(&level.major_latency)),
    ("evicted clean", |level| Count(level.evicted_clean).to_string()),
    ("evicted dirty", |level| Count(level.evicted_dirty).to_string()),
    ("swapped in", |level| Count(level.swapped_in).to_string()),
    ("swapped out", |level| Count(level.swapped_out).to_string()),
    ("resident now", |level| Pages(level.resident).to_string()),
    ("resident peak", |level| Pages(level.resident_peak).to_string()),
];

/// One row for each source that served a fault at either level, under one heading.
fn source_rows(guest: &Level, host: Option<&Level>) -> Vec<[String; 3]> {
    let faults = |level: &Level, name: &str| {
        level.sources.iter().find(|source| source.source == name).map_or(0, |source| source.faults)
    };
    let mut names: Vec<&str> = Vec::new();
    for source in guest.sources.iter().chain(host.iter().flat_map(|host| &host.sources)) {
        if source.faults > 0 && !names.contains(&source.source) {
            names.push(source.source);
        }
    }
    let row = |name: &&str| {
        let count = |level: &Level| match faults(level, name) {
            0 => String::new(),
            served => Count(served).to_string(),
        };
        [format!("  {name}"), count(guest), host.map_or_else(String::new, count)]
    };
    let heading = ["pages came from".to_owned(), String::new(), String::new()];
    std::iter::once(heading).chain(names.iter().map(row)).collect()
}

fn latency(percentiles: &Percentiles) -> String {
    match (percentiles.p50_ns, percentiles.p99_ns) {
        (Some(p50), Some(p99)) => format!("{} / {}", Nanos(p50), Nanos(p99)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::level::SourceCount;
    use super::*;

    #[test]
    fn both_levels_stand_side_by_side() {
        let sources = vec![SourceCount { source: "zero", faults: 1234 }];
        let guest = Level { minor_faults: 1234, sources, ..Level::default() };
        let host = Level { major_faults: 77, ..Level::default() };
        let text = table(&guest, Some(&host));
        let line =
            |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).map(str::to_owned);
        assert!(line("minor faults").is_some_and(|line| line.contains("1 234")));
        assert!(line("major faults").is_some_and(|line| line.trim_end().ends_with("77")));
        assert!(line("zero").is_some_and(|line| line.contains("1 234")));
        assert!(table(&guest, None).contains("not paged"));
    }
}
