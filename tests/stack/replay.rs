//! `bifold replay` on the strings of the literature, and on files that are no traces.

use std::fs;
use std::path::{Path, PathBuf};

use bifold::measure::trace::{Cause, Event, TraceHeader, TraceLevel, TracePage, TraceSource, TraceWriter};
use serde_json::Value;

use crate::support::command::{bifold, run};
use crate::support::report;

fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/traces").join(name)
}

/// Replays with `options` and returns what was printed, and the table as JSON.
fn replay(trace: &Path, options: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("table.json");
    let ended = run(bifold(["replay"]).arg(trace).args(options).arg("--json").arg(&json)).succeeded();
    assert_eq!(ended.err, "");
    (ended.out, report::read(&fs::read_to_string(json).unwrap()))
}

fn faults(table: &Value, frames: u32, policy: &str) -> u64 {
    let of = |list: &Value, key: &str, wanted: Value| {
        let list = list.as_array().unwrap();
        list.iter().find(|item| item[key] == wanted).unwrap_or_else(|| panic!("no {key} {wanted}")).clone()
    };
    let row = of(&table["rows"], "frames", frames.into());
    of(&row["policies"], "policy", policy.into())["faults"].as_u64().unwrap()
}

#[test]
fn beladys_string_shows_his_anomaly_under_fifo_and_not_under_lru_and_opt() {
    let (out, table) = replay(&bundled("belady.txt"), &["--frames", "3,4", "--policy", "fifo"]);
    for (policy, expected) in [("fifo", [9, 10]), ("lru", [10, 8]), ("opt", [7, 6])] {
        assert_eq!([3, 4].map(|frames| faults(&table, frames, policy)), expected, "{policy}");
    }
    assert!(out.contains("anomaly: fifo has 9 faults with 3 frames, and 10 with 4."), "{out}");
    assert!(!out.contains("anomaly: lru") && !out.contains("clock"), "{out}");
}

#[test]
fn the_textbooks_string_gives_the_textbooks_figures() {
    let (_, table) = replay(&bundled("textbook.txt"), &["--frames=3"]);
    for (policy, expected) in [("fifo", 15), ("clock", 14), ("lru", 12), ("opt", 9), ("aging", 12)] {
        assert_eq!(faults(&table, 3, policy), expected, "{policy}");
    }
}

#[test]
fn a_trace_without_options_is_replayed_up_to_where_all_fits() {
    let (_, table) = replay(&bundled("belady.txt"), &[]);
    let last = table["rows"].as_array().unwrap().last().unwrap();
    assert_eq!(last["frames"], 5);
    assert!(last["policies"].as_array().unwrap().iter().all(|policy| policy["faults"] == 5));
}

/// A recorded trace in which two processes use the same page numbers.
fn recorded() -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = TraceHeader { level: TraceLevel::Guest, page_shift: 12 };
    let mut writer = TraceWriter::new(&mut bytes, header).unwrap();
    for time_ns in 0..100 {
        let page = TracePage { space: 1 + time_ns as u32 % 2, number: 0x400 + time_ns / 2 % 5 };
        let event =
            Event { time_ns, cause: Cause::Write, page, source: TraceSource::Swap, served_ns: 20_000 };
        writer.record(&event).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

#[test]
fn a_recorded_trace_tells_pages_of_different_processes_apart() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let csv = folder.path().join("table.csv");
    fs::write(&trace, recorded()).unwrap();
    let (out, table) = replay(&trace, &["--frames", "9-10", "--csv", csv.to_str().unwrap()]);
    assert_eq!((&table["references"], &table["pages"]), (&100.into(), &10.into()));
    assert!(out.contains("at the guest's level"), "{out}");
    let csv = fs::read_to_string(csv).unwrap();
    assert!(csv.contains("\n9,lru,100,91,"), "a loop over ten pages does not fit nine frames: {csv}");
    assert!(csv.contains("\n10,lru,10,0,0.000000\n"), "{csv}");
}

#[test]
fn files_that_are_no_traces_are_refused_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let sound = recorded();
    let mut corrupt = sound.clone();
    corrupt[16] = 0x7f;
    for (bytes, words) in [
        (&b""[..], &["no reference"][..]),
        (b"# nothing but a comment\n", &["no reference"]),
        (b"1\n2\nthree\n", &["line 3", "three"]),
        (b"bifold", &["neither"]),
        (&sound[..sound.len() / 2], &["truncated"]),
        (&sound[..10], &["truncated"]),
        (&corrupt, &["not a sound trace"]),
        (&[0xff; 4096], &["line 1"]),
    ] {
        fs::write(&trace, bytes).unwrap();
        let mut command = bifold(["replay", "--json", folder.path().join("table.json").to_str().unwrap()]);
        run(command.arg(&trace)).refused(&[&[trace.to_str().unwrap()], words].concat());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the trace alone");
    }
    run(&mut bifold(["replay", "/no/such/trace"])).refused(&["/no/such/trace"]);
    run(&mut bifold(["replay", "/"])).refused(&["/"]);
}

#[test]
fn options_that_cannot_be_are_refused() {
    let with = |options: &[&str]| run(bifold(["replay"]).arg(bundled("belady.txt")).args(options));
    for frames in ["0", "", "4-3", "x", "1-2000", "4294967296"] {
        with(&["--frames", frames]).refused(&["--frames"]);
    }
    with(&["--policy", "mru"]).refused(&["mru", "fifo", "s3fifo", "wsclock"]);
    with(&["--csv", "/no/such/folder/table.csv"]).refused(&["/no/such/folder/table.csv", "--csv"]);
}
