//! `swap PAGES`: fills pages and checks them all. `eviction PAGES FILE`: which evictions write, by what was
//! done to the pages.

use programs::{Page, fail, fill, holds, map_pages};

use super::memory::{map_file, open, read, write};
use super::proc;
use super::record::record;

pub fn run(pages: usize) {
    let memory = map_pages(pages);
    memory.iter_mut().enumerate().for_each(|(number, page)| fill(page, number, 0));
    let right = memory.iter().enumerate().filter(|&(number, page)| holds(page, number, 0)).count();
    record!("checked", pages = pages, right = right);
}

/// More pages than RAM holds, so that each access evicts another.
pub fn evict(pages: usize, path: &str) {
    let memory = map_pages(pages);
    memory.iter_mut().for_each(write);
    // Before each pass that counts one that does not: what lies in RAM then is of the same kind.
    memory.iter_mut().for_each(read);
    pass("memory is only read", memory, read);
    memory.iter_mut().for_each(write);
    pass("memory is written", memory, write);
    memory.iter_mut().for_each(read);
    let file = open(path);
    if file.metadata().map_or(0, |file| file.len() as usize / size_of::<Page>()) < pages {
        fail(format!("{path} has fewer than {pages} pages"));
    }
    let mapped = map_file(&file, pages, libc::PROT_READ, libc::MAP_PRIVATE);
    pass("a file is read", mapped, read);
}

fn pass(name: &str, pages: &mut [Page], access: fn(&mut Page)) {
    let before = counted();
    pages.iter_mut().for_each(access);
    let [evicted, written] = [0, 1].map(|n| counted()[n] - before[n]);
    record!("pass", name = name, accesses = pages.len(), evicted = evicted, written = written);
}

/// Pages that were evicted so far, and those written to swap.
fn counted() -> [i64; 2] {
    ["pgsteal_direct", "pswpout"].map(|name| proc::value("/proc/vmstat", name))
}
