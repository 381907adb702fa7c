//! `fault-costs SAMPLES FILE`: how long a program waits for each kind of fault. FILE has 16 pages for each
//! sample. `host-faults PAGES`: how long it waits for pages that its own kernel has in RAM, but perhaps not
//! the host.

use programs::{PAGE, Page, fill, map_pages, os};

use super::memory::{advise, map_file, open, read, unmap, write};
use super::record::record;
use super::timing::Samples;

/// A kernel may bring a file's pages in by so many: only the first of them is a fault that reads.
const AROUND: usize = 16;
/// From one page to the next where the host is to foresee nothing: farther than it looks for a stream of faults.
const APART: usize = 32;

pub fn run(count: usize, path: &str) {
    let memory = map_pages(count);
    measure("zero", count, memory.iter_mut(), write);
    stack(count);
    let (wait, go) = os::pipe();
    let child = os::child(|| {
        os::close(go);
        i32::from(os::read(wait, &mut [0]).is_err())
    });
    measure("copy", count, memory.iter_mut(), write);
    os::close(go);
    child.wait();
    advise(memory, libc::MADV_PAGEOUT);
    measure("swap", count, memory.iter_mut(), read);

    let file = open(path);
    let map = || map_file(&file, count * AROUND, libc::PROT_READ, libc::MAP_PRIVATE);
    let pages = map();
    measure("file", count, pages.iter_mut().step_by(AROUND), read);
    unmap(pages);
    // All of it is in the page cache now: only the entries are missing.
    measure("resident", count, map().iter_mut().step_by(AROUND), read);
}

/// Times one access to each page.
fn measure<'a>(
    kind: &str,
    count: usize,
    pages: impl Iterator<Item = &'a mut Page>,
    access: impl Fn(&mut Page),
) {
    let mut samples = Samples::with_room(count);
    let before = os::faults();
    for page in pages {
        samples.take(|| access(page));
    }
    print(kind, samples, before);
}

/// Times accesses a page further down each, where no stack was before.
fn stack(count: usize) {
    let mut samples = Samples::with_room(count);
    let before = os::faults();
    for page in 4..count + 4 {
        // SAFETY: this is below the red zone, where nothing of the program is.
        samples.take(|| unsafe {
            core::arch::asm!("mov byte ptr [{0}], 1", in(reg) stack_pointer() - page * PAGE);
        });
    }
    print("stack", samples, before);
}

#[inline(always)]
fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: it only reads a register.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack)) };
    pointer
}

fn print(kind: &str, mut samples: Samples, before: (i64, i64)) {
    let now = os::faults();
    let (p50, p99) = (samples.percentile(50), samples.percentile(99));
    let (minor, major) = (now.0 - before.0, now.1 - before.1);
    record!(
        "fault",
        kind = kind,
        samples = samples.count(),
        minor = minor,
        major = major,
        p50 = p50,
        p99 = p99
    );
}

pub fn host(count: usize) {
    let memory = map_pages(count);
    measure("both zero", count, memory.iter_mut(), write);
    let mut pages: Vec<(usize, &mut Page)> = memory.iter_mut().enumerate().collect();
    pages.sort_by_key(|(number, _)| number % APART);
    for (number, page) in &mut pages {
        fill(page, *number, 0);
        // Half a page is random: it can be compressed.
        let middle = page.len() / 2;
        page[middle..].fill(*number as u64);
    }
    measure("host", count, pages.into_iter().map(|(_, page)| page), read);
}
