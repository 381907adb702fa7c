//! What an experiment found: a table and what it says, for people and for programs.

use std::fmt;
use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::measure::SecondLevel;
use crate::report::{Count, Nanos};

/// One value of a table.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// How many.
    Count(u64),
    /// A duration in nanoseconds.
    Nanos(u64),
    /// How many times something else.
    Times(f64),
    /// A part of a whole, 1 for all of it.
    Part(f64),
    /// Not there, or not measured.
    Nothing,
}

/// A table with a title, and one sentence that follows from it.
#[derive(Debug)]
pub struct Finding {
    /// The experiment's name.
    pub experiment: &'static str,
    /// What was done.
    pub title: String,
    /// The columns' names, words with `_` between them; a unit that only programs need comes last
    /// (`fork_ns`).
    pub columns: &'static [&'static str],
    /// A cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// What it shows.
    pub sentence: String,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

impl Cell {
    /// The value alone, as CSV has it.
    fn plain(&self) -> String {
        match self {
            Self::Text(text) if text.contains([',', '"', '\n']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Self::Text(text) => text.clone(),
            Self::Count(number) | Self::Nanos(number) => number.to_string(),
            Self::Times(value) | Self::Part(value) => format!("{value:.6}"),
            Self::Nothing => String::new(),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => Count(*count).fmt(f),
            Self::Nanos(nanos) => Nanos(*nanos).fmt(f),
            Self::Times(times) if *times < 10.0 => write!(f, "{times:.2}x"),
            Self::Times(times) => write!(f, "{times:.0}x"),
            Self::Part(part) => write!(f, "{:.0}%", part * 100.0),
            Self::Nothing => f.write_str("-"),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => to.serialize_str(text),
            Self::Count(number) | Self::Nanos(number) => to.serialize_u64(*number),
            Self::Times(value) | Self::Part(value) => to.serialize_f64(*value),
            Self::Nothing => to.serialize_none(),
        }
    }
}

/// A row as an object.
struct Named<'a>(&'a [&'static str], &'a [Cell]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, cell) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, cell)?;
        }
        map.end()
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<Named<'_>> = self.rows.iter().map(|row| Named(self.columns, row)).collect();
        let mut finding = to.serialize_struct("Finding", 5)?;
        finding.serialize_field("experiment", self.experiment)?;
        finding.serialize_field("title", &self.title)?;
        finding.serialize_field("second_level", &SecondLevel::of_this_host())?;
        finding.serialize_field("rows", &rows)?;
        finding.serialize_field("sentence", &self.sentence)?;
        finding.end()
    }
}

impl Finding {
    /// Writes it as one JSON object, each row with its columns' names.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *to, self)?;
        to.write_all(b"\n")
    }

    /// Writes the table, a line a row under a line of names.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_csv(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}", self.columns.join(","))?;
        self.rows.iter().try_for_each(|row| {
            let cells: Vec<String> = row.iter().map(Cell::plain).collect();
            writeln!(to, "{}", cells.join(","))
        })
    }

    /// Words stand at the left, numbers at the right.
    fn table(&self) -> String {
        let mut table = Table::new();
        let heading = |name: &&str| name.strip_suffix("_ns").unwrap_or(name).replace('_', " ");
        table.load_style(presets::NOTHING).set_header(self.columns.iter().map(heading));
        for row in &self.rows {
            table.add_row(row.iter().map(ToString::to_string));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            if !self.rows.iter().any(|row| matches!(row.get(index), Some(Cell::Text(_)))) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}\n\n{}\n", self.title, self.table(), self.sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        let row = |name: &str, count: Option<u64>, ns| vec![name.into(), count.into(), Cell::Nanos(ns)];
        Finding {
            experiment: "test",
            title: "A test.".to_owned(),
            columns: &["case", "pages_read", "time_ns"],
            rows: vec![row("one, two", Some(1234), 1500), row("three", None, 7)],
            sentence: "It shows.".to_owned(),
        }
    }

    #[test]
    fn people_get_headings_units_and_the_sentence() {
        let text = finding().to_string();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        assert_eq!(
            lines,
            [
                "A test.",
                "",
                "case pages read time",
                "one, two 1 234 1.50 us",
                "three - 7 ns",
                "",
                "It shows."
            ]
        );
    }

    #[test]
    fn programs_get_numbers_under_their_names() {
        let mut bytes = Vec::new();
        finding().write_json(&mut bytes).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["rows"][0]["pages_read"], 1234);
        assert_eq!(json["rows"][1]["pages_read"], serde_json::Value::Null);
        let mut csv = Vec::new();
        finding().write_csv(&mut csv).unwrap();
        let expected = "case,pages_read,time_ns\n\"one, two\",1234,1500\nthree,,7\n";
        assert_eq!(String::from_utf8(csv).unwrap(), expected);
    }
}
