//! Mapped files and shared memory: several mappings, several processes.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::slice;

use programs::PAGE;

use super::Check;
use super::os::{End, child, pipe, read, result, write};

pub const CHECKS: &[Check] = &[
    ("a mapping shows the file, and zeros to the end of its last page", contents),
    ("what a shared mapping writes is read from the file, and what is written to the file is seen", coherent),
    ("a private mapping keeps its writes to itself", private),
    ("two mappings of a page are one page", mapped_twice),
    ("a mapping outlives its descriptor", outlives),
    ("a child inherits a shared mapping, and both write to it", inherited),
    ("two processes that map a file see each other's writes", two_processes),
    ("what a process wrote is in the file when it has ended", ends),
    ("part of a mapping is gone when it is unmapped, the rest stays", unmapped),
    ("a mapping without a right dies of the access", rights),
    ("a mapping past the file's end is SIGBUS", past_the_end),
    ("shared anonymous memory is one for parent and child", shared_anonymous),
    ("a file of memory alone grows, is mapped, and is cut", memory_file),
    ("pages are in RAM before they are used where that is asked for", populated),
    ("advice takes pages away, or out of RAM, as the man page says", advised),
    ("mappings without end are an error in the end", too_many),
    ("what cannot be mapped is refused as the man page says", refused),
];

/// Length of the file: whole pages and a part of one.
pub const FILE_BYTES: usize = 5 * PAGE + 100;

const READ: i32 = libc::PROT_READ;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn open() -> File {
    let file = OpenOptions::new().read(true).write(true).open("mapped.bin").expect("mapped.bin");
    for page in 0..6 {
        let bytes = vec![page as u8 + 1; PAGE.min(FILE_BYTES - page * PAGE)];
        file.write_all_at(&bytes, (page * PAGE) as u64).unwrap();
    }
    file
}

fn call(
    at: usize,
    bytes: usize,
    rights: i32,
    kind: i32,
    descriptor: i32,
    offset: i64,
) -> Result<*mut u8, i32> {
    // SAFETY: whoever maps over something with MAP_FIXED owns what was there.
    let mapped =
        unsafe { libc::mmap(ptr::without_provenance_mut(at), bytes, rights, kind, descriptor, offset) };
    result(mapped as i64).map(|_| mapped.cast())
}

/// A mapping of `pages` pages of a file; they stay mapped.
fn map(file: &File, pages: usize, rights: i32, kind: i32) -> &'static mut [u8] {
    let start = call(0, pages * PAGE, rights, kind, file.as_raw_fd(), 0).unwrap();
    // SAFETY: the mapping is as long as that. That others write to it, too, is what is checked: each byte is read anew.
    unsafe { slice::from_raw_parts_mut(start, pages * PAGE) }
}

/// A byte as it is now.
fn now(bytes: &[u8], at: usize) -> u8 {
    // SAFETY: a byte of the slice.
    unsafe { ptr::from_ref(&bytes[at]).read_volatile() }
}

/// A byte of the file, by a read.
fn in_file(file: &File, at: usize) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    byte[0]
}

fn contents() {
    let file = open();
    for kind in [libc::MAP_PRIVATE, libc::MAP_SHARED] {
        let bytes = map(&file, 6, READ, kind);
        let right = (0..FILE_BYTES).all(|at| bytes[at] as usize == at / PAGE + 1);
        assert!(right && bytes[FILE_BYTES..].iter().all(|&byte| byte == 0));
    }
}

fn coherent() {
    let file = open();
    let bytes = map(&file, 6, READ_WRITE, libc::MAP_SHARED);
    bytes[PAGE + 7] = 0xaa;
    assert_eq!(in_file(&file, PAGE + 7), 0xaa);
    file.write_all_at(&[0xbb, 0xcc], 2 * PAGE as u64 - 1).unwrap();
    assert_eq!((now(bytes, 2 * PAGE - 1), now(bytes, 2 * PAGE)), (0xbb, 0xcc));
    file.write_all_at(&bytes[PAGE + 7..PAGE + 8], PAGE as u64 + 20).unwrap();
    file.read_exact_at(&mut bytes[PAGE + 30..PAGE + 34], PAGE as u64 + 20).unwrap();
    assert_eq!(
        (now(bytes, PAGE + 20), now(bytes, PAGE + 30)),
        (0xaa, 0xaa),
        "from and to the mapped page itself"
    );
    // SAFETY: the range is mapped.
    assert_eq!(unsafe { libc::msync(bytes.as_mut_ptr().cast(), 6 * PAGE, libc::MS_SYNC) }, 0);
    bytes[PAGE + 7] = 0xad;
    assert_eq!(in_file(&file, PAGE + 7), 0xad, "a page that was synchronised is written again");
}

