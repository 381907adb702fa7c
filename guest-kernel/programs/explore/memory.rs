//! Mappings of the kinds that the experiments need.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::{io, ptr, slice};

use programs::{PAGE, Page, fail};

/// Reads a word of a page, here and now.
pub fn read(page: &mut Page) {
    // SAFETY: a reference is valid to read.
    unsafe { (&raw const page[1]).read_volatile() };
}

/// Writes a word of a page, here and now.
pub fn write(page: &mut Page) {
    // SAFETY: a reference that nobody else has is valid to write.
    unsafe { (&raw mut page[1]).write_volatile(2) };
}

/// Maps `pages` pages of a file from its start: `sharing` is MAP_PRIVATE or MAP_SHARED. Those who map a file
/// twice know it.
pub fn map_file(file: &File, pages: usize, rights: i32, sharing: i32) -> &'static mut [Page] {
    let number = file.as_raw_fd();
    // SAFETY: a new mapping at an address that the kernel chooses changes nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE, rights, sharing, number, 0) };
    if start == libc::MAP_FAILED {
        fail(format!("cannot map the file: {}", io::Error::last_os_error()));
    }
    // SAFETY: the mapping is as long as the slice and aligned, and any bytes are a valid page. What other
    // mappings of the file write to it is only looked for through black_box or after a system call.
    unsafe { slice::from_raw_parts_mut(start.cast(), pages) }
}

pub fn open(path: &str) -> File {
    File::open(path).unwrap_or_else(|error| fail(format!("{path}: {error}")))
}

/// madvise of whole pages.
pub fn advise(pages: &[Page], advice: i32) {
    // SAFETY: none of the advice that is given here changes what a private mapping holds, but for
    // MADV_DONTNEED, whose users do not look at what was there before.
    let result = unsafe { libc::madvise(pages.as_ptr().cast_mut().cast(), size_of_val(pages), advice) };
    if result != 0 {
        fail(format!("madvise: {}", io::Error::last_os_error()));
    }
}

/// mprotect of whole pages.
pub fn protect(pages: &[Page], rights: i32) {
    // SAFETY: who takes rights away does not use them, but to see what happens.
    let result = unsafe { libc::mprotect(pages.as_ptr().cast_mut().cast(), size_of_val(pages), rights) };
    if result != 0 {
        fail(format!("mprotect: {}", io::Error::last_os_error()));
    }
}

/// Writes where nothing is mapped, which no handler of this program takes.
pub fn die() {
    // SAFETY: the default disposition runs no code of this program.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    // SAFETY: not sound; the fault is the purpose.
    unsafe { core::arch::asm!("mov byte ptr [{0}], 1", in(reg) 16usize) };
}

/// Takes a mapping away.
pub fn unmap(pages: &'static mut [Page]) {
    // SAFETY: it is a whole mapping, and this was the only reference to it.
    unsafe { libc::munmap(pages.as_mut_ptr().cast(), size_of_val(pages)) };
}
