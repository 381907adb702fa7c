//! `tlb PAGES`: follows chains of words through more and more pages, up to PAGES. Of each length there are
//! two: one has a word a page; the other's words lie in neighbouring lines, which are as many for the caches,
//! but few pages.

use std::hint::black_box;

use programs::{PAGE, Random, map_pages};

use super::memory::write;
use super::record::record;
use super::timing::now;

/// Words in a page, and in a line of the caches.
const A_PAGE: usize = PAGE / 8;
const A_LINE: usize = 8;
/// The shortest chain.
const SHORTEST: usize = 16;
/// Accesses that are timed together, and how often: the fastest counts, other work can only slow them down.
const STEPS: usize = 100_000;
const TIMES: usize = 7;

pub fn run(pages: usize) {
    let memory = map_pages(pages);
    memory.iter_mut().for_each(write);
    let words = memory.as_flattened_mut();
    for length in (0..).map(|n| SHORTEST << n).take_while(|&length| length <= pages) {
        // The words of neighbouring pages are in different lines, so that both chains use the caches alike.
        let apart = chase(words, length, |n| n * A_PAGE + n * A_LINE % A_PAGE);
        let packed = chase(words, length, |n| n * A_LINE);
        record!("chains", pages = length, steps = STEPS, apart = apart, packed = packed);
    }
}

/// The cycles that so many steps take through a chain of `length` words at these places.
fn chase(words: &mut [u64], length: usize, place: impl Fn(usize) -> usize) -> u64 {
    link(words, length, &place);
    let mut at = place(0);
    let mut follow = |steps| {
        let start = now();
        (0..steps).for_each(|_| at = words[at] as usize);
        black_box(at);
        now() - start
    };
    follow(length);
    (0..TIMES).map(|_| follow(STEPS)).min().unwrap_or(0)
}

/// Makes one cycle of all of them, in random order (Sattolo's algorithm).
fn link(words: &mut [u64], length: usize, place: impl Fn(usize) -> usize) {
    let mut next: Vec<usize> = (0..length).collect();
    let mut random = Random::new(length as u64);
    for n in (1..length).rev() {
        next.swap(n, random.below(n));
    }
    for (n, &next) in next.iter().enumerate() {
        words[place(n)] = place(next) as u64;
    }
}
