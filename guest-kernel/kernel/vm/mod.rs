//! Virtual memory. One entry point, `fault.rs`, co-ordinates the parts, none of which knows another's work:
//!
//! - `page.rs`: what one entry of a page table says: the supplementary page table (SPT), a process's own;
//! - `table.rs`: the tables of entries; `area.rs`: the ranges that a program may use; `space.rs`: both together;
//! - `frame.rs`: what each frame holds, for all processes; `cache.rs`: which of them hold pages of files; `mappings.rs`: which
//!   entries map them;
//! - `around.rs`: pages of files brought in ahead of need; `readahead.rs`: pages of swap, too; `advise.rs`: what a program says of its pages' future; `swap.rs`: which slots of the swap disk hold pages;
//! - `huge.rs`: pages of 2 MiB and 1 GiB; `promote.rs`: how small ones become huge; `lock.rs`: pages that stay in RAM;
//! - `reclaim.rs`: how a page gives up its frame; `scope.rs`: which one, of all or of one process's; `map.rs`: what system calls change; `fork.rs`: copies of address
//!   spaces, and their end; `file.rs`: reading and writing files; `writeback.rs`: their way to the disk; `memory_file.rs`:
//!   files that have no disk; `trace.rs`: a record of every fault; `working_set.rs`: how many pages a process uses; `whole.rs`: all pages
//!   of a process at once; `user.rs`: how the kernel reads and writes a program's memory.

mod advise;
pub mod area;
mod around;
pub mod cache;
pub mod fault;
pub mod file;
mod fork;
pub mod frame;
pub mod huge;
mod lock;
mod map;
pub mod mappings;
pub mod memory_file;
pub mod page;
mod promote;
pub mod readahead;
mod reclaim;
pub mod scope;
pub mod space;
pub mod swap;
pub mod table;
pub mod trace;
pub mod user;
mod whole;
pub mod working_set;
mod writeback;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use abi::addr::{Gpa, PAGE_SIZE};
use abi::stats::{GuestStats, Source};
use paging::policy::{PageKey, Pages};

use self::cache::PageCache;
use self::frame::{FrameIndex, FrameTable};
use self::mappings::ReverseMap;
use self::memory_file::MemoryFiles;
use self::readahead::Readahead;
use self::scope::{Scope, Scopes};
use self::swap::Swap;
use self::trace::Trace;
use crate::fs::FileDisk;

/// No frame can be had: nothing is evictable, or what is does not fit on swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// What all address spaces share.
pub struct Memory {
    /// Every frame.
    pub frames: FrameTable,
    /// Which entries map a frame that several map.
    pub reverse: ReverseMap,
    /// The frame that holds [`Use::Zeros`], once someone has read a page that nobody wrote.
    pub zeros: Option<FrameIndex>,
    /// Pages of files in frames.
    pub cache: PageCache,
    /// The swap disk.
    pub swap: Swap,
    /// The files.
    pub files: FileDisk,
    /// Those that have no disk.
    pub memory_files: MemoryFiles,
    /// Who is evicted next. Every frame that holds an evictable page is in one of them, and no other is.
    pub scopes: Scopes,
    /// The page that came in last, where its arrival is not to count as a use of it.
    pub arrived: Option<FrameIndex>,
    /// The counters that the VMM reads.
    pub stats: &'static mut GuestStats,
    /// Where faults are recorded, if the VMM wants to know of each.
    pub trace: Option<Trace>,
    /// The number of the address space that had the last fault.
    pub faulting: u32,
    /// What is read from swap ahead of need.
    pub readahead: Readahead,
    /// How many address spaces there were.
    pub spaces: u32,
    /// System calls served, until they are published.
    pub system_calls: u64,
    /// Frames that a device reads or writes at this moment: not to be evicted.
    pub pinned: Vec<FrameIndex>,
    /// The parts of the request that is being made; kept so that no request allocates.
    pub segments: Vec<(Gpa, u32)>,
    /// The largest pages that anonymous memory has without asking, as a level of the page table.
    pub largest: u32,
    /// The highest level of the page table at which the CPU has huge pages.
    pub levels: u32,
    /// Processes leave RAM and come back whole.
    pub swaps_whole: bool,
    /// Someone may have written to a file's pages in the cache.
    pub files_written: bool,
    /// A page could not be had for want of memory: the running program is to be killed.
    pub exhausted: bool,
}

impl Memory {
    /// A frame to be overwritten whole. It holds nothing yet, and so is not evictable.
    fn allocate(&mut self) -> Result<FrameIndex, OutOfMemory> {
        loop {
            if let Some(frame) = self.frames.take() {
                return Ok(frame);
            }
            self.reclaim()?;
        }
    }

    /// A frame of zeros.
    fn allocate_zeroed(&mut self) -> Result<FrameIndex, OutOfMemory> {
        loop {
            if let Some(frame) = self.frames.take_zeroed() {
                return Ok(frame);
            }
            self.reclaim()?;
        }
    }

    /// Whether there are frames for something that cannot be evicted, a process's tables: an eighth of RAM stays with pages that
    /// can, so that those that run can go on.
    #[must_use]
    pub fn can_spare_frames(&self) -> bool {
        u64::from(self.frames.free_frames()) + self.stats.resident >= u64::from(self.frames.len() / 8)
    }

    /// Frees tables: `free` does. Returns how many there were.
    fn free_tables(&mut self, free: impl FnOnce(&mut FrameTable)) -> u64 {
        let before = self.frames.free_frames();
        free(&mut self.frames);
        let tables = u64::from(self.frames.free_frames() - before);
        self.stats.kernel_frames = self.stats.kernel_frames.saturating_sub(tables);
        tables
    }

    /// Frames that are free, in a row and all zeros, for the kernel itself.
    ///
    /// # Errors
    /// There are none.
    pub fn run_for_kernel(&mut self, count: u32) -> Result<&'static mut [u8], OutOfMemory> {
        let first = self.frames.take_run(count).ok_or(OutOfMemory)?;
        self.stats.kernel_frames += u64::from(count);
        Ok(self.frames.give_run_away(first, count))
    }

    /// A page of RAM for the kernel itself.
    ///
    /// # Errors
    /// There is no frame.
    pub fn page_for_kernel(&mut self) -> Result<&'static mut [u8; PAGE_SIZE], OutOfMemory> {
        let frame = self.allocate()?;
        self.stats.kernel_frames += 1;
        Ok(self.frames.give_away(frame))
    }

    /// The frame holds a page from now on and may be evicted: one of the faulting process, or one of a file.
    fn count_resident(&mut self, frame: FrameIndex, scope: Scope, page: PageKey) {
        self.scopes.insert(frame, scope, page);
        self.count_pages(1);
        if !self.scopes.kind().counts_arrival()
            && let Some(before) = self.arrived.replace(frame)
        {
            self.frames.referenced(before.0);
        }
    }

    fn count_pages(&mut self, pages: u64) {
        self.stats.resident += pages;
        if self.stats.resident > self.stats.resident_peak {
            self.stats.resident_peak = self.stats.resident;
        }
    }

    /// Brings the counters up to date that others hold the truth of.
    pub fn publish(&mut self) {
        self.stats.free_frames = u64::from(self.frames.free_frames());
        self.stats.slots_used = u64::from(self.swap.slots.used());
        self.stats.system_calls = self.system_calls;
    }

    /// Counts a served fault.
    fn count(&mut self, source: Source) {
        self.stats.faults[source as usize] += 1;
    }
}
