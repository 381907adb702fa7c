//! `cow PAGES`: how many frames a fork copies, by what comes after it.

use std::ptr;

use programs::os::{self, Fork};
use programs::{PAGE, Page, fail, map_pages};

use super::proc::{Entry, PageMap, areas};
use super::record::record;

pub fn run(pages: usize) {
    let memory = map_pages(pages);
    memory.iter_mut().for_each(|page| page[0] = 1);
    case("the child only ends", memory, |_| {});
    case("the child reads all of it", memory, |memory| {
        if memory.iter().any(|page| page[0] != 1) {
            fail("the child found another content than the parent's");
        }
    });
    case("the child writes a quarter", memory, |memory| write(&mut memory[..pages / 4]));
    case("the child writes all of it", memory, write);
    case("the child runs a program", memory, |_| {});
}

fn write(memory: &mut [Page]) {
    memory.iter_mut().for_each(|page| page[0] = 2);
}

/// A fork, after which the child does `work`, says how many frames it has that are copies of the parent's,
/// and ends or, in the last case, becomes another program.
fn case(name: &str, memory: &mut [Page], work: impl FnOnce(&mut [Page])) {
    let pages = private_pages();
    let (from, to) = os::pipe();
    match os::fork() {
        Fork::Child => {
            work(memory);
            let _ = os::write(to, &copied(&pages).to_le_bytes());
            if name.ends_with("program") {
                become_nothing();
            }
            os::exit(0)
        }
        Fork::Parent(child) => {
            let mut answer = [0; 8];
            let _ = os::read(from, &mut answer);
            child.wait();
            [from, to].into_iter().for_each(os::close);
            let (by_child, by_parent) = (u64::from_le_bytes(answer), copied(&pages));
            let intact = memory.iter().all(|page| page[0] == 1);
            record!(
                "fork",
                name = name,
                shared = pages.len(),
                copied = by_child + by_parent,
                parent_intact = intact
            );
        }
    }
}

/// The process's resident pages that nobody else may see it write to, with their frames: what a fork without
/// copy-on-write would have to copy.
fn private_pages() -> Vec<(usize, Entry)> {
    let map = PageMap::open();
    let mut pages = Vec::new();
    for area in areas() {
        map.for_each(area.start, area.pages(), |address, entry| {
            if entry.is_present() && !entry.is_of_file() {
                pages.push((address, entry));
            }
        });
    }
    pages
}

/// How many of the pages have other frames now: copies.
fn copied(pages: &[(usize, Entry)]) -> u64 {
    let map = PageMap::open();
    let mut copies = 0;
    for stretch in pages.chunk_by(|one, next| one.0 + PAGE == next.0) {
        let mut before = stretch.iter();
        map.for_each(stretch[0].0, stretch.len(), |_, now| {
            copies += u64::from(before.next().is_some_and(|(_, entry)| entry.frame() != now.frame()));
        });
    }
    copies
}

/// Becomes a program that ends at once.
fn become_nothing() -> ! {
    let words = [c"explore".as_ptr(), c"nothing".as_ptr(), ptr::null()];
    // SAFETY: the strings and the list that they end are there until the call.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), words.as_ptr()) };
    fail(format!("exec: {}", std::io::Error::last_os_error()))
}
