//! Three processes whose working sets do not fit into RAM together, two of which would: they thrash, unless load control holds one back
//! or whole processes are swapped.

use crate::support::guests::compile_c;
use crate::support::report::{number, run_with_report};

/// How many major faults the same work takes under these options.
fn major_faults(option: &str) -> u64 {
    let program = compile_c("crowd.c", &["-static"]);
    let options = ["--ram=4M", "--swap=32M", option];
    let (ended, report) = run_with_report(&options, &[program.to_str().unwrap(), "3", "220", "6"]);
    assert_eq!(ended.out, "0 wrong\n", "{option}");
    number(&report, "guest", "major_faults")
}

/// How far they thrash depends on how often the host's timer makes them take turns: where each finishes in its own turn, there is
/// nothing to end, and neither way may make it worse.
#[test]
fn load_control_and_whole_process_swapping_end_thrashing() {
    let without = major_faults("--load-control=off");
    let is_thrashing = without > 2000;
    let most = if is_thrashing { without / 2 } else { without + 660 };
    for option in ["--load-control=on", "--swap-processes"] {
        let faults = major_faults(option);
        assert!(faults <= most, "{faults} faults with {option}, {without} without");
    }
}
