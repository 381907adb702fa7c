//! What a program says of its pages' future (madvise(2)), and what it wants in RAM beforehand.

use core::ops::Range;

use abi::addr::{Gva, PAGE_SIZE};

use super::Memory;
use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::page::{Page, Rights};
use super::reclaim::Outcome;
use super::scope::Scope;
use super::space::AddressSpace;
use super::swap::CLUSTER;
use super::table::span;
use crate::arch::cpu;

impl Memory {
    /// MADV_FREE: the pages may be lost, but those that are written again first. A page that is clean and has no slot is zeros when
    /// it is evicted (reclaim.rs), so making it that is all.
    pub fn free_lazily(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        self.split_all(space, range);
        space.table.for_each(range.clone(), |page, reference| match reference.load().page() {
            Page::Untouched => {}
            Page::Swapped(_) => self.release(page, reference),
            Page::Resident(gpa) => {
                let frame = self.frames.at(gpa);
                if let Use::Anonymous { slot, mappings } = self.frames.get_mut(frame)
                    && mappings.single().is_some()
                {
                    let stale = slot.take();
                    stale.into_iter().for_each(|slot| self.swap.slots.free(slot));
                    reference.store(reference.load().not_dirty());
                    cpu::invlpg(page);
                }
            }
        });
    }

    /// MADV_COLD: the pages look as if nobody had used them for long.
    pub fn make_cold(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        space.table.for_each_huge(range.clone(), |above| {
            above.entry.store(above.entry.load().not_accessed());
            cpu::invlpg(above.base);
        });
        space.table.for_each(range.clone(), |page, reference| {
            if reference.load().is_resident() {
                reference.store(reference.load().not_accessed());
                cpu::invlpg(page);
            }
        });
    }

    /// MADV_PAGEOUT: the pages that nobody else maps leave RAM now.
    pub fn page_out(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        self.split_all(space, range);
        let mut dirty = [(FrameIndex(0), Scope::GLOBAL); CLUSTER];
        let mut count = 0;
        space.table.for_each(range.clone(), |_, reference| {
            let Page::Resident(gpa) = reference.load().page() else { return };
            let frame = self.frames.at(gpa);
            if self.frames.mappings(frame).single().is_none() {
                return;
            }
            let scope = self.scopes.remove(frame);
            match self.drop_clean(frame) {
                Outcome::Freed => {}
                Outcome::Pinned | Outcome::Split => self.stay(frame, scope),
                Outcome::Dirty => {
                    dirty[count] = (frame, scope);
                    count += 1;
                    if count == CLUSTER {
                        self.write_out(&dirty);
                        count = 0;
                    }
                }
            }
        });
        self.write_out(&dirty[..count]);
    }

    /// MADV_COLLAPSE: makes huge pages of a range. Returns whether all of it is in huge pages then.
    pub fn collapse(&mut self, space: &mut AddressSpace, range: &Range<Gva>) -> bool {
        let mut all = true;
        let mut at = range.start;
        while let Some(area) = space.areas.next(at).copied()
            && area.start < range.end
        {
            at = area.end;
            let first = area.start.max(range.start).0.next_multiple_of(span(1));
            let end = area.end.min(range.end);
            for start in (first..end.0.saturating_sub(span(1) - 1)).step_by(span(1) as usize) {
                all &= self.promote(space, &area, Gva(start));
            }
        }
        all
    }

    /// Brings pages in before they are used, ready for `access`; `while_free`: only as long as frames are free.
    ///
    /// # Errors
    /// The first page that cannot be had.
    pub fn populate(
        &mut self,
        space: &mut AddressSpace,
        range: &Range<Gva>,
        access: Rights,
        while_free: bool,
    ) -> Result<(), Invalid> {
        let mut page = range.start;
        while page < range.end && !(while_free && self.frames.free_frames() == 0) {
            let there = match space.table.find(page) {
                Ok(entry) => entry.load().permits(access),
                Err(above) => above.is_huge() && above.entry.load().permits(access),
            };
            if !there {
                self.fault(space, page, access)?;
            }
            page = match space.table.find(page) {
                Err(above) if above.is_huge() => Gva(above.end),
                _ => page + PAGE_SIZE as u64,
            };
        }
        Ok(())
    }
}
