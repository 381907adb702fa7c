//! Which pages of a range were written since they were last scanned, by PAGEMAP_SCAN. The same system call protects them again, and the kernel itself notes the next write to each.
//!
//! It sees writes only, and needs asynchronous write protection, a feature of the userfaultfd that guest RAM is registered with.

use std::io;

use abi::addr::{Hva, PAGE_SIZE};

use super::super::Shared;
use super::super::pagemap::{
    CHECK_ASYNC, PAGE_IS_PRESENT, PAGE_IS_WRITTEN, Pagemap, Query, WRITE_PROTECT_MATCHING,
};
use super::super::uffd::Range;
use super::CHUNK;

/// Runs of written pages that fit into one answer: as many as a chunk can have.
const RUNS: usize = CHUNK as usize / 2;

/// Pages that were written are looked for, and protected. A page that is not there was not written, but would get a
/// mark that UFFDIO_MOVE does not like.
const QUERY: Query = Query {
    flags: WRITE_PROTECT_MATCHING | CHECK_ASYNC,
    all_of: PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
    inverted: 0,
    returned: PAGE_IS_WRITTEN,
};

/// What scans for writes.
pub struct Writes(Pagemap);

impl Writes {
    /// Opens the page map, and finds out whether it can be scanned.
    pub fn open() -> io::Result<Self> {
        let mut pagemap = Pagemap::open(RUNS)?;
        let nothing = Range { start: Hva(PAGE_SIZE as u64), bytes: 0 };
        pagemap.scan(nothing, QUERY)?;
        Ok(Self(pagemap))
    }

    /// Marks the frames of a chunk whose pages were written since the last time, and returns how many there are.
    pub fn sample(&mut self, shared: &Shared, mut range: Range) -> io::Result<u32> {
        let end = range.start + range.bytes;
        let mut used = 0;
        while range.start < end {
            range.bytes = end - range.start;
            let (runs, scanned) = self.0.scan(range, QUERY)?;
            for page in runs.iter().flat_map(|run| (run.start.0..run.end.0).step_by(PAGE_SIZE)) {
                let frame = shared.ram.index_of_hva(Hva(page));
                used += u32::from(frame.is_some_and(|frame| shared.marks.found(frame, true)));
            }
            range.start = scanned;
        }
        Ok(used)
    }
}
