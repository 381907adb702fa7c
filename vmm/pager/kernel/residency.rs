//! Which frames of guest RAM are resident, by PAGEMAP_SCAN (Linux 6.7,
//! Documentation/admin-guide/mm/pagemap.rst).
//!
//! Resident is what is mapped and not the kernel's page of zeros. For the guess between two looks there is
//! the process's resident size, which costs a hundredth of a look.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use abi::addr::{Hva, PAGE_SIZE};

use crate::memory::{FrameIndex, GuestRam};

/// How many runs of pages the kernel tells of at once.
const RUNS: usize = 512;

/// The kernel's view of guest RAM.
pub struct Residency {
    ram: GuestRam,
    pagemap: File,
    statm: File,
    runs: Vec<Run>,
    /// Resident frames at the last look, and the process's resident pages then.
    seen: (u32, u64),
}

impl Residency {
    /// Looks for the first time.
    ///
    /// # Errors
    /// The kernel cannot say.
    pub fn new(ram: &GuestRam) -> io::Result<Self> {
        let mut residency = Self {
            ram: ram.clone(),
            pagemap: File::open("/proc/self/pagemap")?,
            statm: File::open("/proc/self/statm")?,
            runs: vec![Run::default(); RUNS],
            seen: (0, 0),
        };
        residency.look(|_| {})?;
        Ok(residency)
    }

    /// How many frames the last look found resident.
    pub const fn resident(&self) -> u32 {
        self.seen.0
    }

    /// Calls `resident` for each frame that is, ascending, and returns how many there are.
    pub fn look(&mut self, mut resident: impl FnMut(FrameIndex)) -> io::Result<u32> {
        let process = self.process()?;
        let mut count = 0;
        for region in self.ram.regions() {
            let end = region.start + region.range.bytes;
            let mut from = region.start;
            while from < end {
                let (found, walked) = scan(&self.pagemap, from, end, &mut self.runs)?;
                for run in &self.runs[..found] {
                    let first = region.first.0 + ((run.start.0 - region.start.0) / PAGE_SIZE as u64) as u32;
                    let pages = ((run.end.0 - run.start.0) / PAGE_SIZE as u64) as u32;
                    (first..first + pages).map(FrameIndex).for_each(&mut resident);
                    count += pages;
                }
                from = walked;
            }
        }
        self.seen = (count, process);
        Ok(count)
    }

    /// About how many frames are resident now: the last look's, and what the process has grown by since.
    pub fn guess(&self) -> io::Result<u32> {
        let (frames, process) = self.seen;
        let grown = self.process()?.saturating_sub(process);
        Ok(frames.saturating_add(u32::try_from(grown).unwrap_or(u32::MAX)))
    }

    /// Pages that the process has resident (proc_pid_statm(5)).
    fn process(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let read = self.statm.read_at(&mut text, 0)?;
        let resident =
            str::from_utf8(&text[..read]).ok().and_then(|text| text.split(' ').nth(1)?.parse().ok());
        resident.ok_or_else(|| io::Error::other("/proc/self/statm has another form"))
    }
}

/// Finds runs of resident pages from `from` on: how many, and where the kernel stopped looking.
fn scan(pagemap: &File, from: Hva, end: Hva, runs: &mut [Run]) -> io::Result<(usize, Hva)> {
    let mut request = Scan {
        size: size_of::<Scan>() as u64,
        start: from,
        end,
        runs: runs.as_mut_ptr().expose_provenance() as u64,
        runs_length: runs.len() as u64,
        inverted: PAGE_IS_PFNZERO,
        all_of: PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
        returned: PAGE_IS_PRESENT,
        ..Scan::default()
    };
    // SAFETY: the request is the structure whose size is part of its number; the kernel writes to it, and to
    // as many runs as the slice has.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut request) };
    match usize::try_from(found) {
        Ok(found) => Ok((found.min(runs.len()), request.walked)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

// The structures and numbers of linux/fs.h.

/// struct page_region.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Run {
    start: Hva,
    end: Hva,
    categories: u64,
}

/// struct pm_scan_arg.
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

const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
const PAGEMAP_SCAN: libc::c_ulong = 3 << 30 | (size_of::<Scan>() as libc::c_ulong) << 16 | 0x66 << 8 | 16;
const _: () = assert!(PAGEMAP_SCAN == 0xc060_6610);

#[cfg(test)]
mod tests {
    use abi::addr::Gpa;
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::memory::Size;

    #[test]
    fn what_was_written_is_resident_and_what_was_only_read_is_not() {
        let ram = GuestRam::backed(Size::mib(1), "4k".parse().ok()).expect("a little memory");
        let mut residency = Residency::new(&ram).expect("Linux 6.7");
        let address = |page: u64| GuestAddress(page * PAGE_SIZE as u64);
        ram.memory().read_obj::<u64>(address(3)).expect("guest RAM");
        for page in [0, 1, 2, 7, 255] {
            ram.memory().write_obj(1_u64, address(page)).expect("guest RAM");
        }
        let mut found = Vec::new();
        let count = residency.look(|frame| found.push(frame)).expect("Linux 6.7");
        let written = [0, 1, 2, 7, 255].map(|page| ram.index_of(Gpa(page * PAGE_SIZE as u64)).expect("RAM"));
        assert_eq!((found.as_slice(), count), (written.as_slice(), 5));
    }
}
