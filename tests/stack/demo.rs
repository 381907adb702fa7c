//! `bifold` without arguments.

use crate::support::command::{bifold, run};

#[test]
fn the_demo_gives_the_right_answer_and_both_levels_page() {
    let ended = run(&mut bifold([""; 0])).succeeded();
    assert!(ended.out.contains("right"), "{}", ended.out);
    let majors =
        ended.out.lines().find(|line| line.trim_start().to_lowercase().starts_with("major")).unwrap();
    let counts: Vec<u64> =
        majors.split_whitespace().filter_map(|word| word.replace(',', "").parse().ok()).collect();
    assert!(counts.len() == 2 && counts.iter().all(|count| *count > 0), "{}", ended.out);
    assert!(
        !ended.out.contains('\x1b') && !ended.err.contains('\x1b'),
        "no progress in a pipe: {}",
        ended.err
    );
}
