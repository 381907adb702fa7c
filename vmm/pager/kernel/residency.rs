//! Which frames of guest RAM are resident, by PAGEMAP_SCAN.
//!
//! Resident is what is mapped and not the kernel's page of zeros. For the guess between two looks there is
//! the process's resident size, which costs a hundredth of a look.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use abi::addr::PAGE_SIZE;

use super::super::pagemap::{PAGE_IS_PFNZERO, PAGE_IS_PRESENT, Pagemap, Query};
use super::super::uffd::Range;
use crate::memory::{FrameIndex, GuestRam};

/// How many runs of pages the kernel tells of at once.
const RUNS: usize = 512;

/// Pages that are there and not the kernel's page of zeros are looked for.
const QUERY: Query = Query {
    flags: 0,
    all_of: PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
    inverted: PAGE_IS_PFNZERO,
    returned: PAGE_IS_PRESENT,
};

/// The kernel's view of guest RAM.
pub struct Residency {
    ram: GuestRam,
    pagemap: Pagemap,
    statm: File,
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
            pagemap: Pagemap::open(RUNS)?,
            statm: File::open("/proc/self/statm")?,
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
                let (runs, walked) = self.pagemap.scan(Range { start: from, bytes: end - from }, QUERY)?;
                for run in runs {
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

    /// About how many frames are resident now: the last look's, and what the process has grown or shrunk by since.
    pub fn guess(&self) -> io::Result<u32> {
        let (frames, process) = self.seen;
        let now = (u64::from(frames) + self.process()?).saturating_sub(process);
        Ok(u32::try_from(now).unwrap_or(u32::MAX))
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
