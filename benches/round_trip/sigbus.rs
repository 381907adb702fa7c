//! A userfaultfd whose faults are errors of whoever touches the page, not messages: `UFFD_FEATURE_SIGBUS`. Bifold's own has no use
//! for it (docs/performance.md says why).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use abi::addr::{Hva, PAGE_SIZE};

// Of linux/userfaultfd.h.
const API: u64 = 0xaa;
const FEATURE_SIGBUS: u64 = 1 << 7;
const MODE_MISSING: u64 = 1;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;

pub struct Uffd {
    fd: OwnedFd,
    start: Hva,
}

impl Uffd {
    /// One for a range of memory.
    pub fn open(start: Hva, bytes: u64) -> Self {
        // SAFETY: no memory is touched.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        assert!(fd >= 0, "userfaultfd: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just made it, and nobody else knows it.
        let uffd = Self { fd: unsafe { OwnedFd::from_raw_fd(fd as RawFd) }, start };
        uffd.ioctl(UFFDIO_API, &mut [API, FEATURE_SIGBUS, 0]);
        uffd.ioctl(UFFDIO_REGISTER, &mut [start.0, bytes, MODE_MISSING, 0]);
        uffd
    }

    /// Makes the missing page at an offset one of zeros.
    pub fn zero(&self, offset: u64) {
        let page = Hva(self.start.0 + offset).page_start();
        self.ioctl(UFFDIO_ZEROPAGE, &mut [page.0, PAGE_SIZE as u64, 0, 0]);
    }

    fn ioctl<const N: usize>(&self, request: libc::c_ulong, argument: &mut [u64; N]) {
        // SAFETY: each request is used with the structure whose size is part of its number, as 64-bit words.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, argument.as_mut_ptr()) };
        assert!(result == 0, "userfaultfd {request:#x}: {}", io::Error::last_os_error());
    }
}