fn private() {
    let file = open();
    let bytes = map(&file, 6, READ_WRITE, libc::MAP_PRIVATE);
    bytes[3 * PAGE] = 0xaa;
    assert_eq!((in_file(&file, 3 * PAGE), now(bytes, 3 * PAGE), now(bytes, 3 * PAGE + 1)), (4, 0xaa, 4));
}

fn mapped_twice() {
    let file = open();
    let (one, other) = (map(&file, 6, READ_WRITE, libc::MAP_SHARED), map(&file, 6, READ, libc::MAP_SHARED));
    for at in [0, PAGE, 4 * PAGE + 9] {
        assert_eq!(now(other, at) as usize, at / PAGE + 1);
        one[at] = 0xab;
        assert_eq!(now(other, at), 0xab);
    }
}

fn outlives() {
    let file = open();
    let bytes = map(&file, 6, READ_WRITE, libc::MAP_SHARED);
    drop(file);
    bytes[4 * PAGE] = 0x77;
    let again = OpenOptions::new().read(true).open("mapped.bin").unwrap();
    assert_eq!((now(bytes, 4 * PAGE + 1), in_file(&again, 4 * PAGE)), (5, 0x77));
}

fn inherited() {
    let file = open();
    let bytes = map(&file, 6, READ_WRITE, libc::MAP_SHARED);
    let (from_child, to_parent) = pipe();
    let (from_parent, to_child) = pipe();
    bytes[0] = 10;
    let other = child(|| {
        bytes[1] = now(bytes, 0) + 1;
        write(to_parent, b"x").unwrap();
        read(from_parent, &mut [0]).unwrap();
        i32::from(now(bytes, 2) != 12)
    });
    read(from_child, &mut [0]).unwrap();
    bytes[2] = now(bytes, 1) + 1;
    write(to_child, b"x").unwrap();
    assert_eq!(other.wait(), End::Exit(0));
    assert_eq!(bytes[..3], [10, 11, 12]);
    [from_child, to_parent, from_parent, to_child].into_iter().for_each(super::os::close);
}

fn two_processes() {
    let file = open();
    let bytes = map(&file, 6, READ_WRITE, libc::MAP_SHARED);
    let other = child(|| {
        let again = OpenOptions::new().read(true).write(true).open("mapped.bin").unwrap();
        let own = map(&again, 6, READ_WRITE, libc::MAP_SHARED);
        own[5 * PAGE + 5] = 0x55;
        0
    });
    assert_eq!(other.wait(), End::Exit(0));
    assert_eq!(now(bytes, 5 * PAGE + 5), 0x55);
}

fn ends() {
    let file = open();
    let writer = child(|| {
        let bytes = map(&file, 6, READ_WRITE, libc::MAP_SHARED);
        (0..6).for_each(|page| bytes[page * PAGE + 50] = 0x99);
        0
    });
    assert_eq!(writer.wait(), End::Exit(0));
    assert!((0..6).all(|page| in_file(&file, page * PAGE + 50) == 0x99));
    file.sync_all().unwrap();
    assert!((0..6).all(|page| in_file(&file, page * PAGE + 50) == 0x99));
}

/// How a child ends that touches an address.
fn touch(address: *mut u8, store: bool) -> End {
    child(|| {
        // SAFETY: none; the access may end this process.
        unsafe { if store { address.write_volatile(1) } else { _ = address.read_volatile() } };
        0
    })
    .wait()
}

fn unmapped() {
    let file = open();
    let bytes = map(&file, 6, READ_WRITE, libc::MAP_SHARED);
    let page = |number: usize| ptr::from_mut(&mut bytes[number * PAGE]);
    let pages: [*mut u8; 6] = [0, 1, 2, 3, 4, 5].map(page);
    // SAFETY: nobody uses these two pages any more.
    assert_eq!(unsafe { libc::munmap(pages[2].cast::<c_void>(), 2 * PAGE) }, 0);
    let segv = End::Signal(libc::SIGSEGV);
    let ends = pages.map(|page| touch(page, true));
    assert_eq!(ends, [End::Exit(0), End::Exit(0), segv, segv, End::Exit(0), End::Exit(0)]);
    assert_eq!((in_file(&file, PAGE), in_file(&file, 2 * PAGE)), (1, 3));
}

fn rights() {
    let file = open();
    let bytes = map(&file, 1, READ, libc::MAP_SHARED);
    assert_eq!(touch(bytes.as_mut_ptr(), true), End::Signal(libc::SIGSEGV));
    assert_eq!(touch(bytes.as_mut_ptr(), false), End::Exit(0));
    // SAFETY: the page is mapped.
    assert_eq!(unsafe { libc::mprotect(bytes.as_mut_ptr().cast(), PAGE, READ_WRITE) }, 0);
    bytes[9] = 9;
    assert_eq!(in_file(&file, 9), 9);
    let read_only = File::open("mapped.bin").unwrap();
    let bytes = map(&read_only, 1, READ, libc::MAP_SHARED);
    // SAFETY: the page is mapped.
    let refused = unsafe { libc::mprotect(bytes.as_mut_ptr().cast(), PAGE, READ_WRITE) };
    assert_eq!(result(refused.into()), Err(libc::EACCES));
}

