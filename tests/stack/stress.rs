//! Random memory system calls from several processes under memory pressure: every page holds what a model says, in the guest as natively,
//! and frames, page tables and slots of swap are all back at the end.

use std::process::Command;

use crate::support::command::run;
use crate::support::full;
use crate::support::guests::STRESS;
use crate::support::report::{number, run_with_report};

/// Makes a million calls in full size, with a policy of the guest for each seed. `flags` are the program's.
fn stress(flags: &[&str]) {
    let (seeds, calls) = if full() { (100, 10_000) } else { (1, 300) };
    for seed in 1..=seeds {
        let policies = ["clock", "sieve", "aging", "s3fifo", "wsclock", "fifo"];
        let sizes = format!("--calls {calls} --processes 2 --pages 288 --seed {seed}");
        let arguments = || sizes.split(' ').chain(flags.iter().copied());
        let native = run(Command::new(STRESS).args(arguments())).succeeded();
        assert_eq!(native.out, format!("{calls} calls, 0 wrong\n"));
        let policy = policies[seed % policies.len()];
        let options = ["--ram=4M", "--swap=64M", "--host-ram=2M", "--guest-policy", policy];
        let program: Vec<&str> = [STRESS, "--leaks"].into_iter().chain(arguments()).collect();
        let (guest, report) = run_with_report(&options, &program);
        assert_eq!(guest.out, format!("{calls} calls, 0 wrong, 0 leaked\n"));
        for level in ["guest", "host"] {
            assert!(number(&report, level, "swapped_in") > 100, "{report}");
        }
    }
}

#[test]
fn random_memory_calls_leave_every_page_right_and_nothing_behind() {
    stress(&[]);
}

#[test]
fn random_memory_calls_with_signals_and_forks_leave_every_page_right_and_nothing_behind() {
    stress(&["--signals", "--forks"]);
}
