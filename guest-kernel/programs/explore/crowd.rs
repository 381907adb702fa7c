//! `crowd PROCESSES PAGES ROUNDS`: processes that each use all of their pages again and again, and check what
//! they find there.

use std::hint::black_box;

use programs::os::{self, Child, End};
use programs::{map_pages, mix};

use super::record::record;
use super::timing::now;

/// Work between two pages, some tenths of a millisecond: a round takes longer than a turn on the CPU, so that
/// what was used is gone when its process comes back to it.
const WORK: u64 = 60_000;

pub fn run(processes: usize, pages: usize, rounds: usize) {
    let start = now();
    let all: Vec<Child> =
        (1..=processes).map(|number| os::child(|| work(number as u64, pages, rounds))).collect();
    let wrong = all.into_iter().map(Child::wait).filter(|end| *end != End::Exit(0)).count();
    record!("crowd", processes = processes, pages = pages, wrong = wrong, cycles = now() - start);
}

/// Returns the process's exit status: whether any page was wrong.
fn work(number: u64, pages: usize, rounds: usize) -> i32 {
    let memory = map_pages(pages);
    let content = |page: usize, round: usize| mix(number << 32 | page as u64) + round as u64;
    let mut wrong = false;
    for round in 0..rounds {
        for (number, page) in memory.iter_mut().enumerate() {
            wrong |= round > 0 && page[0] != content(number, round - 1);
            page[0] = content(number, round);
            black_box((0..WORK).fold(0, |value, _| mix(value + 1)));
        }
    }
    i32::from(wrong)
}
