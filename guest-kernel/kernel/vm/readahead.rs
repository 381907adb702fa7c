//! Swap readahead: a program that goes through its pages one after the other gets the next ones from swap together with the one that it
//! asked for, as far as they lie one after the other there, too.
//!
//! What was read ahead is mapped at once but not marked as used, so that it goes first if it was read in vain. Frames for it are taken
//! as for any page; a program small enough that this would change what it keeps gets none.

use abi::addr::{Gpa, Gva, PAGE_SHIFT, PAGE_SIZE};
use paging::policy::PageKey;

use super::Memory;
use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::mappings::Mappings;
use super::page::{Entry, Page, Rights};
use super::reclaim::RESIDENT_A_CLUSTER_PAGE;
use super::scope::Scope;
use super::swap::{CLUSTER, Slot, Swap};
use super::table::EntryRef;

/// Where the last page came from swap.
#[derive(Clone, Copy)]
pub struct Readahead {
    on: bool,
    /// The address space's number and the page that a sequential reader asks for next.
    next: (u32, u64),
}

impl Readahead {
    /// With or without.
    #[must_use]
    pub const fn new(on: bool) -> Self {
        Self { on, next: (0, 0) }
    }
}

impl Memory {
    /// How many pages to read from `slot` on for a fault on `page`, whose area ends at `end`: 1 without readahead.
    pub(super) fn run_ahead(&mut self, page: Gva, end: Gva, entry: EntryRef, slot: Slot) -> usize {
        let number = page.0 >> PAGE_SHIFT;
        let expected = self.readahead.next == (self.faulting, number);
        let most = (self.stats.resident / RESIDENT_A_CLUSTER_PAGE).clamp(1, CLUSTER as u64);
        let mut run = 1;
        if expected && self.readahead.on && self.scopes.current == Scope::GLOBAL {
            let in_table = 512 - number % 512;
            let most = most.min(in_table).min((end - page) >> PAGE_SHIFT) as usize;
            let mut next = entry.after();
            while run < most && self.is_alone_in(next, Swap::nth(slot, run)) {
                next = next.after();
                run += 1;
            }
        }
        self.readahead.next = (self.faulting, number + run as u64);
        run
    }

    fn is_alone_in(&self, entry: EntryRef, slot: Slot) -> bool {
        entry.load().page() == Page::Swapped(slot) && self.swap.slots.owners(slot) == 1
    }

    /// Reads a run of pages into fresh frames, in one request. Returns the first one's frame; the others are mapped.
    ///
    /// # Errors
    /// The device failed, or there is no frame for the first.
    pub(super) fn read_run(
        &mut self,
        run: usize,
        entry: EntryRef,
        rights: Rights,
        slot: Slot,
    ) -> Result<FrameIndex, Invalid> {
        let mut frames = [self.allocate()?; CLUSTER];
        let mut segments = [(Gpa(0), PAGE_SIZE as u32); CLUSTER];
        segments[0].0 = self.frames.gpa(frames[0]);
        let mut count = 1;
        while count < run
            && let Ok(frame) = self.allocate()
        {
            (frames[count], segments[count].0) = (frame, self.frames.gpa(frame));
            count += 1;
        }
        if self.swap.read(slot, &segments[..count]).is_err() {
            frames[..count].iter().for_each(|&frame| self.frames.free(frame));
            log::error!("the swap disk failed to read slot {}", slot.number());
            return Err(Invalid::Device);
        }
        self.stats.swapped_in += count as u64;
        self.stats.swapped_ahead += count as u64 - 1;
        let mut next = entry;
        for (n, &frame) in frames[..count].iter().enumerate().skip(1) {
            next = next.after();
            next.store(Entry::resident(self.frames.gpa(frame), rights));
            let slot = Some(Swap::nth(slot, n));
            *self.frames.get_mut(frame) = Use::Anonymous { slot, mappings: Mappings::one(next) };
            self.count_resident(frame, Scope::GLOBAL, PageKey(next.raw()));
        }
        Ok(frames[0])
    }
}
