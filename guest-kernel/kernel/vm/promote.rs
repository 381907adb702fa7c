//! Promotion: 512 small pages that fill a table of the last level become one huge page; the table is its spare one then.

use core::ops::Range;

use abi::addr::{Gpa, Gva};
use paging::policy::PageKey;

use super::Memory;
use super::area::{Area, Backing, Kind, PageSize, TooMany};
use super::frame::{FrameIndex, Link, Use};
use super::huge::pages;
use super::page::{Entry, Page};
use super::scope::Scope;
use super::space::AddressSpace;
use super::table::{EntryRef, span};
use crate::arch::cpu;

impl Memory {
    /// Says how large the pages of the anonymous areas of a range are from now on, but for those that cannot change.
    ///
    /// # Errors
    /// An area would be split, and there are too many.
    pub fn set_page_size(
        &mut self,
        space: &mut AddressSpace,
        range: &Range<Gva>,
        size: PageSize,
    ) -> Result<(), TooMany> {
        space.areas.reserve()?;
        space.promotes |= size == PageSize::Huge;
        space.areas.change(range, |area| {
            let grows = matches!(area.kind, Kind::Stack | Kind::GrowsDown);
            if area.backing == Backing::Anonymous && area.size.fixed().is_none() && !grows {
                area.size = size;
            }
        });
        Ok(())
    }

    /// Looks at the next 2 MiB that may become a huge page, and promotes them if they can be.
    pub fn promote_next(&mut self, space: &mut AddressSpace) {
        let from = space.promote_at;
        let Some(area) = space.areas.next(from).copied() else {
            space.promote_at = Gva(0);
            return;
        };
        if space.scope != Scope::GLOBAL {
            return;
        }
        let start = Gva(from.max(area.start).0.next_multiple_of(span(1)));
        if start + span(1) > area.end || !self.is_promoted(&area) {
            space.promote_at = area.end;
            return;
        }
        space.promote_at = start + span(1);
        self.promote(space, &area, start);
    }

    fn is_promoted(&self, area: &Area) -> bool {
        match area.size {
            PageSize::Huge => true,
            PageSize::Any => self.largest > 0 && area.backing == Backing::Anonymous,
            PageSize::Small | PageSize::Fixed2M | PageSize::Fixed1G => false,
        }
    }

    /// Promotes the 2 MiB from `start` on, all of which `area` holds. Returns whether they are a huge page now.
    pub fn promote(&mut self, space: &mut AddressSpace, area: &Area, start: Gva) -> bool {
        let Ok(entries) = space.table.find(start) else { return self.is_huge(space, start) };
        if !self.can_be_promoted(entries) {
            return false;
        }
        let Ok(first) = self.take_huge(1, 0) else { return false };
        let mut locked = false;
        let mut entry = entries;
        for n in 0..pages(1) {
            locked |= entry.load().is_locked();
            self.move_to(entry.load().address(), FrameIndex(first.0 + n));
            entry = entry.after();
        }
        let huge = Entry::huge(self.frames.gpa(first), area.rights).used(true);
        let (above, table) = space.table.join(&self.frames, start, if locked { huge.locked() } else { huge });
        let mut spare = Link::NONE;
        self.frames.set_aside(table, &mut spare);
        *self.frames.get_mut(first) = Use::Huge { level: 1, spare, entry: above };
        self.scopes.insert(first, Scope::GLOBAL, PageKey(above.raw()));
        self.stats.huge += u64::from(pages(1));
        self.stats.huge_promoted += 1;
        cpu::flush_tlb();
        true
    }

    fn is_huge(&self, space: &AddressSpace, gva: Gva) -> bool {
        space.table.find(gva).is_err_and(|above| above.is_huge())
    }

    /// Whether all entries of a table of the last level map anonymous pages that nothing else maps.
    fn can_be_promoted(&self, entries: EntryRef) -> bool {
        let mut entry = entries;
        (0..pages(1)).all(|_| {
            let Page::Resident(gpa) = entry.load().page() else { return false };
            entry = entry.after();
            let frame = self.frames.at(gpa);
            let alone = matches!(self.frames.get(frame), Use::Anonymous { mappings, .. } if mappings.single().is_some());
            alone && !self.pinned.contains(&frame)
        })
    }

    /// Moves a page into a huge one; its frame and its slot are free then.
    fn move_to(&mut self, from: Gpa, to: FrameIndex) {
        let from = self.frames.at(from);
        self.frames.copy(from, to);
        if let Use::Anonymous { slot: Some(slot), .. } = self.frames.get(from) {
            self.swap.slots.free(slot);
        }
        self.scopes.remove(from);
        self.frames.free(from);
    }
}
