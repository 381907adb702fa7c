//! `bifold host`, `compare` and `check`: a small matrix from end to end, cut short, on a full disk, and with
//! every mistake.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::bad_input::on_a_host_where;
use crate::support::command::{Ended, Running, bifold, run};
use crate::support::guests::{ARGS, WORK};
use crate::support::report;

/// The smallest matrix: cells of a third of a second.
const SMALL: &[&str] =
    &["--workload=sort", "--axis=size=64K", "--axis=backing=4k,hugetlb-1g", "--ram=8M", "--repeats=7"];

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn compare(&self, options: &[&str]) -> Command {
        let mut command = bifold(["compare"]);
        command.args(options).arg("--output").arg(self.path("out"));
        command
    }

    /// The journal's lines.
    fn lines(&self) -> Vec<Value> {
        journal(&self.path("out/samples.jsonl"))
    }
}

#[track_caller]
fn journal(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(report::read).collect()
}

fn samples(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line.get("sample").is_some()).count()
}

#[test]
fn the_host_is_described_with_a_verdict_for_each_axis() {
    let text = run(&mut bifold(["host"])).succeeded().out;
    for word in ["CPU", "kernel", "second level", "THP", "KVM", "userfaultfd", "counters", "swap", "backing"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let answer = report::read(&run(&mut bifold(["host", "--json"])).succeeded().out);
    assert!(answer["host"]["cpu"]["count"].as_u64().unwrap() > 0);
    assert_eq!(answer["axes"]["backing"]["4k"]["works"], true);
    for verdict in
        answer["axes"].as_object().unwrap().values().flat_map(|axis| axis.as_object().unwrap().values())
    {
        assert!(verdict["works"] == true || verdict["reason"].is_string(), "{answer}");
    }
}

#[test]
fn a_matrix_is_measured_reported_and_not_measured_again() {
    let folder = Folder::new();
    let ended = run(&mut folder.compare(SMALL)).succeeded();
    // 8 MiB are no multiple of 1 GiB, on any host.
    assert!(ended.out.contains("not possible here") && ended.out.contains("multiple"), "{}", ended.out);
    assert!(ended.out.contains("sort size=64K: only backing=4k was measured"), "{}", ended.out);
    assert_eq!(ended.err, "", "no progress where no terminal is");
    let lines = folder.lines();
    assert_eq!(samples(&lines), 7);
    for line in lines.iter().filter_map(|line| line.get("sample")) {
        assert!(line["ns"].as_u64().unwrap() > 0 && line["guest_faults"].as_u64().unwrap() > 16, "{line}");
    }
    let csv = fs::read_to_string(folder.path("out/samples.csv")).unwrap();
    assert_eq!(csv.lines().count(), 8);
    let page = fs::read_to_string(folder.path("out/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("not possible here"));
    assert!(fs::read_to_string(folder.path("out/table.md")).unwrap().contains("| sort | 64K | 4k |"));

    let again = run(&mut folder.compare(SMALL)).succeeded();
    assert_eq!(again.out, ended.out, "from the same samples the same answer");
    assert_eq!(samples(&folder.lines()), 7);
}

#[test]
fn a_program_of_the_users_own_is_measured() {
    let folder = Folder::new();
    let options = ["--axis=guest-policy=clock,sieve", "--ram=8M", "--repeats=7", "--", WORK, "sort", "64K"];
    let mut command = bifold(["compare", "--output"]);
    let ended = run(command.arg(folder.path("out")).args(options)).succeeded();
    assert!(ended.out.contains("work"), "{}", ended.out);
    assert_eq!(samples(&folder.lines()), 14);
    // It prints its arguments, and fails for what it cannot read: that is no sample, and is said.
    let failing = Folder::new();
    let mut command = bifold(["compare", "--axis=ratio=1", "--ram=8M", "--output"]);
    let ended = run(command.arg(failing.path("out")).args(["--", WORK, "nonsense"])).with_status(1);
    assert!(ended.out.contains("exited with 2"), "{}", ended.out);
}

#[test]
fn a_comparison_that_was_interrupted_goes_on() {
    let folder = Folder::new();
    let running = Running::start(&mut folder.compare(SMALL));
    let count = || fs::read_to_string(folder.path("out/samples.jsonl")).unwrap_or_default().lines().count();
    while count() < 5 && !running.ends_within(Duration::from_millis(20)) {}
    running.signal(Signal::INT);
    let ended = running.wait();
    assert!(ended.killed || ended.status != 0, "{ended:?}");
    let before = folder.lines();
    run(&mut folder.compare(SMALL)).succeeded();
    let after = folder.lines();
    assert_eq!(after[..before.len()], before, "what was measured is kept");
    assert_eq!(samples(&after), 7);
}

#[test]
fn a_full_disk_loses_nothing_that_was_measured() {
    let folder = Folder::new();
    let disk = folder.path("out");
    fs::create_dir(&disk).unwrap();
    let program = bifold([""; 0]);
    let program = program.get_program().to_str().unwrap();
    let options = SMALL.join(" ");
    let (disk, kept) = (disk.to_str().unwrap(), folder.path("kept.jsonl"));
    let kept = kept.to_str().unwrap();
    // Room for the program, and for few lines; filled up when there are three samples.
    let setup = format!(
        "mount -t tmpfs -o size=4M none {disk}
         {program} compare {options} --output {disk} 2>{kept}.err >/dev/null & compare=$!
         while ! [ -e {disk}/samples.jsonl ] || [ $(wc -l < {disk}/samples.jsonl) -lt 5 ]; do sleep 0.02; done
         cat /dev/zero > {disk}/filler 2>/dev/null || true
         status=0; wait $compare || status=$?; [ $status = 2 ]
         cp {disk}/samples.jsonl {kept}; rm {disk}/filler"
    );
    let mut arguments = vec!["compare"];
    arguments.extend(SMALL);
    arguments.extend(["--output", disk]);
    let ended = on_a_host_where(&setup, &arguments).succeeded();
    let said = fs::read_to_string(format!("{kept}.err")).unwrap();
    assert!(said.contains("space") && said.trim_end().lines().count() == 1, "{said}");
    assert!(samples(&journal(Path::new(kept))) >= 3);
    assert!(ended.out.contains("sort"), "and it goes on when there is space: {}", ended.out);
}

#[test]
fn mistakes_are_answered_with_what_was_meant() {
    let compare = |options: &[&str]| run(bifold(["compare"]).args(options));
    compare(&[]).refused(&["--axis", "backing"]);
    compare(&["--axis", "bakcing=4k"]).refused(&["bakcing", "did you mean \"backing\"?"]);
    compare(&["--axis", "backing=4k,tph"]).refused(&["tph", "did you mean \"thp\"?"]);
    compare(&["--axis", "backing"]).refused(&["NAME=VALUE"]);
    compare(&["--axis", "ratio=1", "--workload", "srot"]).refused(&["srot", "\"sort\""]);
    compare(&["--axis", "ratio=1", "--repeats", "2"]).refused(&["repeats", "7"]);
    compare(&["--axis", "ratio=1", "--output", "/dev/null/x"]).refused(&["/dev/null/x"]);
    compare(&["--axis", "ratio=1", "--", "/no/such/program"]).refused(&["/no/such/program"]);
    compare(&["--spec", "/no/such/file"]).refused(&["/no/such/file"]);
    let folder = Folder::new();
    let spec = folder.path("spec.toml");
    fs::write(&spec, "[axes]\nratio = [1, 2\n").unwrap();
    compare(&["--spec", spec.to_str().unwrap()]).refused(&["spec.toml:2:", "array"]);
    let check = |old: &str, new: &str| run(&mut bifold(["check", "--baseline", old, new]));
    check("/no/such/old", "/no/such/new").refused(&["/no/such/old"]);
    check(spec.to_str().unwrap(), "/no/such/new").refused(&["spec.toml:1:"]);
}

/// A journal with one cell, whose samples are `factor` times those of another.
fn samples_of(path: &Path, factor: u64) -> &str {
    let header = r#"{"header":{"version":"0","bifold":"","program":"","command":[],"cpu":"","kernel":"",
        "second_level":"","ram":1,"swap":null}}"#;
    let mut lines = header.replace("\n        ", "") + "\n";
    for n in 0..9 {
        let ns = factor * (100_000 + n);
        lines += &format!("{{\"sample\":{{\"workload\":\"w\",\"axes\":{{\"ratio\":\"1\"}},\"ns\":{ns}}}}}\n");
    }
    fs::write(path, lines).unwrap();
    path.to_str().unwrap()
}

#[test]
fn a_check_fails_for_a_regression_only_and_writes_junit() {
    let folder = Folder::new();
    let (old, new) = (folder.path("old.jsonl"), folder.path("new.jsonl"));
    let junit = folder.path("junit.xml");
    let check = |old: &str, new: &str| -> (Ended, String) {
        let ended = run(bifold(["check", "--baseline", old, new, "--junit"]).arg(&junit));
        (ended, fs::read_to_string(&junit).unwrap())
    };
    let (fast, slow) = (samples_of(&old, 100), samples_of(&new, 105));
    let (ended, xml) = check(fast, slow);
    assert!(ended.with_status(1).out.contains("SLOWER"));
    assert!(xml.contains(r#"failures="1""#) && xml.contains(r#"classname="w" name="ratio=1""#), "{xml}");
    let (ended, xml) = check(slow, fast);
    assert!(ended.succeeded().out.contains("faster"));
    assert!(xml.contains(r#"failures="0""#), "{xml}");
    check(fast, fast).0.succeeded();
}

#[test]
fn two_at_a_time_and_other_programs_samples_are_refused() {
    let folder = Folder::new();
    let own = |program: &str| {
        let mut command = bifold(["compare", "--axis=ratio=1", "--ram=8M", "--repeats=7", "--output"]);
        command.arg(folder.path("out")).args(["--", program]);
        command
    };
    run(&mut own(ARGS)).succeeded();
    run(&mut own(WORK)).refused(&["samples of another program", "--output"]);
}
