//! Runs whose report, `--json`, is read.

use std::fs;

use serde_json::Value;

use super::command::{Ended, bifold, run};

/// Runs `program` (with its arguments) under `options` to a good end and returns its report, too.
#[track_caller]
pub fn run_with_report(options: &[&str], program: &[&str]) -> (Ended, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let mut command = bifold(["run", "--json", file.to_str().unwrap()]);
    let ended = run(command.args(options).arg("--").args(program)).succeeded();
    (ended, read(&fs::read_to_string(file).unwrap()))
}

/// The report as JSON.
#[track_caller]
pub fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A counter of one level, `guest` or `host`.
#[track_caller]
pub fn number(report: &Value, level: &str, counter: &str) -> u64 {
    report[level][counter].as_u64().unwrap_or_else(|| panic!("no {level}.{counter} in {report}"))
}
