//! userfaultfd, the raw ABI (Linux's Documentation/admin-guide/mm/userfaultfd.rst, ioctl_userfaultfd(2)).
//!
//! Every operation here is on whole small pages. What the kernel may answer is an [`Outcome`] of its own, so that
//! callers decide by type.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::Duration;

use abi::addr::{Hva, PAGE_SIZE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use thiserror::Error;

use super::pagemap::Pagemap;

/// Why there is no userfaultfd.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not allowed.
    #[error(
        "no permission to use userfaultfd: run as root, give this user read and write access to /dev/userfaultfd, or set the sysctl vm.unprivileged_userfaultfd to 1"
    )]
    Permission,
    /// The kernel has none, or not what is needed of it.
    #[error(
        "this kernel's userfaultfd lacks what host paging needs ({0}): use Linux 5.7 or newer, built with CONFIG_USERFAULTFD"
    )]
    Unsupported(io::Error),
}

/// Why an operation on a page was refused.
#[derive(Debug, Error)]
pub enum Outcome {
    /// EAGAIN: the address space is changing under it; it can be tried again.
    #[error("the address space is changing (EAGAIN)")]
    Again,
    /// EBUSY: the page is pinned, for example by a device that is writing to it, or shared.
    #[error("the page is pinned or shared (EBUSY)")]
    Busy,
    /// EEXIST: there is a page at the destination already.
    #[error("there is a page already (EEXIST)")]
    Present,
    /// ENOENT: there is no page at the source, or the range is not registered.
    #[error("there is no page, or the range is not registered (ENOENT)")]
    Missing,
    /// ESRCH: the process is going away.
    #[error("the process is ending (ESRCH)")]
    Gone,
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for Outcome {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::Again,
            Some(libc::EBUSY) => Self::Busy,
            Some(libc::EEXIST) => Self::Present,
            Some(libc::ENOENT) => Self::Missing,
            Some(libc::ESRCH) => Self::Gone,
            _ => Self::Other(error),
        }
    }
}

/// A run of bytes in this process, page-aligned.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Range {
    /// Where it starts.
    pub start: Hva,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Range {
    /// The page at an address.
    pub const fn page(page: Hva) -> Self {
        Self::pages(page, 1)
    }

    /// So many pages from an address on.
    pub const fn pages(start: Hva, pages: u32) -> Self {
        Self { start, bytes: pages as u64 * PAGE_SIZE as u64 }
    }
}

/// The page so many pages after another.
pub fn nth_page(start: Hva, page: u32) -> Hva {
    start + u64::from(page) * PAGE_SIZE as u64
}

/// A fault that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The page that was touched.
    pub page: Hva,
    /// Whether it was touched to write.
    pub write: bool,
    /// Whether the page is there, but protected.
    pub protected: bool,
}

/// A userfaultfd.
#[derive(Debug)]
pub struct Uffd {
    fd: OwnedFd,
    features: u64,
}

