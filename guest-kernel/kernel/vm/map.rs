//! What system calls do to an address space: map, unmap, protect, move, discard.

use core::ops::Range;

use abi::addr::{Gva, PAGE_SIZE};

use super::area::{Area, Kind, TooMany};
use super::frame::Use;
use super::page::{Entry, Page, Rights};
use super::space::AddressSpace;
use super::table::USER_END;
use super::{Memory, OutOfMemory};
use crate::arch::cpu;

/// More pages than this are flushed by flushing all.
const FLUSH_ALL: u64 = 32;

impl Memory {
    /// Adds an area, in the place of whatever was there.
    ///
    /// # Errors
    /// There are too many areas.
    pub fn map(&mut self, space: &mut AddressSpace, area: Area) -> Result<(), TooMany> {
        space.areas.reserve()?;
        self.files_written |= area.is_shared() && area.may_be_written();
        let range = area.start..area.end;
        if !space.areas.is_free(&range) {
            self.unmap_range(space, &range)?;
        }
        space.areas.insert(area);
        Ok(())
    }

    /// Takes a range out of an address space; pages, slots and tables that served only it are free again.
    ///
    /// # Errors
    /// An area would be split, and there are too many.
    pub fn unmap_range(&mut self, space: &mut AddressSpace, range: &Range<Gva>) -> Result<(), TooMany> {
        space.areas.reserve()?;
        self.discard(space, range);
        space.areas.remove(range);
        let hole = space.areas.hole(range, USER_END);
        let tables = self.free_tables(|frames| space.table.prune(frames, range, &hole));
        // The CPU may hold entries of tables that are gone.
        if tables > 0 {
            cpu::flush_tlb();
        }
        Ok(())
    }

    /// Makes the pages of a range untouched: the next use starts from the area's recipe.
    pub fn discard(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        self.discard_huge(space, range);
        space.table.for_each(range.start..range.end, |page, entry| self.release(page, entry));
    }

    /// Changes the rights of a range that areas cover.
    ///
    /// # Errors
    /// An area would be split, and there are too many.
    pub fn protect(
        &mut self,
        space: &mut AddressSpace,
        range: &Range<Gva>,
        rights: Rights,
    ) -> Result<(), TooMany> {
        space.areas.reserve()?;
        space.areas.change(range, |area| area.rights = rights);
        self.protect_huge(space, range, rights);
        let few = range.end - range.start <= FLUSH_ALL * PAGE_SIZE as u64;
        for area in space.areas.within(range) {
            let part = area.start.max(range.start)..area.end.min(range.end);
            space.table.for_each(part, |page, reference| {
                let entry = reference.load();
                let Page::Resident(gpa) = entry.page() else { return };
                let writable = match self.frames.get(self.frames.at(gpa)) {
                    Use::Anonymous { mappings, .. } => mappings.single().is_some(),
                    _ => area.is_shared(),
                };
                reference.store(entry.with_rights(if writable { rights } else { rights.without_write() }));
                if few {
                    cpu::invlpg(page);
                }
            });
        }
        if !few {
            cpu::flush_tlb();
        }
        Ok(())
    }

    /// Moves the pages of `from` to the free range that starts at `to`; the areas are the caller's business.
    ///
    /// # Errors
    /// There is no frame for a table; some pages have moved, and the caller ends the program.
    pub fn move_pages(
        &mut self,
        space: &mut AddressSpace,
        from: &Range<Gva>,
        to: Gva,
    ) -> Result<(), OutOfMemory> {
        self.split_all(space, from);
        let mut page = from.start;
        while page < from.end {
            let old = match space.table.find(page) {
                Ok(old) => old,
                Err(above) => {
                    page = Gva(above.end);
                    continue;
                }
            };
            if old.load() != Entry::UNTOUCHED {
                let new = self.entry(&mut space.table, to + (page - from.start))?;
                // Only now: making the table may have evicted the page.
                let entry = old.load();
                new.store(entry);
                old.store(Entry::UNTOUCHED);
                cpu::invlpg(page);
                if let Page::Resident(gpa) = entry.page() {
                    self.move_mapping(self.frames.at(gpa), old, new);
                }
            }
            page = page + PAGE_SIZE as u64;
        }
        Ok(())
    }

    /// Moves the heap's end. Returns the end that holds: the old one where the new one cannot be had.
    pub fn set_break(&mut self, space: &mut AddressSpace, wanted: Gva) -> Gva {
        let old = space.heap.end;
        let up = |gva: Gva| gva.0.checked_next_multiple_of(PAGE_SIZE as u64).map(Gva);
        let (Some(old_end), Some(new_end)) = (up(old), up(wanted)) else { return old };
        if wanted < space.heap.start || new_end > USER_END {
            return old;
        }
        if new_end < old_end {
            if self.unmap_range(space, &(new_end..old_end)).is_err() {
                return old;
            }
        } else if new_end > old_end {
            let room = old_end..(new_end + PAGE_SIZE as u64);
            let heap = Area::anonymous(old_end..new_end, Rights::new(true, true, false));
            let area = Area { kind: Kind::Heap, ..heap };
            if !space.areas.is_free(&room)
                || !space.may_map(new_end - old_end)
                || self.map(space, area).is_err()
            {
                return old;
            }
        }
        space.heap.end = wanted;
        wanted
    }
}
