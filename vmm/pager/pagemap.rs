//! PAGEMAP_SCAN, the raw ABI (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst): which pages of a range are in which state.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use abi::addr::{Hva, PAGE_SIZE};

use super::uffd::Range;

pub const PAGE_IS_WRITTEN: u64 = 1 << 1;
pub const PAGE_IS_PRESENT: u64 = 1 << 3;
pub const PAGE_IS_PFNZERO: u64 = 1 << 5;
/// Protects the pages that were found, so that the next write to each is noted again.
pub const WRITE_PROTECT_MATCHING: u64 = 1 << 0;
/// Refuses ranges that are not registered for asynchronous write protection.
pub const CHECK_ASYNC: u64 = 1 << 1;

/// Which pages are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// What is done with those that are found.
    pub flags: u64,
    /// States that a page must be in.
    pub all_of: u64,
    /// Those of them that it must not be in instead.
    pub inverted: u64,
    /// States of a run to tell of; runs that differ in them are told apart.
    pub returned: u64,
}

/// Pages in a row that were found: struct page_region.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Run {
    /// The first one's address.
    pub start: Hva,
    /// The address after the last.
    pub end: Hva,
    categories: u64,
}

/// This process's page map.
#[derive(Debug)]
pub struct Pagemap {
    map: File,
    runs: Vec<Run>,
}

impl Pagemap {
    /// Opens it. A scan tells of `runs` runs at most.
    pub fn open(runs: usize) -> io::Result<Self> {
        Ok(Self { map: File::open("/proc/self/pagemap")?, runs: vec![Run::default(); runs] })
    }

    /// Whether there is a page, in memory or in swap.
    pub fn has(&self, page: Hva) -> io::Result<bool> {
        let mut entry = [0; size_of::<u64>()];
        self.map.read_exact_at(&mut entry, page.0 / PAGE_SIZE as u64 * size_of::<u64>() as u64)?;
        // Bit 63: present; bit 62: swapped.
        Ok(u64::from_ne_bytes(entry) >> 62 != 0)
    }

    /// Looks for pages of a range. Returns the runs, ascending, and how far the kernel came.
    pub fn scan(&mut self, range: Range, query: Query) -> io::Result<(&[Run], Hva)> {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: query.flags,
            start: range.start,
            end: range.start + range.bytes,
            runs: self.runs.as_mut_ptr().expose_provenance() as u64,
            runs_length: self.runs.len() as u64,
            inverted: query.inverted,
            all_of: query.all_of,
            returned: query.returned,
            ..Scan::default()
        };
        // SAFETY: the structure is the one whose size is part of the request. The kernel writes to it and, at most
        // `runs_length` of them, to `runs`, any bytes of which are valid.
        let found = unsafe { libc::ioctl(self.map.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
        let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
        Ok((&self.runs[..found.min(self.runs.len())], scan.walked))
    }
}

/// struct pm_scan_arg of linux/fs.h.
#[derive(Default)]
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: Hva,
    end: Hva,
    walked: Hva,
    runs: u64,
    runs_length: u64,
    max_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    returned: u64,
}

const PAGEMAP_SCAN: libc::c_ulong =
    3 << 30 | (size_of::<Scan>() as libc::c_ulong) << 16 | (b'f' as libc::c_ulong) << 8 | 16;
const _: () = assert!(PAGEMAP_SCAN == 0xc060_6610);