impl Uffd {
    /// Opens one that can write-protect and, where the kernel can, move pages.
    ///
    /// # Errors
    /// Not permitted, or not there.
    pub fn open() -> Result<Self, OpenError> {
        match Self::with_features(FEATURE_WP | FEATURE_MOVE) {
            // A feature that the kernel does not know is EINVAL, and uses up the descriptor.
            Err(OpenError::Unsupported(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
                Self::with_features(FEATURE_WP)
            }
            result => result,
        }
    }

    /// Opens one that can move pages, and whose protected pages the kernel lets be written without asking, but takes note of.
    ///
    /// # Errors
    /// As for [`Uffd::open`]; [`OpenError::Unsupported`] before Linux 6.8.
    pub fn open_async() -> Result<Self, OpenError> {
        Self::with_features(FEATURE_WP | FEATURE_MOVE | FEATURE_ASYNC_PROTECT)
    }

    fn with_features(features: u64) -> Result<Self, OpenError> {
        let fd = open_descriptor()?;
        let mut api = Api { api: UFFD_API, features, ioctls: 0 };
        ioctl(fd.as_raw_fd(), UFFDIO_API, &mut api).map_err(OpenError::Unsupported)?;
        Ok(Self { fd, features })
    }

    /// Whether [`Uffd::take`] works.
    #[must_use]
    pub const fn can_move(&self) -> bool {
        self.features & FEATURE_MOVE != 0
    }

    /// Has faults on missing pages of a range reported; with `protect` also writes to protected ones.
    pub fn register(&self, range: Range, protect: bool) -> io::Result<()> {
        let mode = MODE_MISSING | if protect { MODE_WP } else { 0 };
        self.ioctl(UFFDIO_REGISTER, &mut Register { range, mode, ioctls: 0 })
    }

    /// Ends that, and wakes who waits.
    pub fn unregister(&self, mut range: Range) -> io::Result<()> {
        self.ioctl(UFFDIO_UNREGISTER, &mut range)
    }

    /// Makes the missing page at `to` a copy of the page at `from`, and wakes who waits for it.
    pub fn copy(&self, to: Hva, from: Hva) -> Result<(), Outcome> {
        self.copy_run(to, from, 1).map(|_| ())
    }

    /// The same for up to `pages` pages in a row. Returns how many were copied, at least one.
    pub fn copy_run(&self, to: Hva, from: Hva, pages: u32) -> Result<u32, Outcome> {
        patiently(|| self.transfer(UFFDIO_COPY, to, from, pages))
    }

    /// Moves up to `pages` pages from `from` to `to`, where none are, and wakes who waits for them there. Each move is
    /// atomic: a thread that writes to the page has either written before or faults after. Returns how many
    /// were moved, at least one; the answer about the next one comes when it is the first. Neighbours in one go
    /// share the TLB shootdown (Linux 6.18 and newer): 0.1 us a page, where single ones cost up to 2.5.
    ///
    /// # Safety
    /// Nobody has a reference to the pages at `from`.
    pub unsafe fn take(&self, to: Hva, from: Hva, pages: u32) -> Result<u32, Outcome> {
        match self.transfer(UFFDIO_MOVE, to, from, pages) {
            Err(Outcome::Present) => self.moved_untold(to, from, pages),
            result => result,
        }
    }

    /// What a move did that found its destination taken. Linux 6.18 forgets what it moves after it had to start over within the call, because
    /// an entry of the page table changed under it (`move_pages` in mm/userfaultfd.c keeps that error): it goes on with the
    /// same page, finds it at the destination, and says EEXIST. Returns how many pages were moved so, and wakes who waits for them, which the kernel did not.
    fn moved_untold(&self, to: Hva, from: Hva, pages: u32) -> Result<u32, Outcome> {
        let map = Pagemap::open(0)?;
        let mut moved = 0;
        while moved < pages && map.has(nth_page(to, moved))? && !map.has(nth_page(from, moved))? {
            moved += 1;
        }
        if moved == 0 {
            return Err(Outcome::Present);
        }
        self.wake(Range::pages(to, moved))?;
        Ok(moved)
    }

    fn transfer(&self, request: libc::c_ulong, to: Hva, from: Hva, pages: u32) -> Result<u32, Outcome> {
        let bytes = u64::from(pages) * PAGE_SIZE as u64;
        let mut done = 0;
        retry(|| {
            let mut transfer = Transfer { to, from, bytes, mode: 0, done: 0 };
            let result = self.ioctl(request, &mut transfer);
            // EAGAIN with a count is a success that was cut short.
            done = u64::try_from(transfer.done).unwrap_or(0) / PAGE_SIZE as u64;
            if done > 0 { Ok(()) } else { result }
        })?;
        Ok(done as u32)
    }

    /// Has writes to the pages of a range wait, or lets them go on.
    pub fn protect(&self, range: Range, on: bool) -> Result<(), Outcome> {
        retry(|| {
            let mut protect = WriteProtect { range, mode: u64::from(on) };
            self.ioctl(UFFDIO_WRITEPROTECT, &mut protect)
        })
    }

    /// Has those who wait for pages of a range look again.
    pub fn wake(&self, mut range: Range) -> Result<(), Outcome> {
        Ok(self.ioctl(UFFDIO_WAKE, &mut range)?)
    }

    /// Waits until there are faults, or `limit` has passed. Returns whether there are.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let limit = limit
            .map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
        let mut ready = [PollFd::new(&self.fd, PollFlags::IN)];
        loop {
            match poll(&mut ready, limit.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Returns the faults that wait for an answer, as many as fit into `messages`; there may be none.
    pub fn read<'a>(&self, messages: &'a mut [Message]) -> io::Result<impl Iterator<Item = Fault> + use<'a>> {
        // SAFETY: the kernel writes whole messages, at most as many bytes as the slice has, and every bit
        // pattern is a valid Message.
        let read =
            unsafe { libc::read(self.fd.as_raw_fd(), messages.as_mut_ptr().cast(), size_of_val(messages)) };
        let read = match usize::try_from(read) {
            Ok(bytes) => bytes / size_of::<Message>(),
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => 0,
                error => return Err(error),
            },
        };
        // No other event is ever asked for.
        let faults = messages[..read].iter().filter(|message| message.event == EVENT_PAGEFAULT);
        Ok(faults.map(|message| Fault {
            page: Hva(message.address).page_start(),
            write: message.flags & FLAG_WRITE != 0,
            protected: message.flags & FLAG_PROTECTED != 0,
        }))
    }

