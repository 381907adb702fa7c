//! `shared-memory`: a page that two processes use at the same time, by how they got it.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::{io, ptr};

use programs::{PAGE, Page, fail, map_pages, os};

use super::memory::map_file;
use super::proc::PageMap;
use super::record::record;

pub fn run() {
    let private = &mut map_pages(1)[0];
    case("private memory, and fork", private, None);
    let shared = anonymous();
    case("MAP_SHARED, and fork", shared, None);
    let object = object();
    let map = || &mut map_file(&object, 1, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)[0];
    case("shm_open, and two mappings", map(), Some(&map));
}

/// Parent and child write to the page in turn, and each looks for what the other wrote. The child takes the
/// page where it is, or maps it for itself.
fn case(name: &str, page: &mut Page, own: Option<&dyn Fn() -> &'static mut Page>) {
    let ((told, tell), (from, to)) = (os::pipe(), os::pipe());
    page[0] = 1;
    let child = os::child(|| {
        let page = match own {
            Some(map) => map(),
            None => &mut *page,
        };
        let _ = os::read(told, &mut [0]);
        let saw = u64::from(load(page) == 2);
        page[1] = 3;
        let answer = [saw, page.as_ptr().addr() as u64, frame(page)];
        let _ = os::write(to, answer.map(u64::to_le_bytes).as_flattened());
        // Both have it now: until the parent has looked.
        let _ = os::read(told, &mut [0]);
        0
    });
    page[0] = 2;
    let _ = os::write(tell, &[0]);
    let mut answer = [[0; 8]; 3];
    let _ = os::read(from, answer.as_flattened_mut());
    let [child_saw, address, its_frame] = answer.map(u64::from_le_bytes);
    let parent_saw = u64::from(load(&page[1..]) == 3);
    let same_address = address == page.as_ptr().addr() as u64;
    record!(
        "page",
        name = name,
        same_address = same_address,
        frame = frame(page),
        other_frame = its_frame,
        child_saw = child_saw,
        parent_saw = parent_saw
    );
    let _ = os::write(tell, &[0]);
    child.wait();
}

/// The first word as it is now.
fn load(words: &[u64]) -> u64 {
    // SAFETY: a reference is valid to read; another process may have written there.
    unsafe { words.as_ptr().read_volatile() }
}

fn frame(page: &Page) -> u64 {
    PageMap::open().at(page.as_ptr().addr()).frame().unwrap_or(0)
}

fn anonymous() -> &'static mut Page {
    let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses changes nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), PAGE, rights, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        fail(format!("cannot map a page: {}", io::Error::last_os_error()));
    }
    // SAFETY: the mapping is a page, zero, and never unmapped; what another process writes to it is read as
    // volatile.
    unsafe { &mut *start.cast() }
}

/// A shared memory object of a page, whose name is gone already.
fn object() -> File {
    let name = c"/bifold-explore";
    // SAFETY: a string and numbers; the descriptor that comes back is nobody else's.
    let object = unsafe {
        let number = libc::shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600);
        if number < 0 {
            fail(format!("shm_open: {}", io::Error::last_os_error()));
        }
        libc::shm_unlink(name.as_ptr());
        File::from_raw_fd(number)
    };
    if let Err(error) = object.set_len(PAGE as u64) {
        fail(format!("the object of descriptor {} gets no page: {error}", object.as_raw_fd()));
    }
    object
}
