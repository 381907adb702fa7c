//! Both levels page, and nothing is lost: programs larger than guest RAM, guest RAM larger than the host budget.

use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

use crate::support::command::{Ended, Running, bifold, run};
use crate::support::full;
use crate::support::guests::{SORT, WALK, busybox, compile_c, compile_rust};
use crate::support::outside::guest_ram;
use crate::support::report::{number, run_with_report};

/// Sizes in MiB.
struct Sizes {
    input: u64,
    ram: u64,
    host: u64,
}

/// Runs the sort while its guest RAM is sampled from outside.
fn watched_sort(sizes: &Sizes) -> (Ended, usize) {
    let Sizes { input, ram, host } = sizes;
    let options = [format!("--ram={ram}M"), format!("--swap={}M", 4 * ram), format!("--host-ram={host}M")];
    // What a guest that hangs did says more than a runner that gives up.
    let mut command = bifold(["run", "--timeout=900", "--stats"]);
    let running = Running::start(command.args(options).args([SORT, &format!("{input}M")]));
    let mut samples = 0;
    while !running.ends_within(Duration::from_millis(5)) {
        // Until guest RAM is watched too, the largest watched mapping is the staging area.
        let found = guest_ram(running.pid()).filter(|&(size, _)| size >= ram << 10);
        let Some((_, resident)) = found else { continue };
        assert!(resident <= host << 10, "{resident} KiB resident, budget {host} MiB");
        samples += 1;
    }
    (running.wait().succeeded(), samples)
}

#[test]
fn a_sort_larger_than_guest_ram_in_a_guest_larger_than_the_budget_is_right_and_keeps_the_budget() {
    let full_size = Sizes { input: 40, ram: 24, host: 12 };
    let sizes = if full() { full_size } else { Sizes { input: 4, ram: 4, host: 2 } };
    let native = run(Command::new(SORT).arg(format!("{}M", sizes.input))).succeeded();
    for _ in 0..2 {
        let (guest, samples) = watched_sort(&sizes);
        assert_eq!(guest.out, native.out);
        assert!(samples > 100, "{samples} samples are too few to say anything");
    }
}

#[test]
fn a_file_larger_than_guest_ram_is_read_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let [size, ram, host] = if full() { [64, 16, 8] } else { [8, 4, 2] };
    let random = fs::File::open("/dev/urandom").unwrap();
    let mut file = fs::File::create(folder.path().join("big.bin")).unwrap();
    std::io::copy(&mut random.take(size << 20), &mut file).unwrap();

    let inside = |command: &mut Command| run(command.current_dir(folder.path())).succeeded().out;
    let native = inside(Command::new(busybox()).args(["sha256sum", "big.bin"]));
    let options = [format!("--ram={ram}M"), format!("--host-ram={host}M"), "--file=big.bin".into()];
    let guest = inside(bifold(["run"]).args(options).args([busybox(), "sha256sum", "big.bin"]));
    assert_eq!(guest, native);
}

#[test]
fn static_c_and_rust_programs_use_three_times_the_guest_ram() {
    for program in [compile_c("big.c", &["-static"]), compile_rust("big.rs")] {
        let native = run(Command::new(&program).arg("18")).succeeded();
        let guest = run(bifold(["run", "--ram=6M", "--swap=48M", "--"]).arg(&program).arg("18")).succeeded();
        assert_eq!(guest.out, native.out);
    }
}

/// Under every policy at either level, walked in every order, every page keeps its content.
#[test]
fn no_page_is_lost_under_any_policy() {
    let orders = [
        ("fifo", "clock", "random"),
        ("clock", "fifo", "seq"),
        ("aging", "wsclock", "zipf"),
        ("sieve", "s3fifo", "random"),
        ("s3fifo", "sieve", "zipf"),
        ("wsclock", "aging", "seq"),
    ];
    for (guest, host, order) in orders {
        let sizes =
            ["--ram=5M", "--swap=64M", "--host-ram=3M", "--guest-policy", guest, "--host-policy", host];
        let (ended, report) = run_with_report(&sizes, &[WALK, "6M", order, "write", "1"]);
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
        let sizes = ["--ram=10M", "--host-ram=3M", "--store", store];
        let (ended, report) = run_with_report(&sizes, &[WALK, "6M", "random", "write", "1"]);
        assert!(ended.out.ends_with("all right\n"), "{}", ended.out);
        assert!(number(&report, "host", "swapped_in") > 0, "{report}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of {store}");
    }
}

/// A page that is only read after it was swapped out has a good copy in its slot.
#[test]
fn clean_pages_are_given_up_without_writing_them_again() {
    let (_, report) = run_with_report(&["--ram=5M", "--swap=64M"], &[WALK, "6M", "seq", "read", "3"]);
    let pages = 6 * 256;
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
    let run_natively = |seed| run(Command::new(SORT).args(["4M", seed])).succeeded().out;
    let start = |seed| {
        let options = ["run", "--ram=4M", "--swap=64M", "--host-ram=2M"];
        Running::start(bifold(options).args([SORT, "4M", seed]))
    };
    let (first, second) = (start("1"), start("2"));
    assert_eq!(first.wait().succeeded().out, run_natively("1"));
    assert_eq!(second.wait().succeeded().out, run_natively("2"));
}
