//! Huge pages: one entry above the last level that maps 2 MiB or 1 GiB, for anonymous memory.
//!
//! ```text
//!   asked for by                       first touch            evicted        fork
//!   MAP_HUGETLB                        at mmap, or an error   never          copied at once
//!   MADV_HUGEPAGE, --guest-page 2m/1g  if a run is free,      split first    split first
//!                                      else a small page
//! ```
//!
//! A huge page has one owner, its first frame's [`Use::Huge`]; the policy knows it by that frame. It can be split at any time,
//! even when no frame is free: the tables that this takes are set aside when it is made, one for 2 MiB, 513 for 1 GiB. What works
//! on small pages splits first those that stand in its way. The reverse, promotion, is in promote.rs.

use core::ops::Range;

use abi::addr::{Gva, PAGE_SHIFT};
use abi::stats::Source;
use paging::policy::PageKey;

use super::area::{Area, PageSize};
use super::fault::Invalid;
use super::frame::{FrameIndex, Link, Use};
use super::mappings::Mappings;
use super::page::{Entry, Rights};
use super::scope::Scope;
use super::space::AddressSpace;
use super::table::{self, Above, PageTable, span};
use super::{Memory, OutOfMemory};
use crate::arch::cpu;

/// How many tables above the last level may have to be made for a page.
const MOST_TABLES: u32 = 2;

/// How many small pages a page of a level has.
#[must_use]
pub const fn pages(level: u32) -> u32 {
    1 << (9 * level)
}

impl Memory {
    /// Serves a fault where no table of the last level is: with a huge page, if the area has them or may have them; `None` where a small
    /// page has to do.
    ///
    /// # Errors
    /// The area has huge pages alone, and there is no run of frames for one.
    pub(super) fn huge_fault(
        &mut self,
        table: &mut PageTable,
        area: &Area,
        gva: Gva,
    ) -> Result<Option<Source>, Invalid> {
        if let Err(above) = table.find(gva)
            && above.is_huge()
        {
            // The CPU knew an older entry: one with other rights, or none.
            above.entry.store(above.entry.load().with_rights(area.rights));
            cpu::invlpg(gva);
            return Ok(Some(Source::Resident));
        }
        let (most, fixed) = match area.size {
            PageSize::Fixed2M => (1, true),
            PageSize::Fixed1G => (2, true),
            PageSize::Small => return Ok(None),
            PageSize::Huge => (self.largest.max(1), false),
            PageSize::Any => (self.largest, false),
        };
        if !fixed && self.scopes.current != Scope::GLOBAL {
            // A limit counts small pages.
            return Ok(None);
        }
        let least = if fixed { most } else { 1 };
        let made = (least..=most).rev().any(|level| self.add_huge(table, area, gva, level, fixed).is_ok());
        match made {
            false if fixed => Err(Invalid::NoHugePage),
            made => {
                self.stats.huge_faults += u64::from(made);
                Ok(made.then_some(Source::Zero))
            }
        }
    }

    /// Maps a new huge page of zeros around an address.
    fn add_huge(
        &mut self,
        table: &mut PageTable,
        area: &Area,
        gva: Gva,
        level: u32,
        fixed: bool,
    ) -> Result<(), OutOfMemory> {
        let start = Gva(gva.0 & !(span(level) - 1));
        if level > self.levels || start < area.start || start + span(level) > area.end {
            return Err(OutOfMemory);
        }
        if !table.find(start).is_err_and(|above| above.level >= level && !above.is_huge()) {
            return Err(OutOfMemory);
        }
        let spares = if fixed { 0 } else { (0..level).map(pages).sum() };
        // First, so that no table is made for nothing.
        let first = self.take_huge(level, spares + MOST_TABLES)?;
        let above = self.tables_above(table, start, level)?;
        let entry = Entry::huge(self.frames.gpa(first), area.rights);
        table.add_huge(&mut self.frames, above, if area.locked { entry.locked() } else { entry });
        self.admit_huge(first, above, spares);
        Ok(())
    }

