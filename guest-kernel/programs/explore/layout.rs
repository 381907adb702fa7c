//! `areas FILE`: the process's areas, and where the pages of each are. It has memory in every state: never
//! used, written, sent to swap; a heap; a mapping of FILE that was looked at once.

use std::hint::black_box;

use programs::map_pages;

use super::memory::{advise, map_file, open, read, write};
use super::proc::{PageMap, areas};
use super::record::record;

pub fn run(path: &str) {
    let heap: Vec<u64> = black_box(vec![1; 1 << 12]);
    let memory = map_pages(64);
    memory[..32].iter_mut().for_each(write);
    advise(&memory[..16], libc::MADV_PAGEOUT);
    let file = map_file(&open(path), 64, libc::PROT_READ, libc::MAP_PRIVATE);
    read(&mut file[0]);
    let map = PageMap::open();
    for area in areas() {
        let (mut resident, mut swapped) = (0, 0);
        map.for_each(area.start, area.pages(), |_, entry| {
            resident += usize::from(entry.is_present());
            swapped += usize::from(entry.is_swapped());
        });
        let untouched = area.pages() - resident - swapped;
        let is_file = area.name.starts_with('/');
        let is_new = area.start <= memory.as_ptr().addr() && memory.as_ptr().addr() < area.end;
        record!(
            "area",
            start = area.start,
            end = area.end,
            rights = area.rights,
            name = if is_new { "new memory" } else { &area.name },
            resident = resident,
            zero = if is_file { 0 } else { untouched },
            file = if is_file { untouched } else { 0 },
            swap = swapped,
        );
    }
    black_box(heap);
}
