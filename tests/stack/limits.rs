//! Live processes with a limit of what may be in RAM: the figures of the literature, traces, and neighbours that do not notice.

use std::fmt::Write;
use std::fs;
use std::io::BufReader;

use bifold::measure::trace::{Cause, TraceReader};

use crate::support::command::{bifold, run};
use crate::support::guests::{REFERENCES, compile_c};
use crate::support::report;

const BELADY: &str = "1 2 3 4 1 2 5 1 2 3 4 5";
const TEXTBOOK: &str = "7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1";

/// How many faults a live process has that uses pages in this order, with so many frames for them. Aging tells only uses
/// in different ticks apart, and is LRU then.
fn live(policy: &str, frames: u32, string: &str) -> u64 {
    let apart: &[&str] = if policy == "aging" { &["--apart"] } else { &[] };
    let mut command = bifold(["run", "--ram=16M", "--guest-policy", policy, "--", REFERENCES]);
    let ended = run(command.arg(frames.to_string()).args(string.split(' ')).args(apart)).succeeded();
    let faults = ended.out.rsplit(", ").next().and_then(|rest| rest.split(' ').next()?.parse().ok());
    faults.unwrap_or_else(|| panic!("no faults in {:?}", ended.out))
}

#[test]
fn live_processes_have_as_many_faults_as_belady_found() {
    assert_eq!([3, 4].map(|frames| live("fifo", frames, BELADY)), [9, 10]);
    assert_eq!([3, 4].map(|frames| live("aging", frames, BELADY)), [10, 8]);
}

#[test]
fn live_processes_have_as_many_faults_as_the_textbook_says() {
    assert_eq!(["fifo", "clock", "aging"].map(|policy| live(policy, 3, TEXTBOOK)), [15, 14, 12]);
}

/// With one frame each use of another page is a fault, so the trace is the whole string, and the best there can be follows from it.
#[test]
fn a_live_processs_trace_is_its_reference_string() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.trace");
    let mut command = bifold(["run", "--ram=16M", "--trace"]);
    let ended = run(command.arg(&file).args(["--", REFERENCES, "1"]).args(BELADY.split(' '))).succeeded();
    assert_eq!(ended.out, "12 uses, 1 frames, 12 faults\n");

    let events = TraceReader::new(BufReader::new(fs::File::open(&file).unwrap())).unwrap();
    let stores = events.map(|event| event.unwrap()).filter(|event| event.cause == Cause::Write);
    let pages: Vec<u64> = stores.map(|event| event.page.number).collect();
    let string = &pages[pages.len() - 12..];
    let expected: Vec<u64> = BELADY.split(' ').map(|page| page.parse().unwrap()).collect();
    assert_eq!(string.iter().map(|page| page - string[0] + 1).collect::<Vec<_>>(), expected);

    let text = string.iter().fold(String::new(), |mut text, page| {
        writeln!(text, "{page}").unwrap();
        text
    });
    let recorded = folder.path().join("string");
    let table = folder.path().join("table.json");
    fs::write(&recorded, text).unwrap();
    run(bifold(["replay", "--frames=3,4", "--policy=fifo"]).arg(&recorded).arg("--json").arg(&table))
        .succeeded();
    let table = report::read(&fs::read_to_string(table).unwrap());
    let opt = |row: usize| {
        let policies = table["rows"][row]["policies"].as_array().unwrap();
        policies.iter().find(|policy| policy["policy"] == "opt").unwrap()["faults"].clone()
    };
    assert_eq!((opt(0), opt(1)), (7.into(), 6.into()));
}

/// Two processes with the same work, one of them with a limit: that one pages among its own, the other has no fault more.
#[test]
fn a_limit_makes_its_process_page_and_no_other() {
    let program = compile_c("limits.c", &["-static"]);
    let ended = run(bifold(["run", "--ram=16M", "--"]).arg(program)).succeeded();
    assert_eq!(
        ended.out,
        "limited: 0 wrong, 256 pages within 64: 1, faults over 500: 1\n\
         neighbour: 0 wrong, faults under 300: 1\n\
         address space: Cannot allocate memory\n"
    );
}
