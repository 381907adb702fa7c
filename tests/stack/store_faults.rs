//! Disks that fail, lie or are full under a run: the guest never sees a wrong byte, and the user is told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::command::{Ended, Running, bifold, run};
use crate::support::guests::WALK;
use crate::support::report::{number, read, run_with_report};

/// A program that checks each page that it reads, in a guest of which the host keeps half.
const PROGRAM: [&str; 5] = [WALK, "3M", "random", "write", "1"];

fn run_on(options: &[&str]) -> Ended {
    run(bifold(["run", "--ram=8M", "--host-ram=2M"]).args(options).arg("--").args(PROGRAM))
}

/// The run ends because the host cannot go on, nothing is printed, and the last line has all of `words`.
#[track_caller]
fn ends_with(options: &[&str], words: &[&str]) {
    let ended = run_on(options).with_status(2);
    assert_eq!(ended.out, "");
    let last = ended.err.lines().last().unwrap_or_default();
    assert!(words.iter().all(|word| last.contains(word)), "wanted {words:?}: {}", ended.err);
}

/// What the program prints where it has all the memory that it wants.
fn native() -> String {
    run(Command::new(PROGRAM[0]).args(&PROGRAM[1..])).succeeded().out
}

#[test]
fn a_read_error_ends_the_run_and_names_slot_and_frame() {
    ends_with(&["--store-faults=read-eio=1"], &["frame", "slot", "Input/output error", "disk"]);
}

#[test]
fn a_page_that_is_not_what_was_written_never_reaches_the_guest() {
    for faults in ["flip=1", "torn=1"] {
        for compressed in ["0", "256K"] {
            let options = ["--store-faults", faults, "--compressed", compressed];
            ends_with(&options, &["frame", "slot", "does not hold what was written"]);
        }
    }
}

#[test]
fn a_write_error_ends_the_run_and_says_why() {
    for compressed in ["0", "256K"] {
        let options = ["--store-faults=write-eio=1", "--compressed", compressed];
        ends_with(&options, &["cannot write to the store", "Input/output error"]);
    }
}

#[test]
fn requests_that_are_cut_short_or_late_change_nothing() {
    let ended = run_on(&["--store-faults=short=0.3,delay=2ms:0.02,seed=5"]).succeeded();
    assert_eq!((ended.out.as_str(), ended.err.as_str()), (&*native(), ""));
}

#[test]
fn a_full_disk_pauses_the_guest_until_there_is_room() {
    for compressed in ["0", "256K"] {
        let ended = run_on(&["--store-faults=write-enospc@3..40", "--compressed", compressed]).succeeded();
        assert_eq!(ended.out, native());
        let said: Vec<_> = ["nothing is evicted until", "the guest is paused", "the guest goes on"]
            .map(|words| ended.err.find(words))
            .into();
        assert!(said.is_sorted() && said[0].is_some(), "{}", ended.err);
    }
}

#[test]
fn a_disk_that_stays_full_can_be_given_up() {
    let options = ["run", "--ram=8M", "--host-ram=2M", "--store-faults=write-enospc=1", "--"];
    let mut running = Running::start(bifold(options).args(PROGRAM));
    running.wait_for_error("the guest is paused");
    running.signal(Signal::INT);
    running.wait().with_status(130);
}

#[test]
fn a_full_disk_pauses_a_guest_that_swaps() {
    let options = ["run", "--ram=3M", "--swap=16M", "--store-faults=write-enospc@3..10", "--"];
    let program = [WALK, "3M", "seq", "write"];
    let ended = run(bifold(options).args(program)).succeeded();
    assert!(ended.out.ends_with("all right\n"), "{}", ended.out);
    assert!(ended.err.contains("paused") && ended.err.contains("goes on"), "{}", ended.err);
}

#[test]
fn a_swap_disk_that_cannot_be_read_kills_the_program_and_names_the_slot() {
    let options = ["run", "--ram=3M", "--swap=16M", "--store-faults=read-eio=1", "--"];
    let ended = run(bifold(options).args([WALK, "4M", "seq", "write"])).with_status(128 + 7);
    assert!(ended.err.contains("slot") && ended.err.contains("Input/output error"), "{}", ended.err);
    assert!(!ended.out.contains("all right"), "{}", ended.out);
}

#[test]
fn a_run_that_is_killed_while_it_pages_leaves_nothing_that_the_next_trips_on() {
    let folder = tempfile::tempdir().unwrap();
    let [store, socket] = ["store", "socket"].map(|name| folder.path().join(name));
    let left = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let paged = |program: &[&str]| {
        let mut command = bifold(["run", "--ram=8M", "--host-ram=2M", "--store"]);
        command.arg(&store).arg("--control").arg(&socket).arg("--").args(program);
        command
    };
    let running = Running::start(&mut paged(&[WALK, "3M", "random", "write", "1000000"]));
    let swaps = || {
        let ended = run(bifold(["ctl"]).arg(&socket).arg("status"));
        // It may not listen yet.
        ended.status == 0 && read(&ended.out)["status"]["host"]["major_faults"].as_u64().unwrap() > 256
    };
    while !swaps() {
        assert!(!running.ends_within(Duration::from_millis(10)), "it pages for ever");
    }
    running.signal(Signal::KILL);
    assert!(running.wait().killed);
    assert_eq!(left(), [&*socket], "the store has no name while it is used");
    assert_eq!(run(&mut paged(&PROGRAM)).succeeded().out, native());
    assert_eq!(left(), Vec::<PathBuf>::new());
}

#[test]
fn pages_are_compressed_in_front_of_the_file_and_the_report_says_how_far() {
    for codec in ["lz4", "zstd", "none"] {
        let options = ["--ram=8M", "--host-ram=2M", "--compress", codec];
        let (ended, report) = run_with_report(&options, &PROGRAM);
        assert_eq!(ended.out, native());
        let store = &report["host_detail"]["store"];
        let of = |name: &str| store[name].as_u64().unwrap_or_else(|| panic!("no {name} in {store}"));
        assert_eq!(store["codec"], codec);
        assert_eq!(of("memory_limit"), 512 << 10, "a quarter of the budget");
        assert!(of("memory_held") <= of("memory_limit") && of("moved_down") > 0, "{store}");
        let slots = of("same_filled") + of("in_memory") + of("in_file");
        assert_eq!(slots, of("slots_used"), "{store}");
        assert!(number(&report, "host", "swapped_in") > 0, "{report}");
    }
}

#[test]
fn mistakes_about_the_store_are_answered() {
    run_on(&["--store-faults=raed-eio=1"]).refused(&["raed-eio", "did you mean \"read-eio\""]);
    run_on(&["--store-faults=flip=2"]).refused(&["flip=2", "NAME=CHANCE"]);
    run_on(&["--compress=gzip"]).refused(&["gzip", "lz4", "zstd"]);
    run_on(&["--compressed=64K"]).refused(&["64 KiB", "256 KiB", "--compressed"]);
    run_on(&["--compressed=2M"]).refused(&["--compressed", "--host-ram"]);
    run_on(&["--store=memory", "--store-faults=flip=1"]).refused(&["--store-faults", "memory"]);
    run_on(&["--store=memory", "--compressed=256K"]).refused(&["memory is full", "--compressed"]);
}
