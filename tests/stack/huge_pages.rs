//! Huge pages: of the guest's kernel, for programs that ask for them and programs that do not know; and of the host's
//! pager, under both.

use std::process::Command;

use crate::support::command::{bifold, run};
use crate::support::guests::{SORT, WALK, compile_c};
use crate::support::report::{number, run_with_report};

#[test]
fn a_program_that_asks_for_huge_pages_gets_them_and_can_cut_them() {
    let program = compile_c("huge.c", &["-static"]);
    let ended = run(bifold(["run", "--ram=32M", "--"]).arg(program)).succeeded();
    assert_eq!(
        ended.out,
        "4 MiB took at most 8 faults: 1, huge 4096 KiB\n\
         after a cut 0 wrong, huge 2048 KiB\n\
         a child sees 1 other page, its parent 0\n\
         locked: 0\n\
         MAP_HUGETLB 4096 KiB in pages of 2048 KiB, aligned: 1\n\
         a cut: -1, Invalid argument\n\
         a child sees 0 other pages, its parent 0\n\
         unmapped: 0\n\
         no such size: 1\n"
    );
}

/// Guest RAM has room for a few huge pages only: they are made at faults, split when they are evicted, and nothing is lost.
#[test]
fn a_sort_in_huge_pages_that_are_split_and_evicted_is_right() {
    let native = run(Command::new(SORT).arg("4M")).succeeded();
    let options = ["--ram=8M", "--host-ram=7M", "--guest-page=2m"];
    let (guest, report) = run_with_report(&options, &[SORT, "4M"]);
    assert_eq!(guest.out, native.out);
    assert_eq!(report["guest_page"], "2m");
    let [faults, split] = ["faults", "split"].map(|name| number(&report, "guest_huge", name));
    assert!(faults > 1 && split > 0 && number(&report, "guest", "swapped_out") > 0, "{report}");
}

/// The program walks through twice what the host keeps, and checks each page that it visits.
#[test]
fn guest_ram_of_huge_pages_is_paged_by_the_host_and_nothing_is_lost() {
    for swap in ["keep", "split", "auto"] {
        let options = ["--ram=52M", "--host-ram=18M", "--guest-page=2m", "--backing=thp", "--store=memory"];
        let options = [&options[..], &["--huge-swap", swap]].concat();
        let (_, report) = run_with_report(&options, &[WALK, "36M", "seq", "write"]);
        let huge = |counter: &str| report["host_detail"]["huge"][counter].as_u64().unwrap();
        assert!(huge("brought_in") > 0, "{swap}: {report}");
        match swap {
            "keep" => assert!(huge("split") == 0 && huge("evicted") > 0, "{report}"),
            "split" => assert!(huge("split") > 0 && huge("evicted") == 0, "{report}"),
            _ => assert!(huge("evicted") > 0, "{report}"),
        }
        assert!(number(&report, "host", "resident_peak") <= 18 * 256, "{swap}: {report}");
    }
}
