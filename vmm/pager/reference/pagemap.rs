//! PAGEMAP_SCAN (Linux's Documentation/admin-guide/mm/pagemap.rst): which pages of a range were written since they were last
//! scanned. The same system call protects them again, and the kernel itself notes the next write to each.
//!
//! It sees writes only, and needs asynchronous write protection, a feature of the userfaultfd that guest RAM is registered with.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use abi::addr::{Hva, PAGE_SIZE};

use super::super::Shared;
use super::super::uffd::Range;
use super::CHUNK;

/// Runs of written pages that fit into one answer: as many as a chunk can have.
const RUNS: usize = CHUNK as usize / 2;

/// This process's page map.
pub struct Pagemap {
    map: File,
    runs: Vec<Run>,
}

impl Pagemap {
    /// Opens it, and finds out whether it can be scanned.
    pub fn open() -> io::Result<Self> {
        let mut pagemap = Self { map: File::open("/proc/self/pagemap")?, runs: vec![Run::default(); RUNS] };
        let nothing = Range { start: Hva(PAGE_SIZE as u64), bytes: 0 };
        pagemap.scan(nothing)?;
        Ok(pagemap)
    }

    /// Marks the frames of a chunk whose pages were written since the last time, and returns how many there are.
    pub fn sample(&mut self, shared: &Shared, mut range: Range) -> io::Result<u32> {
        let end = range.start + range.bytes;
        let mut used = 0;
        while range.start < end {
            range.bytes = end - range.start;
            let (runs, scanned) = self.scan(range)?;
            for page in runs.iter().flat_map(|run| (run.start.0..run.end.0).step_by(PAGE_SIZE)) {
                let frame = shared.ram.index_of_hva(Hva(page));
                used += u32::from(frame.is_some_and(|frame| shared.marks.found(frame, true)));
            }
            range.start = scanned;
        }
        Ok(used)
    }

    /// Protects the pages of a range that were written. Returns which they are, and how far it came.
    fn scan(&mut self, range: Range) -> io::Result<(&[Run], Hva)> {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: WRITE_PROTECT_MATCHING | CHECK_ASYNC,
            start: range.start,
            end: range.start + range.bytes,
            walk_end: Hva(0),
            runs: self.runs.as_mut_ptr() as u64,
            runs_length: self.runs.len() as u64,
            most_pages: 0,
            inverted: 0,
            // A page that is not there was not written, but would get a mark that UFFDIO_MOVE does not like.
            all_of: WRITTEN | PRESENT,
            any_of: 0,
            wanted: WRITTEN,
        };
        // SAFETY: the structure is the one whose size is part of the request. The kernel writes to it and, at most
        // `runs_length` of them, to `runs`, any bytes of which are valid.
        let found = unsafe { libc::ioctl(self.map.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
        let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
        Ok((&self.runs[..found], scan.walk_end))
    }
}

// The structures and numbers of linux/fs.h.

const WRITE_PROTECT_MATCHING: u64 = 1 << 0;
const CHECK_ASYNC: u64 = 1 << 1;
const WRITTEN: u64 = 1 << 1;
const PRESENT: u64 = 1 << 3;
const PAGEMAP_SCAN: libc::c_ulong = 3 << 30 | (size_of::<Scan>() as u64) << 16 | (b'f' as u64) << 8 | 16;
const _: () = assert!(PAGEMAP_SCAN == 0xc060_6610);

/// struct page_region.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Run {
    start: Hva,
    end: Hva,
    categories: u64,
}

/// struct pm_scan_arg.
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: Hva,
    end: Hva,
    walk_end: Hva,
    runs: u64,
    runs_length: u64,
    most_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    wanted: u64,
}
