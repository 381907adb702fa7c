//! The page fault: the one place where area, entry, frame, file and swap come together.

use abi::addr::{Gva, PAGE_SIZE};
use abi::stats::Source;
use paging::policy::Policy;

use super::area::{Kind, Recipe};
use super::frame::{FrameIndex, Use};
use super::page::{Entry, Page, Rights};
use super::space::AddressSpace;
use super::swap::Slot;
use super::table::{EntryRef, PageTable};
use super::{Memory, OutOfMemory};
use crate::arch::cpu;
use crate::fs::FileId;

/// Why a fault is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// No area holds the address (SIGSEGV, SEGV_MAPERR).
    NoArea,
    /// The area does not allow it (SIGSEGV, SEGV_ACCERR).
    NoRight,
    /// Past the end of the mapped file (SIGBUS).
    PastEnd,
    /// The device failed (SIGBUS).
    Device,
    /// No frame can be had (SIGKILL).
    OutOfMemory,
}

impl From<OutOfMemory> for Invalid {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What a fault in an area needs to know of it.
struct Place {
    entry: EntryRef,
    rights: Rights,
    kind: Kind,
}

impl Memory {
    /// Makes the page at an address usable for `access`, or says why it cannot be.
    ///
    /// # Errors
    /// See [`Invalid`]; the counters know of it.
    pub fn fault(&mut self, space: &mut AddressSpace, gva: Gva, access: Rights) -> Result<Source, Invalid> {
        let result = self.serve(space, gva, access);
        match result {
            Ok(source) => self.count(source),
            Err(Invalid::OutOfMemory) => self.exhausted = true,
            Err(_) => self.stats.invalid_faults += 1,
        }
        result
    }

    fn serve(&mut self, space: &mut AddressSpace, gva: Gva, access: Rights) -> Result<Source, Invalid> {
        let AddressSpace { areas, table, .. } = space;
        let area = match areas.find(gva) {
            Some(area) => area,
            None => areas.grow_stack(gva).ok_or(Invalid::NoArea)?,
        };
        if !area.rights.any() || !area.rights.allow(access) {
            return Err(Invalid::NoRight);
        }
        let page = gva.page_start();
        let place = Place { entry: self.entry(table, page)?, rights: area.rights, kind: area.kind };
        let entry = place.entry.load();
        match (entry.page(), area.recipe(page)) {
            (Page::Untouched, Recipe::Zero) => self.zero_in(&place),
            (Page::Swapped(slot), _) => self.swap_in(&place, slot),
            // The CPU knew an older entry.
            (Page::Resident(_), _) if entry.permits(access) => {
                cpu::invlpg(page);
                Ok(Source::Resident)
            }
            // A frame of the cache is mapped read-only in a private mapping, so a write to it ends here.
            (_, Recipe::File(file, index)) if access.allow(Rights::WRITE) => {
                self.copy_in(&place, page, file, index)
            }
            (Page::Untouched, Recipe::File(file, index)) => self.map_file(&place, page, file, index),
            // The entry of a resident page has the area's rights, but for writing to the cache's frames.
            (Page::Resident(_), _) => {
                unreachable!("{entry:?} does not permit {access:?}, which its area allows")
            }
        }
    }

    /// The entry for a page; makes the tables on the way.
    pub(super) fn entry(&mut self, table: &mut PageTable, page: Gva) -> Result<EntryRef, OutOfMemory> {
        loop {
            match table.find(page) {
                Ok(entry) => return Ok(entry),
                Err(missing) => {
                    let frame = self.allocate_zeroed()?;
                    table.add(&mut self.frames, missing, frame);
                    self.stats.kernel_frames += 1;
                }
            }
        }
    }

    /// A page that was never touched: zeros. It is clean, so if it is only read its eviction costs nothing.
    fn zero_in(&mut self, place: &Place) -> Result<Source, Invalid> {
        let frame = self.allocate_zeroed()?;
        self.settle(place, frame, None);
        Ok(if place.kind == Kind::Stack { Source::Stack } else { Source::Zero })
    }

