//! Both levels page, and nothing is lost: programs larger than guest RAM, guest RAM larger than the host budget.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::command::{Ended, Running, bifold, run};
use crate::support::guests::{SORT, WALK, busybox, compile_c, compile_rust};
use crate::support::outside::guest_ram;
use crate::support::report::{number, run_with_report};

/// Runs the sort while its guest RAM is sampled from outside.
fn watched_sort(budget_kib: u64) -> (Ended, usize) {
    let arguments = ["run", "--ram=24M", "--swap=96M", "--host-ram=12M", "--", SORT, "40M"];
    let running = Running::start(&mut bifold(arguments));
    let mut samples = 0;
    while !running.ends_within(Duration::from_millis(5)) {
        let Some((size, resident)) = guest_ram(running.pid()) else { continue };
        assert!(size >= 20 << 10, "{size} KiB is not 24 MiB of guest RAM");
        assert!(resident <= budget_kib, "{resident} KiB resident, budget {budget_kib}");
        samples += 1;
    }
    (running.wait().succeeded(), samples)
}

#[test]
fn a_sort_larger_than_guest_ram_in_a_guest_larger_than_the_budget_is_right_and_keeps_the_budget() {
    let native = run(Command::new(SORT).arg("40M")).succeeded();
    for _ in 0..2 {
        let (guest, samples) = watched_sort(12 << 10);
        assert_eq!(guest.out, native.out);
        assert!(samples > 100, "{samples} samples are too few to say anything");
    }
}

#[test]
fn a_file_larger_than_guest_ram_is_read_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fs::File::open("/dev/urandom").unwrap();
    let file = folder.path().join("big.bin");
    std::io::copy(&mut std::io::Read::take(&mut random, 64 << 20), &mut fs::File::create(&file).unwrap())
        .unwrap();

    let inside = |command: &mut Command| run(command.current_dir(folder.path())).succeeded().out;
    let native = inside(Command::new(busybox()).args(["sha256sum", "big.bin"]));
    let options = ["run", "--ram=16M", "--host-ram=8M", "--file", "big.bin", "--"];
    let guest = inside(&mut bifold(options.iter().chain(&[busybox(), "sha256sum", "big.bin"])));
    assert_eq!(guest, native);
}

#[test]
fn static_c_and_rust_programs_use_three_times_the_guest_ram() {
    for program in [compile_c("big.c", &["-static"]), compile_rust("big.rs")] {
        let native = run(Command::new(&program).arg("36")).succeeded();
        let guest = run(bifold(["run", "--ram=12M", "--swap=96M", "--"]).arg(&program).arg("36")).succeeded();
        assert_eq!(guest.out, native.out);
    }
}

/// Under every policy, walked in every order, every page keeps its content.
#[test]
fn no_page_is_lost_under_any_policy() {
    let orders = [
        ("fifo", "fifo", "random"),
        ("fifo", "clock", "zipf"),
        ("clock", "fifo", "seq"),
        ("clock", "clock", "random"),
        ("aging", "wsclock", "zipf"),
        ("sieve", "s3fifo", "random"),
        ("s3fifo", "sieve", "zipf"),
        ("wsclock", "aging", "seq"),
    ];
    for (guest, host, order) in orders {
        let sizes =
            ["--ram=14M", "--swap=64M", "--host-ram=7M", "--guest-policy", guest, "--host-policy", host];
        let (ended, report) = run_with_report(&sizes, &[WALK, "20M", order, "write", "1"]);
        assert!(ended.out.ends_with("all right\n"), "{}", ended.out);
        for level in ["guest", "host"] {
            assert!(number(&report, level, "major_faults") > 0, "{guest} {host} {order} {level}");
        }
    }
}

#[test]
fn the_host_store_is_a_file_or_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    for store in ["memory", file.to_str().unwrap()] {
        let sizes = ["--ram=24M", "--host-ram=8M", "--store", store];
        let (ended, report) = run_with_report(&sizes, &[WALK, "12M", "random", "write", "1"]);
        assert!(ended.out.ends_with("all right\n"), "{}", ended.out);
        assert!(number(&report, "host", "swapped_in") > 0, "{report}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of {store}");
    }
}

/// A page that is only read after it was swapped out has a good copy in its slot.
#[test]
fn clean_pages_are_given_up_without_writing_them_again() {
    let (_, report) = run_with_report(&["--ram=14M", "--swap=64M"], &[WALK, "20M", "seq", "read", "3"]);
    let pages = 20 * 256;
    let written = number(&report, "guest", "swapped_out");
    assert!(number(&report, "guest", "evicted_clean") > pages, "{report}");
    assert!(written < 2 * pages, "{written} pages written for {pages} that changed once");
}

#[test]
fn a_program_that_outgrows_ram_and_swap_is_killed_and_the_reason_said() {
    let ended = run(&mut bifold(["run", "--ram=12M", "--swap=4M", "--", WALK, "64M", "seq", "write"]));
    let ended = ended.with_status(137);
    assert!(ended.err.contains("memory") && ended.err.contains("swap"), "{}", ended.err);
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let expected: Vec<String> =
        ["1", "2"].map(|seed| run(Command::new(SORT).args(["20M", seed])).succeeded().out).into();
    let start = |seed| {
        Running::start(&mut bifold([
            "run",
            "--ram=16M",
            "--swap=64M",
            "--host-ram=8M",
            "--",
            SORT,
            "20M",
            seed,
        ]))
    };
    let (first, second) = (start("1"), start("2"));
    assert_eq!([first.wait().succeeded().out, second.wait().succeeded().out].as_slice(), expected);
}