    fn ioctl<T>(&self, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
        ioctl(self.fd.as_raw_fd(), request, argument)
    }
}

/// What this kernel's userfaultfd can do: the feature bits of linux/userfaultfd.h.
///
/// # Errors
/// Not permitted, or not there.
pub fn features() -> Result<u64, OpenError> {
    let fd = open_descriptor()?;
    let mut api = Api { api: UFFD_API, features: 0, ioctls: 0 };
    ioctl(fd.as_raw_fd(), UFFDIO_API, &mut api).map_err(OpenError::Unsupported)?;
    Ok(api.features)
}

/// How often an operation is tried against EAGAIN. The cause is another operation on the same pages that is
/// over in microseconds.
const TRIES: u32 = 1000;

fn retry(mut operation: impl FnMut() -> io::Result<()>) -> Result<(), Outcome> {
    for _ in 1..TRIES {
        match operation().map_err(Outcome::from) {
            Err(Outcome::Again) => thread::yield_now(),
            result => return result,
        }
    }
    Ok(operation()?)
}

/// Tries an operation again that was refused with EAGAIN, for a second: whoever is in its way may have lost its CPU. For pages that
/// someone waits for; one that is to leave can as well stay.
pub fn patiently<T>(mut operation: impl FnMut() -> Result<T, Outcome>) -> Result<T, Outcome> {
    for _ in 0..1000 {
        match operation() {
            Err(Outcome::Again) => thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
    operation()
}

/// /dev/userfaultfd goes by file permissions; the system call by privilege or a sysctl. Faults of the kernel (KVM,
/// read(2) into guest RAM) must be reported too, so UFFD_USER_MODE_ONLY is no way out.
fn open_descriptor() -> Result<OwnedFd, OpenError> {
    // Not blocking: the kernel has poll(2) only so.
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    if let Ok(device) = File::options().read(true).write(true).open("/dev/userfaultfd") {
        // SAFETY: the request takes its flags by value and touches no memory.
        let fd = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, flags) };
        if fd >= 0 {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    // SAFETY: the system call takes its flags by value and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if fd >= 0 {
        // SAFETY: as above; descriptors fit into an int.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::Permission,
        _ => OpenError::Unsupported(error),
    })
}

