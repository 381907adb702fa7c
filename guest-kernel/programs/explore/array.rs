//! `huge-pages PAGES UPDATES`: touches an array page by page, as a program that fills one does, and then
//! updates elements of it at random, as an order book's are.

use programs::{Random, map_pages, os};

use super::memory::write;
use super::proc;
use super::record::record;
use super::timing::now;

pub fn run(pages: usize, updates: usize) {
    let array = map_pages(pages);
    let (tables, faults) = (proc::tables(), os::faults());
    let start = now();
    array.iter_mut().for_each(write);
    let touch = now() - start;
    let (faults, tables) = (os::faults().0 - faults.0, proc::tables() - tables);
    let huge = proc::smaps_kib(array.as_ptr().addr(), "AnonHugePages:");

    let (elements, mut random) = (array.as_flattened_mut(), Random::new(1));
    let start = now();
    for _ in 0..updates {
        elements[random.below(elements.len())] += 1;
    }
    let update = now() - start;
    record!(
        "array",
        pages = pages,
        faults = faults,
        tables = tables,
        huge_kib = huge,
        touch = touch,
        updates = updates,
        update = update
    );
}
