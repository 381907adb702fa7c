//! Copies of address spaces, and their end.
//!
//! A fork copies no page. Parent and child get entries for the same frames and swap slots, and neither may write any more: the first
//! write of either makes a copy (fault.rs). Pages of files are not even mapped; the child's faults find them in the page cache.

use abi::addr::Gva;

use super::area::Area;
use super::frame::Use;
use super::huge;
use super::page::{Entry, Page};
use super::space::AddressSpace;
use super::table::{EntryRef, PageTable, USER_HALF_END};
use super::{Memory, OutOfMemory};
use crate::arch::cpu;

impl Memory {
    /// A copy of an address space.
    ///
    /// # Errors
    /// There is no frame for a table; what was copied is released again.
    pub fn fork(&mut self, parent: &AddressSpace) -> Result<AddressSpace, OutOfMemory> {
        let mut child = AddressSpace::copy_of(self, parent)?;
        let mut areas = parent.areas.all().iter();
        let copied = areas.try_for_each(|area| self.copy_area(parent, &mut child.table, area));
        // The CPU may hold entries of the parent that allow a write.
        cpu::flush_tlb();
        match copied {
            Ok(()) => Ok(child),
            Err(error) => {
                self.destroy(child);
                Err(error)
            }
        }
    }

    fn copy_area(
        &mut self,
        parent: &AddressSpace,
        child: &mut PageTable,
        area: &Area,
    ) -> Result<(), OutOfMemory> {
        if area.size.fixed().is_some() {
            return self.copy_huge(&parent.table, child, area);
        }
        self.split_all(parent, &(area.start..area.end));
        parent.table.try_for_each(area.start..area.end, |page, old| {
            if self.is_copied(old.load()) {
                let new = self.entry(child, page)?;
                self.room_to_map()?;
                // Only now: both may have evicted the page.
                self.copy_entry(old, new);
            }
            Ok(())
        })
    }

    fn is_copied(&self, entry: Entry) -> bool {
        match entry.page() {
            Page::Untouched => false,
            Page::Swapped(_) => true,
            Page::Resident(gpa) => matches!(self.frames.get(self.frames.at(gpa)), Use::Anonymous { .. }),
        }
    }

    fn copy_entry(&mut self, old: EntryRef, new: EntryRef) {
        let entry = old.load().without_write();
        match entry.page() {
            Page::Untouched => return,
            Page::Swapped(slot) => self.swap.slots.share(slot, 1),
            Page::Resident(gpa) => {
                self.add_mapping(self.frames.at(gpa), new);
                old.store(entry);
            }
        }
        new.store(entry.unlocked());
    }

    /// How many pages an address space has in RAM and on swap.
    #[must_use]
    pub fn size(&self, space: &AddressSpace) -> u64 {
        let mut pages = 0;
        for area in space.areas.all() {
            space.table.for_each(area.start..area.end, |_, _| pages += 1);
            let (split, whole) = huge::count(self, &space.table, area.start..area.end);
            pages += split + whole;
        }
        pages
    }

    /// Ends an address space: its pages, slots and tables are free again, but for what others share.
    pub fn destroy(&mut self, space: AddressSpace) {
        for area in space.areas.all() {
            self.discard(&space, &(area.start..area.end));
        }
        self.free_tables(|frames| {
            for area in space.areas.all() {
                space.table.prune(frames, &(area.start..area.end), &(Gva(0)..USER_HALF_END));
            }
            space.table.free(frames);
        });
        self.scopes.remove_scope(space.scope);
    }
}
