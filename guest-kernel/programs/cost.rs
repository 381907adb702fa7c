//! What one operation costs: `cost OPERATION=ROUNDS...`.
//!
//! Prints a line for each operation: its name, the rounds, and the cycles of the time-stamp counter that they took
//! together. Everything that is needed only once was done before. The operations:
//!
//!     getpid   a system call that does nothing
//!     map      mmap of 64 KiB and munmap, untouched
//!     map1     the same, one page touched
//!     fresh    the first write to a page; nobody has used its frame
//!     touch    the first write to a page; its frame was used before, so that it must be zeroed
//!     zero     the first read of a page that nobody wrote to
//!     cow      a write to a page that a child shares, so that it must be copied
//!     forget   madvise(MADV_DONTNEED) of a page
//!     cached   the first read of a page of a file, which is in the page cache; the end of this program's own file is
//!              taken, which nothing else maps
//!     read     a read of the next of ROUNDS pages, going round; more than RAM holds is what is interesting
//!     write    the same, writing
//!     fork     fork, the child's exit, and the wait for it
//!     exec     vfork, execve of a program that ends at once, and the wait for it
//!     switch   a byte through a pipe to another process and one back

#[path = "cost/process.rs"]
mod process;

use std::env;
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::ptr;

use programs::{PAGE, Page, fail, map_pages};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    for argument in &arguments[1..] {
        let parsed = argument.split_once('=').and_then(|(name, rounds)| Some((name, rounds.parse().ok()?)));
        let Some((name, rounds)) = parsed else {
            fail("usage: cost OPERATION=ROUNDS..., such as cost getpid=1000 touch=500");
        };
        let cycles = match name {
            "getpid" => getpid(rounds),
            "map" => map(rounds),
            "map1" => map_touched(rounds),
            "fresh" => fresh(rounds),
            "touch" => touch(rounds),
            "zero" => zero(rounds),
            "cow" => copy_on_write(rounds),
            "forget" => forget(rounds),
            "fork" => process::fork(rounds),
            "exec" => process::exec(rounds),
            "switch" => process::switch(rounds),
            "cached" => cached(rounds, &arguments[0]),
            "read" => sweep(rounds, |page| {
                black_box(page[1]);
            }),
            "write" => sweep(rounds, |page| page[0] += 1),
            _ => fail(format!("no operation {name}; the start of the source lists them")),
        };
        println!("cost {name} {rounds} {cycles}");
    }
}

/// How long `operation` takes, in cycles.
fn cycles(operation: impl FnOnce()) -> u64 {
    // SAFETY: every x86-64 CPU has the instruction.
    let now = || unsafe { core::arch::x86_64::_rdtsc() };
    let start = now();
    operation();
    now() - start
}

fn getpid(rounds: usize) -> u64 {
    cycles(|| {
        for _ in 0..rounds {
            // SAFETY: it touches nothing. Called by number, because a C library may remember the answer.
            unsafe { libc::syscall(libc::SYS_getpid) };
        }
    })
}

fn map(rounds: usize) -> u64 {
    let once = || unmap(map_pages(16));
    once();
    cycles(|| (0..rounds).for_each(|_| once()))
}

fn map_touched(rounds: usize) -> u64 {
    let once = || {
        let pages = map_pages(16);
        pages[0][0] = 1;
        unmap(pages);
    };
    once();
    cycles(|| (0..rounds).for_each(|_| once()))
}

fn fresh(rounds: usize) -> u64 {
    let pages = map_pages(rounds);
    cycles(|| pages.iter_mut().for_each(|page| page[0] = 1))
}

fn touch(rounds: usize) -> u64 {
    let before = map_pages(rounds);
    before.iter_mut().for_each(|page| page[0] = 1);
    unmap(before);
    let pages = map_pages(rounds);
    let cycles = cycles(|| pages.iter_mut().for_each(|page| page[0] = 1));
    // Those that come next, too, get frames that were used before.
    unmap(pages);
    cycles
}

fn zero(rounds: usize) -> u64 {
    let pages = map_pages(rounds);
    cycles(|| pages.iter().for_each(|page| _ = black_box(page[0])))
}

fn copy_on_write(rounds: usize) -> u64 {
    let pages = map_pages(rounds);
    pages.iter_mut().for_each(|page| page[0] = 1);
    process::beside_a_child(|| cycles(|| pages.iter_mut().for_each(|page| page[0] = 2)))
}

fn forget(rounds: usize) -> u64 {
    let pages = map_pages(rounds);
    pages.iter_mut().for_each(|page| page[0] = 1);
    // SAFETY: the pages are a whole mapping of zeros again afterwards.
    cycles(|| _ = unsafe { libc::madvise(pages.as_mut_ptr().cast(), rounds * PAGE, libc::MADV_DONTNEED) })
}

fn cached(rounds: usize, path: &str) -> u64 {
    let file = File::open(path).unwrap_or_else(|error| fail(format!("cannot open {path}: {error}")));
    let whole = file.metadata().map_or(0, |file| file.len() as usize / PAGE);
    let Some(first) = whole.checked_sub(rounds) else {
        fail(format!("{path} has fewer than {rounds} pages"))
    };
    let read = |pages: &[Page]| pages.iter().for_each(|page| _ = black_box(page[0]));
    let before = map_file(&file, first, rounds);
    read(before);
    unmap(before);
    let pages = map_file(&file, first, rounds);
    cycles(|| read(pages))
}

/// A pass over the pages after each of them was written and then accessed the same way once.
fn sweep(rounds: usize, access: impl Fn(&mut Page)) -> u64 {
    let pages = map_pages(rounds);
    pages.iter_mut().for_each(|page| page[0] = 1);
    pages.iter_mut().for_each(&access);
    let cycles = cycles(|| pages.iter_mut().for_each(&access));
    unmap(pages);
    cycles
}

/// Maps `pages` pages of a file that has them, from its page `first` on.
fn map_file(file: &File, first: usize, pages: usize) -> &'static [Page] {
    let (rights, kind) = (libc::PROT_READ, libc::MAP_PRIVATE);
    let offset = (first * PAGE) as libc::off_t;
    // SAFETY: a new mapping at an address that the kernel chooses changes nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE, rights, kind, file.as_raw_fd(), offset) };
    if start == libc::MAP_FAILED {
        fail(format!("cannot map the file: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the mapping is as long as the slice, aligned and inside the file; any bytes are a valid page.
    unsafe { std::slice::from_raw_parts(start.cast(), pages) }
}

/// Takes the pages for good.
fn unmap(pages: &'static [Page]) {
    // SAFETY: they are a whole mapping, and this was the only reference to it.
    unsafe { libc::munmap(pages.as_ptr().cast_mut().cast(), size_of_val(pages)) };
}
