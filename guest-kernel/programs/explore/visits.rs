//! `visits PAGES ROUNDS ORDER`: fills pages, and then visits each of them once a round; ORDER is `in-order` or
//! `at-random`. A visit checks the whole page, and changes every fourth one.

use programs::{Page, Random, fail, map_pages, os, words};

use super::record::record;
use super::timing::now;

pub fn run(pages: usize, rounds: usize, order: &str) {
    let is_random = match order {
        "in-order" => false,
        "at-random" => true,
        _ => fail(format!("{order} is no order: in-order or at-random")),
    };
    let mut numbers: Vec<usize> = (0..pages).collect();
    let memory = map_pages(pages);
    memory.iter_mut().enumerate().for_each(|(number, page)| *page = content(number, 0));
    let (before, mut random, mut wrong, start) = (os::faults(), Random::new(1), 0, now());
    for round in 0..rounds {
        if is_random {
            shuffle(&mut numbers, &mut random);
        }
        for &number in &numbers {
            let page = &mut memory[number];
            wrong += u64::from(*page != content(number, round));
            if is_changed(number) {
                page[0] = round as u64 + 1;
            }
        }
    }
    let (cycles, after) = (now() - start, os::faults());
    record!(
        "visits",
        pages = pages,
        visits = pages * rounds,
        wrong = wrong,
        minor = after.0 - before.0,
        major = after.1 - before.1,
        cycles = cycles
    );
}

/// What a page holds in a round. Of eight pages one is all zeros and one is one word, repeated; the others are
/// random numbers up to the middle, so that they compress to about a half.
fn content(number: usize, round: usize) -> Page {
    let mut page = [number as u64; size_of::<Page>() / 8];
    match number % 8 {
        0 => page.fill(0),
        1 => {}
        _ => {
            let (mut random, middle) = (words(number, 0), page.len() / 2);
            page[..middle].fill_with(|| random.next());
        }
    }
    if is_changed(number) {
        page[0] = round as u64;
    }
    page
}

const fn is_changed(number: usize) -> bool {
    number % 4 == 2
}

/// Puts them in random order (Fisher and Yates).
fn shuffle(numbers: &mut [usize], random: &mut Random) {
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, random.below(last + 1));
    }
}
