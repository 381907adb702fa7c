//! `mapped-files FILE`: pages of a file that are written through mappings of it, shared and private.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use programs::{PAGE, Page, fail, os};

use super::memory::map_file;
use super::proc;
use super::record::record;

/// Pages that each mapping writes.
const COUNT: usize = 4;

pub fn run(path: &str) {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = opened.unwrap_or_else(|error| fail(format!("{path}: {error}")));
    let pages = file.metadata().map_or(0, |file| file.len() as usize / PAGE);
    if pages < 3 * COUNT {
        fail(format!("{path} has fewer than {} pages", 3 * COUNT));
    }
    case("shared, then msync", &file, libc::MAP_SHARED, 0, true);
    case("shared, then exit", &file, libc::MAP_SHARED, COUNT, false);
    case("private, then exit", &file, libc::MAP_PRIVATE, 2 * COUNT, true);
}

/// The word that is written to a page.
fn mark(page: usize) -> u64 {
    0x1234_5678_0000_0000 | page as u64
}

fn case(name: &str, file: &File, sharing: i32, first: usize, sync: bool) {
    let mapped =
        || &mut map_file(file, 3 * COUNT, libc::PROT_READ | libc::PROT_WRITE, sharing)[first..first + COUNT];
    let pages = mapped();
    for (number, page) in pages.iter_mut().enumerate() {
        page[0] = mark(first + number);
    }
    let by_read = (first..first + COUNT).filter(|&number| read(file, number) == mark(number)).count();
    let by_other = os::child(|| marked(mapped(), first));
    let by_other = match by_other.wait() {
        os::End::Exit(count) => count,
        os::End::Signal(signal) => fail(format!("the other process died of signal {signal}")),
    };
    let before = kib_written();
    if sync {
        // SAFETY: it changes no memory.
        unsafe { libc::msync(pages.as_mut_ptr().cast(), size_of_val(pages), libc::MS_SYNC) };
    }
    let written = (kib_written() - before) / 4;
    record!(
        "mapping",
        name = name,
        first = first,
        written = COUNT,
        other = by_other,
        read = by_read,
        msync = if sync { written.to_string() } else { String::new() }
    );
}

/// How many pages have their words, as another process sees them through a mapping of its own.
fn marked(pages: &[Page], first: usize) -> i32 {
    pages.iter().enumerate().filter(|&(number, page)| page[0] == mark(first + number)).count() as i32
}

fn read(file: &File, page: usize) -> u64 {
    let mut word = [0; 8];
    match file.read_exact_at(&mut word, (page * PAGE) as u64) {
        Ok(()) => u64::from_le_bytes(word),
        Err(error) => fail(format!("read: {error}")),
    }
}

fn kib_written() -> i64 {
    proc::value("/proc/vmstat", "pgpgout")
}
