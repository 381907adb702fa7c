//! `faults PAGES FILE`: accesses of every kind, and the faults that the kernel counted for this process
//! (getrusage). FILE has 16 pages for each of PAGES.

use programs::os;
use programs::{Page, map_pages};

use super::memory::{advise, die, map_file, open, read, unmap, write};
use super::record::record;

/// Pages of the file that are used: so far from each other that the kernel does not bring one in with
/// another.
const APART: usize = 16;

pub fn run(pages: usize, path: &str) {
    let memory = map_pages(pages);
    pass("first read of new memory", memory.iter_mut(), read);
    pass("first write to it", memory.iter_mut(), write);
    pass("written again", memory.iter_mut(), write);
    advise(memory, libc::MADV_PAGEOUT);
    pass("read after it went to swap", memory.iter_mut(), read);
    let file = open(path);
    let map = || map_file(&file, pages * APART, libc::PROT_READ, libc::MAP_PRIVATE);
    let mapped = map();
    pass("first read of a file's pages", mapped.iter_mut().step_by(APART), read);
    unmap(mapped);
    pass("read through a new mapping", map().iter_mut().step_by(APART), read);
    invalid();
}

fn pass<'a>(name: &str, pages: impl Iterator<Item = &'a mut Page>, access: impl Fn(&mut Page)) {
    let (before, mut accesses) = (os::faults(), 0);
    for page in pages {
        access(page);
        accesses += 1;
    }
    let now = os::faults();
    record!(
        "pass",
        name = name,
        accesses = accesses,
        minor = now.0 - before.0,
        major = now.1 - before.1,
        ended = "goes on"
    );
}

/// An access to an address that nothing is mapped at, in a child, which dies of it.
fn invalid() {
    let end = os::child(|| {
        die();
        0
    });
    record!("invalid", name = "write where nothing is mapped", ended = end.wait());
}
