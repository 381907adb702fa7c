//! `references FILE`: uses pages in the order of a string of references, which FILE has as 16-bit numbers.

use std::fs;
use std::hint::black_box;

use programs::{fail, map_pages};

use super::proc::{self, resident};
use super::record::record;

/// How often the frames are counted: each time takes a while.
const LOOK: usize = 64;

pub fn run(path: &str) {
    let bytes = fs::read(path).unwrap_or_else(|error| fail(format!("{path}: {error}")));
    let numbers: Vec<usize> =
        bytes.as_chunks().0.iter().map(|&word| usize::from(u16::from_le_bytes(word))).collect();
    let memory = map_pages(numbers.iter().max().map_or(0, |last| last + 1));
    let (before, mut most) = (swapped_in(), 0);
    let mut first_uses = 0;
    for some in numbers.chunks(LOOK) {
        for &number in some {
            let page = &mut memory[number];
            // A page that is only read has no frame of its own.
            if black_box(page[0]) == 0 {
                page[0] = 1;
                first_uses += 1;
            }
        }
        most = most.max(resident(memory));
    }
    record!("references", faults = first_uses + swapped_in() - before, frames = most);
}

/// Pages that came from swap, all of them the program's.
fn swapped_in() -> i64 {
    proc::value("/proc/vmstat", "pswpin")
}