    fn swap_in(&mut self, place: &Place, slot: Slot) -> Result<Source, Invalid> {
        let frame = self.allocate()?;
        if self.swap.read(slot, self.frames.gpa(frame)).is_err() {
            self.frames.free(frame);
            log::error!("the swap disk failed to read slot {}", slot.number());
            return Err(Invalid::Device);
        }
        self.stats.swapped_in += 1;
        self.settle(place, frame, Some(slot));
        Ok(Source::Swap)
    }

    /// A private copy of a page of a file.
    fn copy_in(&mut self, place: &Place, page: Gva, file: FileId, index: u32) -> Result<Source, Invalid> {
        // First, because taking a frame may evict the page to be copied.
        let frame = self.allocate()?;
        let (from, major) = match self.cached(file, index) {
            Ok(found) => found,
            Err(error) => {
                self.frames.free(frame);
                return Err(error);
            }
        };
        self.frames.copy(from, frame);
        if let Use::Cache { entry: mapped, .. } = self.frames.get_mut(from)
            && *mapped == Some(place.entry)
        {
            *mapped = None;
        }
        // The copy differs from what the file would give back, so it counts as dirty from the start.
        self.settle(place, frame, None);
        place.entry.store(place.entry.load().used(true));
        cpu::invlpg(page);
        Ok(if major { Source::File } else { Source::Copy })
    }

    /// Maps the frame of the page cache itself, or a copy where it is mapped already: an instruction may need both
    /// mappings at once, as when a program reads its own code.
    fn map_file(&mut self, place: &Place, page: Gva, file: FileId, index: u32) -> Result<Source, Invalid> {
        let (frame, major) = self.cached(file, index)?;
        let gpa = self.frames.gpa(frame);
        if let Use::Cache { entry: mapped, .. } = self.frames.get_mut(frame) {
            if mapped.is_some() {
                return self.copy_in(place, page, file, index);
            }
            *mapped = Some(place.entry);
        }
        place.entry.store(Entry::resident(gpa, place.rights.without_write()));
        Ok(if major { Source::File } else { Source::Resident })
    }

    /// The frame of the page cache with a page of a file, and whether it had to be read.
    ///
    /// # Errors
    /// The page is past the file's end, the device failed, or there is no frame.
    pub fn cached(&mut self, file: FileId, index: u32) -> Result<(FrameIndex, bool), Invalid> {
        if let Some(frame) = self.cache.find(&self.frames, file, index) {
            return Ok((frame, false));
        }
        if u64::from(index) * PAGE_SIZE as u64 >= self.files.len(file) {
            return Err(Invalid::PastEnd);
        }
        let frame = self.allocate()?;
        let segment = (self.frames.gpa(frame), PAGE_SIZE as u32);
        if self.files.read(file, u64::from(index) * PAGE_SIZE as u64, &[segment]).is_err() {
            self.frames.free(frame);
            log::error!("the file disk failed to read page {index} of {}", self.files.path(file));
            return Err(Invalid::Device);
        }
        self.stats.file_read += 1;
        self.cache.insert(&mut self.frames, frame, file, index);
        self.count_resident(frame);
        Ok((frame, true))
    }

    /// An anonymous page is resident from now on.
    fn settle(&mut self, place: &Place, frame: FrameIndex, slot: Option<Slot>) {
        place.entry.store(Entry::resident(self.frames.gpa(frame), place.rights));
        self.admit(frame, Use::Anonymous { slot, entry: place.entry });
    }

    /// Ends a page's life in an address space, wherever it is.
    pub(super) fn release(&mut self, page: Gva, entry: EntryRef) {
        match entry.load().page() {
            Page::Untouched => return,
            Page::Swapped(slot) => self.swap.slots.free(slot),
            Page::Resident(gpa) => {
                let frame = self.frames.at(gpa);
                match self.frames.get_mut(frame) {
                    Use::Cache { entry: mapped, .. } => *mapped = None,
                    Use::Anonymous { slot, .. } => {
                        if let Some(slot) = slot.take() {
                            self.swap.slots.free(slot);
                        }
                        self.policy.remove(frame.0);
                        self.frames.free(frame);
                        self.stats.resident -= 1;
                    }
                    other => unreachable!("an entry maps a frame that holds {other:?}"),
                }
            }
        }
        entry.store(Entry::UNTOUCHED);
        cpu::invlpg(page);
    }
}