fn ioctl<T>(fd: RawFd, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: each request below is used with the structure whose size is part of its number, and the
    // kernel writes to no memory of ours but that structure and pages of registered ranges.
    let result = unsafe { libc::ioctl(fd, request, std::ptr::from_mut(argument)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// The structures and numbers of linux/userfaultfd.h.

const UFFD_API: u64 = 0xaa;
const FEATURE_WP: u64 = 1 << 0;
const FEATURE_ASYNC_PROTECT: u64 = 1 << 15;
const FEATURE_MOVE: u64 = 1 << 16;
const MODE_MISSING: u64 = 1 << 0;
const MODE_WP: u64 = 1 << 1;
const EVENT_PAGEFAULT: u8 = 0x12;
const FLAG_WRITE: u64 = 1 << 0;
const FLAG_PROTECTED: u64 = 1 << 1;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

/// struct uffdio_copy and struct uffdio_move.
#[repr(C)]
struct Transfer {
    to: Hva,
    from: Hva,
    bytes: u64,
    mode: u64,
    done: i64,
}

#[repr(C)]
struct WriteProtect {
    range: Range,
    mode: u64,
}

/// struct uffd_msg of a page fault.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Message {
    event: u8,
    reserved: [u8; 7],
    flags: u64,
    address: u64,
    thread: u64,
}

const fn request<T>(direction: u64, number: u64) -> libc::c_ulong {
    direction << 30 | (size_of::<T>() as u64) << 16 | 0xaa << 8 | number
}
const READ: u64 = 2;
const READ_WRITE: u64 = 3;

const USERFAULTFD_IOC_NEW: libc::c_ulong = request::<()>(0, 0x00);
const UFFDIO_API: libc::c_ulong = request::<Api>(READ_WRITE, 0x3f);
const UFFDIO_REGISTER: libc::c_ulong = request::<Register>(READ_WRITE, 0x00);
const UFFDIO_UNREGISTER: libc::c_ulong = request::<Range>(READ, 0x01);
const UFFDIO_WAKE: libc::c_ulong = request::<Range>(READ, 0x02);
const UFFDIO_COPY: libc::c_ulong = request::<Transfer>(READ_WRITE, 0x03);
const UFFDIO_MOVE: libc::c_ulong = request::<Transfer>(READ_WRITE, 0x05);
const UFFDIO_WRITEPROTECT: libc::c_ulong = request::<WriteProtect>(READ_WRITE, 0x06);

const _: () = {
    assert!(USERFAULTFD_IOC_NEW == 0xaa00);
    assert!(UFFDIO_API == 0xc018_aa3f);
    assert!(UFFDIO_REGISTER == 0xc020_aa00);
    assert!(UFFDIO_UNREGISTER == 0x8010_aa01);
    assert!(UFFDIO_WAKE == 0x8010_aa02);
    assert!(UFFDIO_COPY == 0xc028_aa03);
    assert!(UFFDIO_MOVE == 0xc028_aa05);
    assert!(UFFDIO_WRITEPROTECT == 0xc018_aa06);
    assert!(size_of::<Message>() == 32);
};

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::memory::Mapping;

    const PAGES: u32 = 32;
    const ROUNDS: u32 = 10_000;

    /// Moves all of the pages.
    fn take_all(uffd: &Uffd, to: Hva, from: Hva) -> Result<(), Outcome> {
        let mut done = 0;
        while done < PAGES {
            // SAFETY: nobody refers to the mappings but by the addresses here.
            match unsafe { uffd.take(nth_page(to, done), nth_page(from, done), PAGES - done) } {
                Ok(moved) => done += moved,
                Err(Outcome::Again) => {}
                Err(outcome) => return Err(outcome),
            }
        }
        Ok(())
    }

    #[test]
    fn pages_move_all_at_once_or_not_while_their_entries_change() {
        let uffd = Uffd::open().expect("a userfaultfd");
        assert!(uffd.can_move(), "Linux 6.8 or newer");
        let bytes = PAGES as usize * PAGE_SIZE;
        let [one, other] = [(); 2].map(|()| Mapping::new(bytes).expect("memory"));
        for mapping in [&one, &other] {
            uffd.register(Range::pages(mapping.start(), PAGES), true).expect("anonymous");
        }
        let content: Vec<u8> = (0..PAGES as u8).flat_map(|page| [page + 1; PAGE_SIZE]).collect();
        let source = Mapping::new(bytes).expect("memory");
        // SAFETY: the mapping is that long, and nobody else knows it.
        unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), source.pointer(), bytes) };
        let copied = uffd.copy_run(one.start(), source.start(), PAGES).expect("nothing is there");
        assert_eq!(copied, PAGES);

        let done = AtomicBool::new(false);
        let moved = thread::scope(|scope| {
            // Changes the entries of the pages, wherever they are.
            scope.spawn(|| {
                let ranges = [&one, &other].map(|to| Range::pages(to.start(), PAGES));
                while !done.load(Ordering::Relaxed) {
                    for (range, on) in [(0, true), (1, true), (0, false), (1, false)] {
                        uffd.protect(ranges[range], on).expect("registered for that");
                    }
                }
            });
            let moved = (0..ROUNDS).try_for_each(|_| {
                take_all(&uffd, other.start(), one.start())?;
                take_all(&uffd, one.start(), other.start())
            });
            done.store(true, Ordering::Relaxed);
            moved
        });
        moved.expect("nothing is ever in the way");
        // SAFETY: as above.
        let now = unsafe { std::slice::from_raw_parts(one.pointer(), bytes) };
        assert!(now == content, "pages are where they were, as they were");
    }
}