    /// Where a huge page's entry goes; makes the tables above, for which frames are free.
    fn tables_above(&mut self, table: &mut PageTable, start: Gva, level: u32) -> Result<Above, OutOfMemory> {
        loop {
            let Err(above) = table.find(start) else { return Err(OutOfMemory) };
            if above.level == level {
                return Ok(above);
            }
            self.add_table(table, above)?;
        }
    }

    /// Frames for a huge page that are free already, with as many `more` left: nothing is evicted for one.
    pub(super) fn take_huge(&mut self, level: u32, more: u32) -> Result<FrameIndex, OutOfMemory> {
        let reserve = self.frames.len() / 32;
        if self.frames.free_frames() < pages(level) + more + reserve {
            return Err(OutOfMemory);
        }
        self.frames.take_run(pages(level)).ok_or(OutOfMemory)
    }

    /// A huge page is resident from now on; one with spare tables may be split and evicted.
    pub(super) fn admit_huge(&mut self, first: FrameIndex, above: Above, spares: u32) {
        let mut spare = Link::NONE;
        for _ in 0..spares {
            let Some(frame) = self.frames.take() else { unreachable!("as many as were counted") };
            self.frames.set_aside(frame, &mut spare);
        }
        self.stats.kernel_frames += u64::from(spares);
        *self.frames.get_mut(first) = Use::Huge { level: above.level as u8, spare, entry: above.entry };
        if spares > 0 {
            self.scopes.insert(first, Scope::GLOBAL, PageKey(above.entry.raw()));
        }
        self.stats.huge += u64::from(pages(above.level));
        self.count_pages(u64::from(pages(above.level)));
    }

    /// Ends a huge page's life.
    fn release_huge(&mut self, table: &PageTable, above: Above) {
        let first = self.frames.at(above.entry.load().address());
        let Use::Huge { mut spare, .. } = self.frames.get(first) else {
            unreachable!("a huge page that its first frame does not know")
        };
        self.scopes.remove(first);
        let count = pages(above.level);
        self.free_tables(|frames| {
            while let Some(frame) = frames.take_spare(&mut spare) {
                frames.free(frame);
            }
        });
        self.free_tables(|frames| table.clear(frames, above.base, above.level));
        self.frames.free_all(first, count);
        self.stats.huge -= u64::from(count);
        self.stats.resident -= u64::from(count);
        cpu::flush_tlb();
    }

    /// Ends the huge pages of a range; those that lie in it in part are split.
    pub(super) fn discard_huge(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        if space.table.has_huge() {
            self.split_ends(space, range);
            space.table.for_each_huge(range.clone(), |above| self.release_huge(&space.table, above));
        }
    }

    /// Splits the huge pages that lie in a range in part.
    pub(super) fn split_ends(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        if !space.table.has_huge() {
            return;
        }
        for end in [range.start, range.end] {
            while let Err(above) = space.table.find(end)
                && above.is_huge()
                && above.base < end
                && self.split(above)
            {}
        }
    }

    /// Splits the huge pages of a range down to small ones.
    pub(super) fn split_all(&mut self, space: &AddressSpace, range: &Range<Gva>) {
        for _ in 0..2 {
            space.table.for_each_huge(range.clone(), |above| _ = self.split(above));
        }
    }

