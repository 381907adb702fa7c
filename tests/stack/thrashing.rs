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

#[test]
fn load_control_and_whole_process_swapping_end_thrashing() {
    let thrashing = major_faults("--load-control=off");
    assert!(thrashing > 2000, "{thrashing} faults are no thrashing");
    for option in ["--load-control=on", "--swap-processes"] {
        let faults = major_faults(option);
        assert!(faults * 2 < thrashing, "{faults} faults with {option}, {thrashing} without");
    }
}