fn past_the_end() {
    let file = open();
    for kind in [libc::MAP_PRIVATE, libc::MAP_SHARED] {
        let bytes = map(&file, 8, READ_WRITE, kind);
        assert_eq!(touch(ptr::from_mut(&mut bytes[6 * PAGE]), false), End::Signal(libc::SIGBUS));
        assert_eq!(touch(ptr::from_mut(&mut bytes[6 * PAGE - 1]), true), End::Exit(0));
    }
}

fn shared_anonymous() {
    const PAGES: usize = 300;
    let start = call(0, PAGES * PAGE, READ_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0).unwrap();
    // SAFETY: as in `map`.
    let bytes = unsafe { slice::from_raw_parts_mut(start, PAGES * PAGE) };
    assert!((0..PAGES).all(|page| now(bytes, page * PAGE) == 0));
    let halves = [0, 1].map(|half| {
        child(|| {
            (half..PAGES).step_by(2).for_each(|page| bytes[page * PAGE + 3] = page as u8 ^ 0x5a);
            0
        })
    });
    halves.into_iter().for_each(|half| assert_eq!(half.wait(), End::Exit(0)));
    assert!((0..PAGES).all(|page| now(bytes, page * PAGE + 3) == page as u8 ^ 0x5a));
    // SAFETY: nobody uses it any more.
    assert_eq!(unsafe { libc::munmap(start.cast(), PAGES * PAGE) }, 0);
}

fn memory_file() {
    // SAFETY: a name, no flags; the descriptor is nobody else's.
    let file: File = unsafe { std::os::fd::FromRawFd::from_raw_fd(libc::memfd_create(c"check".as_ptr(), 0)) };
    file.write_all_at(b"in memory", PAGE as u64).unwrap();
    assert_eq!(file.metadata().unwrap().len(), PAGE as u64 + 9);
    file.set_len(4 * PAGE as u64).unwrap();
    let bytes = map(&file, 4, READ_WRITE, libc::MAP_SHARED);
    assert_eq!((&bytes[PAGE..PAGE + 9], now(bytes, 0), now(bytes, PAGE + 9)), (&b"in memory"[..], 0, 0));
    let copy = map(&file, 4, READ_WRITE, libc::MAP_PRIVATE);
    copy[3 * PAGE + 1] = 9;
    let other = child(|| {
        bytes[3 * PAGE] = 7;
        0
    });
    assert_eq!(other.wait(), End::Exit(0));
    assert_eq!(in_file(&file, 3 * PAGE), 7);
    file.set_len(PAGE as u64 + 2).unwrap();
    assert_eq!(touch(ptr::from_mut(&mut bytes[2 * PAGE]), false), End::Signal(libc::SIGBUS));
    assert_eq!((now(bytes, PAGE + 1), now(bytes, PAGE + 2)), (b'n', 0));
    file.set_len(4 * PAGE as u64).unwrap();
    assert_eq!((now(bytes, PAGE + 2), now(bytes, 3 * PAGE)), (0, 0), "what was cut does not come back");
    assert_eq!(now(copy, 3 * PAGE + 1), 0, "nor do private copies of it");
    for far in [3 << 20, 3 << 30, 600 << 30] {
        file.write_all_at(b"far", far).unwrap();
        let mut near = [0; 4];
        file.read_exact_at(&mut near[..3], far).unwrap();
        assert_eq!(&near[..3], b"far");
        file.read_exact_at(&mut near, far - 4).unwrap();
        assert_eq!(near, [0; 4]);
    }
    assert_eq!(in_file(&file, PAGE + 1), b'n');
}

/// Which pages of a mapping are in RAM.
fn resident(start: *mut u8, pages: usize) -> Vec<bool> {
    let mut answer = vec![0u8; pages];
    // SAFETY: an answer of one byte a page, ours to write.
    assert_eq!(unsafe { libc::mincore(start.cast(), pages * PAGE, answer.as_mut_ptr()) }, 0);
    answer.iter().map(|byte| byte & 1 != 0).collect()
}

fn anonymous(pages: usize, more: i32) -> *mut u8 {
    call(0, pages * PAGE, READ_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | more, -1, 0).unwrap()
}

fn advise(start: *mut u8, pages: usize, advice: i32) -> Result<i64, i32> {
    // SAFETY: the caller owns the mapping, and knows what becomes of its pages.
    result(unsafe { libc::madvise(start.cast(), pages * PAGE, advice) }.into())
}

