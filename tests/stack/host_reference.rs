//! How the host finds its victims, with a guest that runs: each policy with each reference source, and the host's trace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use abi::addr::PAGE_SIZE;
use abi::layout::KERNEL;
use bifold::guest;
use bifold::measure::trace::TraceReader;
use serde_json::Value;

use crate::support::command::{bifold, run};
use crate::support::guests::WALK;
use crate::support::report::{number, run_with_report};

const POLICIES: [&str; 6] = ["fifo", "clock", "aging", "sieve", "s3fifo", "wsclock"];
const SOURCES: [&str; 4] = ["soft-fault", "guest-tables", "write-protect", "pagemap"];

/// One and a half times the host's budget.
fn walk(options: &[&str], order: &[&str]) -> Value {
    let sizes = ["--ram=8M", "--host-ram=2M", "--store=memory"];
    let (ended, report) = run_with_report(&[&sizes, options].concat(), &[&[WALK, "3M"], order].concat());
    assert!(ended.out.ends_with("all right\n"), "{}", ended.out);
    report
}

/// The program checks each byte that it reads, so that a page that is lost is found.
#[test]
fn each_policy_runs_with_each_reference_source() {
    for policy in POLICIES {
        for source in SOURCES {
            let options = ["--host-policy", policy, "--host-reference", source];
            let report = walk(&options, &["zipf", "write", "2"]);
            assert_eq!(report["host_detail"]["reference"], source);
            assert!(number(&report, "host", "swapped_in") > 0, "{policy} {source}: {report}");
        }
    }
}

#[test]
fn clock_brings_fewer_pages_back_than_fifo_with_each_source() {
    let brought_back = |policy, source| {
        let report = walk(&["--host-policy", policy, "--host-reference", source], &["zipf", "read", "30"]);
        number(&report, "host", "swapped_in")
    };
    let fifo = brought_back("fifo", "soft-fault");
    for source in SOURCES {
        let clock = brought_back("clock", source);
        assert!(clock < fifo, "{source}: {clock}, with fifo {fifo}");
    }
}

#[test]
fn guest_tables_are_read_while_several_processes_come_and_go() {
    let script = "for n in 1 2 3; do $0 2M zipf write 3 & done; wait";
    let options =
        ["--ram=16M", "--host-ram=5M", "--store=memory", "--host-reference=guest-tables", "--file", WALK];
    let program = [crate::support::guests::busybox(), "sh", "-c", script, WALK];
    let (ended, report) = run_with_report(&options, &program);
    assert_eq!(ended.out.matches("all right\n").count(), 3, "{}", ended.out);
    let sampled = |what: &str| report["host_detail"]["sampling"][what].as_u64().unwrap();
    assert!(sampled("passes") > 0 && sampled("used") > 0, "{report}");
    assert!(sampled("used") < sampled("looked_at"), "somebody takes the marks away: {report}");
}

#[test]
fn the_hosts_faults_are_recorded_and_replayed_with_the_distance_to_opt() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("host.trace");
    let report =
        walk(&["--host-policy=fifo", "--host-trace", trace.to_str().unwrap()], &["random", "write", "3"]);
    let live = number(&report, "host", "minor_faults") + number(&report, "host", "major_faults");
    let json = folder.path().join("table.json");
    let options = ["replay", "--frames=512", "--policy=fifo", "--json", json.to_str().unwrap()];
    let ended = run(bifold(options).arg(&trace)).succeeded();
    assert!(ended.out.contains("at the host's level"), "{}", ended.out);
    let table: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let policies = table["rows"][0]["policies"].as_array().unwrap();
    let faults = |name: &str| {
        let policy = policies.iter().find(|policy| policy["policy"] == name).unwrap();
        policy["faults"].as_u64().unwrap()
    };
    // Pages that the pager brings in ahead, while memory is filled and checked in turn, are no faults and not in the trace, but take
    // frames: so the replay has somewhat fewer faults.
    assert!((live / 2..=live).contains(&faults("fifo")), "live {live}, replayed {}", faults("fifo"));
    assert!(faults("opt") < faults("fifo"), "{table}");
}

#[test]
fn the_guests_kernel_stays_in_and_what_the_program_has_goes() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("host.trace");
    let options = ["--ram=16M", "--host-ram=6M", "--store=memory", "--host-trace", trace.to_str().unwrap()];
    let (ended, _) = run_with_report(&options, &[WALK, "10M", "seq", "write", "3"]);
    assert!(ended.out.ends_with("all right\n"), "{}", ended.out);
    let mut faults = BTreeMap::<u64, u32>::new();
    for event in TraceReader::new(BufReader::new(File::open(&trace).unwrap())).unwrap() {
        *faults.entry(event.unwrap().page.number).or_default() += 1;
    }
    let kernel = KERNEL.frame().0..KERNEL.frame().0 + (guest::KERNEL.len() / 2 / PAGE_SIZE) as u64;
    assert!(faults.range(kernel.clone()).all(|(_, &times)| times == 1), "{:?}", faults.range(kernel));
    assert!(faults.values().any(|&times| times > 1), "something else comes back");
}

#[test]
fn what_cannot_be_had_is_refused() {
    run(&mut bifold(["run", "--host-reference=idle", "--", WALK])).refused(&["soft-fault", "pagemap"]);
    run(&mut bifold(["run", "--host-trace=/tmp/x", "--", WALK])).refused(&["--host-ram"]);
    let kernel = ["run", "--host-ram=8M", "--host-reference=guest-tables", "--kernel", WALK];
    run(&mut bifold(kernel)).refused(&["guest-tables", "--kernel"]);
}
