//! `bifold` without arguments.

use crate::support::command::{bifold, run};

#[test]
fn the_demo_gives_the_right_answer_and_both_levels_page() {
    let ended = run(&mut bifold([""; 0])).succeeded();
    assert!(ended.out.contains("The answers are equal."), "{}", ended.out);
    let [guest, host] = both_levels(&ended.out, "major faults");
    assert!(guest > 0 && host > 0, "{}", ended.out);
    assert!(!ended.out.contains('\x1b'), "{:?}", ended.out);
    assert_eq!(ended.err, "", "no progress where no terminal is");
}

/// A row of the table: the guest's number and the host's. Columns are two spaces or more apart, thousands one.
#[track_caller]
fn both_levels(table: &str, row: &str) -> [u64; 2] {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(row)).unwrap();
    let cells = line.split("  ").filter(|cell| !cell.trim().is_empty());
    let numbers = cells.map(|cell| cell.replace(|c: char| c.is_whitespace(), "").parse().unwrap());
    numbers.collect::<Vec<u64>>().try_into().unwrap()
}
