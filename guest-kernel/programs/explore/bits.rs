//! `bits`: the bits of a page table's entry, each set, cleared and acted on.

use programs::os::{self, End};
use programs::{Page, map_pages};

use super::memory::{advise, protect, read, write};
use super::proc::{PageMap, smaps_kib};
use super::record::record;

pub fn run() {
    present();
    accessed();
    dirty();
    writable();
    user();
    no_execute();
}

fn observe(bit: &str, after: &str, seen_in: &str, value: impl std::fmt::Display) {
    record!("bit", bit = bit, after = after, seen_in = seen_in, value = value);
}

/// A page in an area of its own, so that what /proc says of the area is of this page.
fn alone() -> &'static mut [Page] {
    let pages = map_pages(3);
    protect(&pages[..1], libc::PROT_NONE);
    protect(&pages[2..], libc::PROT_NONE);
    &mut pages[1..2]
}

fn present() {
    let pages = alone();
    let look = |after: &str, pages: &[Page]| {
        let entry = PageMap::open().at(pages.as_ptr().addr());
        observe("present", after, "pagemap", u8::from(entry.is_present()));
    };
    look("mmap", pages);
    write(&mut pages[0]);
    look("a write", pages);
    advise(pages, libc::MADV_DONTNEED);
    look("MADV_DONTNEED", pages);
}

fn accessed() {
    let pages = alone();
    let look = |after: &str, pages: &[Page]| {
        let pages = smaps_kib(pages.as_ptr().addr(), "Referenced:") / 4;
        observe("accessed", after, "smaps, Referenced", pages);
    };
    write(&mut pages[0]);
    look("a write", pages);
    advise(pages, libc::MADV_COLD);
    look("MADV_COLD", pages);
    read(&mut pages[0]);
    look("a read", pages);
}

fn dirty() {
    let pages = alone();
    let look = |after: &str, pages: &[Page]| {
        let pages = smaps_kib(pages.as_ptr().addr(), "Private_Dirty:") / 4;
        observe("dirty", after, "smaps, Private_Dirty", pages);
    };
    write(&mut pages[0]);
    look("a write", pages);
    advise(pages, libc::MADV_PAGEOUT);
    read(&mut pages[0]);
    look("a trip to swap and a read", pages);
    write(&mut pages[0]);
    look("a write", pages);
}

fn writable() {
    let pages = alone();
    write(&mut pages[0]);
    let before = os::faults();
    write(&mut pages[0]);
    observe("writable", "a write", "faults of the next write", os::faults().0 - before.0);
    let (wait, go) = os::pipe();
    let child = os::child(|| i32::from(os::read(wait, &mut [0]).is_err()));
    let before = os::faults();
    write(&mut pages[0]);
    observe("writable", "a fork", "faults of the next write", os::faults().0 - before.0);
    let _ = os::write(go, &[0]);
    child.wait();
    protect(pages, libc::PROT_READ);
    observe("writable", "mprotect to read only", "a write", outcome(|| write(&mut pages[0])));
}

fn user() {
    let pages = alone();
    let load = |address: usize| {
        // SAFETY: not sound where the kernel protects itself; the fault is the purpose.
        unsafe { core::arch::asm!("mov {0}, [{0}]", inout(reg) address => _) };
    };
    let own = pages.as_ptr().addr();
    observe("user", "mmap", "a read of that page", outcome(|| load(own)));
    observe(
        "user",
        "the kernel's start",
        "a read of a kernel's page",
        outcome(|| load(0xffff_ffff_8000_0000)),
    );
}

fn no_execute() {
    const RET: u64 = 0xc3;
    let pages = alone();
    pages[0][0] = RET;
    let code = pages.as_ptr();
    // SAFETY: where it may run, it returns at once; where not, the fault is the purpose.
    let call = || unsafe { core::arch::asm!("call {0}", in(reg) code, clobber_abi("C")) };
    observe("no execute", "mmap to read and write", "a call of the page", outcome(call));
    protect(pages, libc::PROT_READ | libc::PROT_EXEC);
    observe("no execute", "mprotect to execute", "a call of the page", outcome(call));
}

/// What becomes of a child that does this.
fn outcome(access: impl FnOnce()) -> String {
    let end = os::child(|| {
        // SAFETY: the default disposition runs no code of this program.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        access();
        0
    });
    match end.wait() {
        End::Exit(0) => "allowed".to_owned(),
        end => end.to_string(),
    }
}
