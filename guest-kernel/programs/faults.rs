//! Shows what its own page faults cost: `faults SIZE`.
//!
//! Each line is one pass over SIZE of memory, one access a page: how many minor and major faults the kernel
//! counted for this program (getrusage) and how long the pass took. If SIZE is more than there is RAM, `touched
//! again` is where the pages come back from swap.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use programs::{PAGE, Page, fail, map_pages, parse_size};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [size] = arguments.as_slice() else { fail("usage: faults SIZE, such as faults 8M") };
    let Some(size) = parse_size(size) else { fail(format!("{size} is not a size; write 8M, 64K or bytes")) };
    let pages = size.div_ceil(PAGE);

    println!("{:<16} {:>9} {:>9} {:>12} {:>12}", "pass", "minor", "major", "us", "us a page");
    let memory = map_pages(pages);
    pass("first write", memory, |page| page[0] = 1);
    pass("written again", memory, |page| page[0] += 1);
    pass("touched again", memory, |page| {
        black_box(page[1]);
    });
    let right = memory.iter().all(|page| page[0] == 2);
    let untouched = map_pages(pages);
    pass("first read", untouched, |page| {
        black_box(page[1]);
    });
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Applies `access` to each page and prints what that took.
fn pass(name: &str, pages: &mut [Page], access: impl Fn(&mut Page)) {
    let (minor, major) = counted();
    let start = Instant::now();
    for page in black_box(&mut *pages) {
        access(page);
    }
    let us = start.elapsed().as_secs_f64() * 1e6;
    let now = counted();
    println!(
        "{name:<16} {:>9} {:>9} {us:>12.1} {:>12.3}",
        now.0 - minor,
        now.1 - major,
        us / pages.len() as f64
    );
}

/// This process's minor and major faults so far.
fn counted() -> (i64, i64) {
    // SAFETY: rusage is plain data, for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one rusage through the pointer, which is valid for that.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    if result != 0 {
        fail("getrusage failed: this kernel does not count a program's faults");
    }
    (usage.ru_minflt, usage.ru_majflt)
}
