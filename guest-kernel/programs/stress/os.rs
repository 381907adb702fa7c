//! System calls, each with its result or errno.

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::ptr::{self, without_provenance_mut};

use programs::{PAGE, fail};

/// What a call returns: a number, or errno.
pub type Answer = Result<usize, i32>;

fn answer(value: isize) -> Answer {
    if value == -1 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(value as usize) }
}

/// mmap at a fixed address.
pub fn map(start: usize, pages: usize, rights: i32, flags: i32, descriptor: i32, page: usize) -> Answer {
    let flags = flags | libc::MAP_FIXED;
    let (place, offset) = (without_provenance_mut(start), (page * PAGE) as i64);
    // SAFETY: the callers map over nothing but the arena, to which no reference is kept.
    answer(unsafe { libc::mmap(place, pages * PAGE, rights, flags, descriptor, offset) } as isize)
}

/// munmap.
pub fn unmap(start: usize, pages: usize) -> Answer {
    // SAFETY: as for `map`.
    answer(unsafe { libc::munmap(without_provenance_mut(start), pages * PAGE) } as isize)
}

/// mprotect.
pub fn protect(start: usize, pages: usize, rights: i32) -> Answer {
    // SAFETY: as for `map`.
    answer(unsafe { libc::mprotect(without_provenance_mut(start), pages * PAGE, rights) } as isize)
}

/// mremap; to `target`, where one is given.
pub fn remap(start: usize, old: usize, new: usize, flags: i32, target: usize) -> Answer {
    let place = without_provenance_mut(start);
    let target: *mut libc::c_void = without_provenance_mut(target);
    // SAFETY: as for `map`.
    answer(unsafe { libc::mremap(place, old * PAGE, new * PAGE, flags, target) } as isize)
}

/// madvise.
pub fn advise(start: usize, pages: usize, advice: i32) -> Answer {
    // SAFETY: as for `map`.
    answer(unsafe { libc::madvise(without_provenance_mut(start), pages * PAGE, advice) } as isize)
}

/// msync.
pub fn sync(start: usize, pages: usize, flags: i32) -> Answer {
    // SAFETY: it changes no byte.
    answer(unsafe { libc::msync(without_provenance_mut(start), pages * PAGE, flags) } as isize)
}

/// mincore; `to` has a byte for each page.
pub fn in_core(start: usize, pages: usize, to: &mut [u8]) -> Answer {
    assert!(pages <= to.len());
    // SAFETY: `to` is long enough.
    answer(unsafe { libc::mincore(without_provenance_mut(start), pages * PAGE, to.as_mut_ptr()) } as isize)
}

/// brk: the new end, or the old one where it cannot be moved.
pub fn set_break(end: usize) -> usize {
    // SAFETY: the callers give back nothing but what they took, and nobody allocates meanwhile.
    unsafe { libc::syscall(libc::SYS_brk, end) as usize }
}

/// pread to an address that may be anything.
pub fn read_at(descriptor: i32, to: usize, bytes: usize, offset: usize) -> Answer {
    // SAFETY: as for `map`.
    answer(unsafe { libc::pread(descriptor, without_provenance_mut(to), bytes, offset as i64) })
}

/// pwrite from an address that may be anything.
pub fn write_at(descriptor: i32, from: usize, bytes: usize, offset: usize) -> Answer {
    // SAFETY: the call only reads.
    answer(unsafe { libc::pwrite(descriptor, without_provenance_mut(from), bytes, offset as i64) })
}

/// read to an address that may be anything.
pub fn read(descriptor: i32, to: usize, bytes: usize) -> Answer {
    // SAFETY: as for `map`.
    answer(unsafe { libc::read(descriptor, without_provenance_mut(to), bytes) })
}

/// write from an address that may be anything.
pub fn write(descriptor: i32, from: usize, bytes: usize) -> Answer {
    // SAFETY: the call only reads.
    answer(unsafe { libc::write(descriptor, without_provenance_mut(from), bytes) })
}

/// lseek from the start.
pub fn seek(descriptor: i32, offset: usize) -> Answer {
    // SAFETY: the call touches no memory.
    answer(unsafe { libc::lseek(descriptor, offset as i64, libc::SEEK_SET) } as isize)
}

/// ftruncate.
pub fn truncate(descriptor: i32, bytes: usize) -> Answer {
    // SAFETY: the call touches no memory but the arena's.
    answer(unsafe { libc::ftruncate(descriptor, bytes as i64) } as isize)
}

/// A file in memory without a name.
pub fn memory_file() -> i32 {
    // SAFETY: the name is a C string.
    must(answer(unsafe { libc::memfd_create(c"stress".as_ptr(), 0) } as isize), "make a file in memory")
}

/// Opens what is there.
pub fn open(path: &str) -> i32 {
    match File::options().read(true).write(true).open(path) {
        Ok(file) => file.into_raw_fd(),
        Err(error) => fail(format!("stress: cannot open {path}: {error}")),
    }
}

/// Opens a file that is there, and empties it.
pub fn open_empty(path: &str) -> i32 {
    let file = open(path);
    must(truncate(file, 0), "empty the file");
    file
}

/// The two ends of a pipe: to read, to write.
pub fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: the array is ours to write.
    must(answer(unsafe { libc::pipe(ends.as_mut_ptr()) } as isize), "make a pipe");
    (ends[0], ends[1])
}

/// Pages of zeros that this process and those that it forks share.
pub fn shared_pages(bytes: usize) -> *mut u8 {
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses changes nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, rights, flags, -1, 0) };
    must(answer(start as isize), "map shared memory");
    start.cast()
}

/// fork: the child's number, `None` in the child.
pub fn fork() -> Option<i32> {
    // SAFETY: the process has one thread.
    let id = must(answer(unsafe { libc::fork() } as isize), "fork");
    (id != 0).then_some(id)
}

/// A child that has ended, and whether it did well; `None` while none has. Waits for one where `block` says so.
pub fn wait(which: i32, block: bool) -> Option<(i32, bool)> {
    let mut status = 0;
    loop {
        // SAFETY: the status is ours to write.
        let id = unsafe { libc::waitpid(which, &raw mut status, if block { 0 } else { libc::WNOHANG }) };
        match answer(id as isize) {
            Ok(0) => return None,
            Ok(_) => return Some((id, libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)),
            Err(libc::EINTR) => {}
            Err(error) => fail(format!("stress: cannot wait for a process: error {error}")),
        }
    }
}

/// Ends the process at once.
pub fn exit(status: i32) -> ! {
    // SAFETY: nothing of the process is needed any more.
    unsafe { libc::_exit(status) }
}

fn must(answer: Answer, what: &str) -> i32 {
    match answer {
        Ok(value) => value as i32,
        Err(error) => fail(format!("stress: cannot {what}: {}", io::Error::from_raw_os_error(error))),
    }
}