fn populated() {
    let start = anonymous(8, libc::MAP_POPULATE);
    assert_eq!(resident(start, 8), [true; 8]);
    let start = anonymous(8, 0);
    assert_eq!(resident(start, 8), [false; 8]);
    assert_eq!(advise(start, 4, libc::MADV_POPULATE_WRITE), Ok(0));
    assert_eq!(resident(start, 8), [true, true, true, true, false, false, false, false]);
    let read_only = call(0, PAGE, READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0).unwrap();
    assert!(advise(read_only, 1, libc::MADV_POPULATE_WRITE).is_err());
}

fn advised() {
    const PAGES: usize = 8;
    let start = anonymous(PAGES, 0);
    // SAFETY: the mapping is as long as that.
    let bytes = unsafe { slice::from_raw_parts_mut(start, PAGES * PAGE) };
    let fill = |bytes: &mut [u8]| (0..PAGES).for_each(|page| bytes[page * PAGE + 9] = page as u8 + 1);
    let all = |bytes: &[u8], wanted: fn(usize, u8) -> bool| {
        (0..PAGES).all(|page| wanted(page, now(bytes, page * PAGE + 9)))
    };
    fill(bytes);
    assert_eq!(advise(start, PAGES, libc::MADV_PAGEOUT), Ok(0));
    assert_eq!(advise(start, PAGES, libc::MADV_COLD), Ok(0));
    assert_eq!(advise(start, PAGES, libc::MADV_WILLNEED), Ok(0));
    assert!(all(bytes, |page, byte| byte == page as u8 + 1), "nothing is lost");
    assert_eq!(advise(start, PAGES, libc::MADV_FREE), Ok(0));
    assert!(all(bytes, |page, byte| byte == 0 || byte == page as u8 + 1), "each page is as it was, or zeros");
    fill(bytes);
    assert_eq!(advise(start, PAGES, libc::MADV_PAGEOUT), Ok(0));
    assert!(all(bytes, |page, byte| byte == page as u8 + 1), "what was written after it was given up stays");
    assert_eq!(advise(start, PAGES, libc::MADV_DONTNEED), Ok(0));
    assert!(all(bytes, |_, byte| byte == 0));
    assert_eq!(advise(start, PAGES, 77), Err(libc::EINVAL));
    assert_eq!(advise(start.wrapping_add(1), 1, libc::MADV_DONTNEED), Err(libc::EINVAL));
    // SAFETY: nobody uses it any more.
    assert_eq!(unsafe { libc::munmap(start.cast(), PAGES * PAGE) }, 0);
    assert_eq!(advise(start, PAGES, libc::MADV_DONTNEED), Err(libc::ENOMEM));
}

fn too_many() {
    let bomb = child(|| {
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // Neighbours with different rights stay two mappings.
        let refused = (0..100_000)
            .find_map(|n| call(0, PAGE, if n % 2 == 0 { READ } else { READ_WRITE }, kind, -1, 0).err());
        i32::from(refused != Some(libc::ENOMEM))
    });
    assert_eq!(bomb.wait(), End::Exit(0));
}

fn refused() {
    let file = open();
    let (shared, private) = (libc::MAP_SHARED, libc::MAP_PRIVATE);
    let descriptor = file.as_raw_fd();
    let errno = |at, bytes, rights, kind, descriptor, offset| {
        call(at, bytes, rights, kind, descriptor, offset).expect_err("refused")
    };
    assert_eq!(errno(0, PAGE, READ, shared, 99, 0), libc::EBADF);
    assert_eq!(errno(0, PAGE, READ, shared, descriptor, 100), libc::EINVAL);
    assert_eq!(errno(0, 0, READ, shared, descriptor, 0), libc::EINVAL);
    assert_eq!(errno(0, PAGE, READ, 0, descriptor, 0), libc::EINVAL);
    assert_eq!(errno(0x1234_5001, PAGE, READ, private | libc::MAP_FIXED, descriptor, 0), libc::EINVAL);
    // Past the end of 56 bits, the most that a process has anywhere.
    assert_eq!(
        errno(0xff_ffff_ffff_f000, 2 * PAGE, READ, private | libc::MAP_FIXED, descriptor, 0),
        libc::ENOMEM
    );
    assert_eq!(errno(0, usize::MAX - PAGE, READ, private, descriptor, 0), libc::ENOMEM);
    let read_only = File::open("mapped.bin").unwrap();
    assert_eq!(errno(0, PAGE, READ_WRITE, shared, read_only.as_raw_fd(), 0), libc::EACCES);
    let write_only = OpenOptions::new().write(true).open("mapped.bin").unwrap();
    assert_eq!(errno(0, PAGE, READ, private, write_only.as_raw_fd(), 0), libc::EACCES);
}