    /// Splits a huge page into pages of the next level down, unless it was made never to be.
    pub(super) fn split(&mut self, above: Above) -> bool {
        let first = self.frames.at(above.entry.load().address());
        let Use::Huge { level, mut spare, .. } = self.frames.get(first) else {
            unreachable!("a huge page that its first frame does not know")
        };
        let Some(frame) = self.frames.take_spare(&mut spare) else { return false };
        self.scopes.remove(first);
        let scopes = &mut self.scopes;
        table::split(&mut self.frames, above, frame, |frames, part, entry| {
            *frames.get_mut(part) = if level == 1 {
                Use::Anonymous { slot: None, mappings: Mappings::one(entry) }
            } else {
                let mut own = Link::NONE;
                if let Some(table) = frames.take_spare(&mut spare) {
                    frames.set_aside(table, &mut own);
                }
                Use::Huge { level: level - 1, spare: own, entry }
            };
            scopes.insert(part, Scope::GLOBAL, PageKey(entry.raw()));
        });
        if level == 1 {
            self.stats.huge -= u64::from(pages(1));
        }
        self.stats.huge_split += 1;
        above.entry.place(&self.frames, above.level).1.flush();
        true
    }

    /// Splits the huge page that the policy chose.
    pub(super) fn split_victim(&mut self, first: FrameIndex) {
        let Use::Huge { level, entry, .. } = self.frames.get(first) else { return };
        let (base, _) = entry.place(&self.frames, level.into());
        let above = Above { entry, level: level.into(), base, end: base.0 + span(level.into()) };
        self.split(above);
    }

    /// Gives the huge pages of a range other rights; those that lie in it in part are split.
    pub(super) fn protect_huge(&mut self, space: &AddressSpace, range: &Range<Gva>, rights: Rights) {
        self.split_ends(space, range);
        space.table.for_each_huge(range.clone(), |above| {
            above.entry.store(above.entry.load().with_rights(rights));
        });
    }

    /// Keeps the huge pages of a range in RAM, or no longer; those that lie in it in part are split.
    pub(super) fn lock_huge(&mut self, space: &AddressSpace, range: &Range<Gva>, locked: bool) {
        self.split_ends(space, range);
        space.table.for_each_huge(range.clone(), |above| {
            let entry = above.entry.load();
            above.entry.store(if locked { entry.locked() } else { entry.unlocked() });
        });
    }

    /// Gives a child copies of the huge pages of an area that are never split.
    ///
    /// # Errors
    /// There is no run of free frames.
    pub(super) fn copy_huge(
        &mut self,
        parent: &PageTable,
        child: &mut PageTable,
        area: &Area,
    ) -> Result<(), OutOfMemory> {
        let mut copied = Ok(());
        parent.for_each_huge(area.start..area.end, |above| {
            if copied.is_ok() {
                copied = self.add_huge(child, area, above.base, above.level, true);
            }
            if let Err(own) = child.find(above.base)
                && own.is_huge()
            {
                let (from, to) = (above.entry.load().address(), own.entry.load().address());
                let (from, to) = (self.frames.at(from), self.frames.at(to));
                for n in 0..pages(above.level) {
                    self.frames.copy(FrameIndex(from.0 + n), FrameIndex(to.0 + n));
                }
            }
        });
        copied
    }

    /// Fills an area of huge pages that are never split.
    ///
    /// # Errors
    /// There are not as many runs of free frames.
    pub fn fill_huge(&mut self, space: &mut AddressSpace, area: &Area) -> Result<(), OutOfMemory> {
        let Some(level) = area.size.fixed() else { return Ok(()) };
        let mut at = area.start;
        while at < area.end {
            self.add_huge(&mut space.table, area, at, level, true)?;
            at = at + span(level);
        }
        Ok(())
    }
}

/// How many small pages of a range are in huge pages, those that may be split and those that may not.
#[must_use]
pub fn count(memory: &Memory, table: &PageTable, range: Range<Gva>) -> (u64, u64) {
    let mut counts = (0, 0);
    table.for_each_huge(range.clone(), |above| {
        let part = (above.end.min(range.end.0) - above.base.max(range.start).0) >> PAGE_SHIFT;
        match memory.frames.get(memory.frames.at(above.entry.load().address())) {
            Use::Huge { spare: Link::NONE, .. } => counts.1 += part,
            _ => counts.0 += part,
        }
    });
    counts
}
