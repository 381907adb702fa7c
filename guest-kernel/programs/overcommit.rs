//! Passes over more memory than there may be, each timed: `overcommit SIZE BUDGET`, such as `overcommit 512M
//! 128M`.
//!
//! SIZE is touched, BUDGET is what the system is said to keep of it. A page is half random words and half one
//! word repeated, so that it compresses to about a half. Each visit checks the page's first words; a wrong
//! page ends the program with status 1. It prints one line of JSON. The passes, each of as many visits as
//! there are pages:
//!
//!     populate    fills each page once
//!     write       random pages, each written
//!     sequential  every page, read
//!     zipf        reads of half as much again as BUDGET; few pages get most of the visits
//!     loop        reads of the same pages in turn: the worst order for least recently used

use std::env;
use std::time::{Duration, Instant};

use programs::{PAGE, Page, Random, fail, map_pages, mix, parse_size, words};

/// Words of a page: its number, how often it was written, and a check over both; then random ones up to the
/// middle.
const CHECK: usize = 2;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [size, budget] = arguments.as_slice() else {
        fail("usage: overcommit SIZE BUDGET, such as overcommit 512M 128M")
    };
    let pages = |text: &str| parse_size(text).map(|bytes| bytes / PAGE).filter(|&pages| pages > 0);
    let (Some(size), Some(budget)) = (pages(size), pages(budget)) else { fail("give sizes of at least 4K") };
    let passes = run(map_pages(size), (budget + budget / 2).min(size));
    let lines =
        passes.map(|(name, time)| format!(r#"{{"pass":"{name}","visits":{size},"ns":{}}}"#, time.as_nanos()));
    println!(r#"{{"bytes":{},"passes":[{}]}}"#, size * PAGE, lines.join(","));
}

/// Each pass visits as many pages as there are.
fn run(memory: &mut [Page], looped: usize) -> [(&'static str, Duration); 5] {
    let pages = memory.len();
    let mut random = Random::new(1);
    let populate = timed(|| memory.iter_mut().enumerate().for_each(|(number, page)| populate(page, number)));
    let write = timed(|| {
        for _ in 0..pages {
            let number = random.below(pages);
            check(&memory[number], number);
            memory[number][1] += 1;
            seal(&mut memory[number]);
        }
    });
    let mut written = 0;
    let sequential = timed(|| {
        written = (0..pages).map(|number| check(&memory[number], number)).sum();
    });
    if written != pages as u64 {
        wrong(format!("{pages} writes were made, and {written} are there"));
    }
    let zipf = timed(|| {
        for _ in 0..pages {
            // Page n is visited about as often as 1/n (Zipf); the multiplication scatters the hot pages.
            let rank = (looped as f64).powf(random.unit()) as usize;
            let number = rank.wrapping_mul(0x9e37_79b1) % looped;
            check(&memory[number], number);
        }
    });
    let in_turn = timed(|| {
        for visit in 0..pages {
            let number = visit % looped;
            check(&memory[number], number);
        }
    });
    [("populate", populate), ("write", write), ("sequential", sequential), ("zipf", zipf), ("loop", in_turn)]
}

fn timed(pass: impl FnOnce()) -> Duration {
    let start = Instant::now();
    pass();
    start.elapsed()
}

fn populate(page: &mut Page, number: usize) {
    let mut random = words(number, 0);
    let (head, tail) = page.split_at_mut(PAGE / 16);
    head.fill_with(|| random.next());
    tail.fill(number as u64);
    (page[0], page[1]) = (number as u64, 0);
    seal(page);
}

const fn seal(page: &mut Page) {
    page[CHECK] = mix(page[0]) ^ page[1];
}

/// How often the page was written, if it is the right one.
fn check(page: &Page, number: usize) -> u64 {
    if page[0] != number as u64 || page[CHECK] != mix(page[0]) ^ page[1] {
        wrong(format!("page {number} holds {:x?}", &page[..=CHECK]));
    }
    page[1]
}

fn wrong(what: String) -> ! {
    println!("overcommit: {what}");
    std::process::exit(1)
}
