//! What a run reports agrees with itself and with what was asked for.

use serde_json::Value;

use crate::support::command::{bifold, run};
use crate::support::guests::{ARGS, WALK};
use crate::support::report::{number, run_with_report};

fn sources(report: &Value, level: &str) -> u64 {
    let sources = report[level]["sources"].as_array().unwrap();
    sources.iter().map(|source| source["faults"].as_u64().unwrap()).sum()
}

#[test]
fn the_json_reports_numbers_agree() {
    let (_, report) =
        run_with_report(&["--ram=16M", "--swap=64M", "--host-ram=8M"], &[WALK, "20M", "zipf", "write", "1"]);
    for level in ["guest", "host"] {
        let of = |counter| number(&report, level, counter);
        assert_eq!(of("minor_faults") + of("major_faults"), sources(&report, level), "{level}: {report}");
        assert!(of("resident") <= of("resident_peak"), "{level}: {report}");
        assert!(of("swapped_in") <= of("major_faults") + of("minor_faults"), "{level}: {report}");
        for kind in ["minor_latency", "major_latency"] {
            let at = |percentile: &str| report[level][kind][percentile].as_u64().unwrap();
            assert!(0 < at("p50_ns") && at("p50_ns") <= at("p99_ns"), "{level}: {report}");
        }
    }
    assert!(number(&report, "guest", "minor_faults") >= 20 * 256, "each page was zero once: {report}");
    assert!(number(&report, "guest", "resident_peak") <= 16 * 256, "{report}");
    assert!(number(&report, "host", "resident_peak") <= 8 * 256, "{report}");
}

#[test]
fn stats_go_to_standard_error_and_leave_the_programs_output_alone() {
    let plain = run(&mut bifold(["run", WALK, "1M", "seq", "write"])).succeeded();
    let stats = run(&mut bifold(["run", "--stats", WALK, "1M", "seq", "write"])).succeeded();
    assert_eq!(stats.out, plain.out);
    assert_eq!(plain.err, "");
    for word in ["guest", "host", "minor", "major"] {
        assert!(stats.err.contains(word), "wanted {word}: {}", stats.err);
    }
}

#[test]
fn nothing_that_moves_is_printed_where_no_terminal_is() {
    let ended = run(&mut bifold(["run", "--stats", ARGS])).succeeded();
    assert!(!ended.err.contains(['\r', '\x1b']), "{:?}", ended.err);
}
