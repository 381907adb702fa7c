//! The page fault: the one place where area, entry, frame, file and swap come together.

use abi::addr::{Gva, PAGE_SIZE};
use abi::stats::Source;
use paging::policy::PageKey;

use super::area::{Area, Kind, Recipe};
use super::cache::PageCache;
use super::frame::{FrameIndex, Use};
use super::mappings::Mappings;
use super::page::{Entry, Page, Rights};
use super::scope::Scope;
use super::space::AddressSpace;
use super::swap::Slot;
use super::table::{Above, EntryRef, PageTable};
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
    /// There is no run of free frames for a huge page that cannot be small (SIGBUS).
    NoHugePage,
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
    shared: bool,
}

impl Memory {
    /// Makes the page at an address usable for `access`, or says why it cannot be.
    ///
    /// # Errors
    /// See [`Invalid`]; the counters know of it.
    pub fn fault(&mut self, space: &mut AddressSpace, gva: Gva, access: Rights) -> Result<Source, Invalid> {
        let since = if self.trace.is_some() { cpu::rdtsc() } else { 0 };
        self.faulting = space.number;
        self.keep_limit();
        let result = self.serve(space, gva, access);
        match result {
            Ok(source) => {
                if source != Source::Resident {
                    space.working_set.count();
                }
                self.count(source);
                if let Some(trace) = &mut self.trace {
                    trace.record((space.number, gva), access, source, since);
                }
            }
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
        let reference = match table.find(page) {
            Ok(reference) => reference,
            Err(_) => match self.huge_fault(table, area, page)? {
                Some(source) => return Ok(source),
                None => self.entry(table, page)?,
            },
        };
        let source = self.serve_small(area, page, reference, access)?;
        if area.locked {
            reference.store(reference.load().locked());
        }
        Ok(source)
    }

    fn serve_small(
        &mut self,
        area: &Area,
        page: Gva,
        entry: EntryRef,
        access: Rights,
    ) -> Result<Source, Invalid> {
        let place = Place { entry, rights: area.rights, kind: area.kind, shared: area.is_shared() };
        let entry = place.entry.load();
        match entry.page() {
            Page::Untouched => match area.recipe(page) {
                Recipe::Zero if access.allow(Rights::WRITE) => self.zero_in(&place),
                Recipe::Zero => self.map_zeros(&place),
                Recipe::File(file, index) if access.allow(Rights::WRITE) && !place.shared => {
                    self.copy_in(&place, page, file, index)
                }
                Recipe::File(file, index) => {
                    let source = self.map_file(&place, file, index)?;
                    self.map_around(area, page, place.entry);
                    Ok(source)
                }
            },
            Page::Swapped(slot) => {
                let run = self.run_ahead(page, area.end, place.entry, slot);
                let frame = self.read_run(run, place.entry, place.rights, slot)?;
                self.settle(&place, frame, Some(slot));
                Ok(Source::Swap)
            }
            // The CPU knew an older entry.
            Page::Resident(_) if entry.permits(access) => {
                cpu::invlpg(page);
                Ok(Source::Resident)
            }
            // The entry of a resident page has the area's rights, but that it lets nobody write what others see.
            Page::Resident(gpa) => {
                let frame = self.frames.at(gpa);
                match self.frames.get(frame) {
                    Use::Anonymous { mappings, .. } => self.unshare(&place, page, frame, mappings),
                    Use::Cache { .. } if place.shared => {
                        place.entry.store(entry.with_rights(place.rights));
                        cpu::invlpg(page);
                        Ok(Source::Resident)
                    }
                    Use::Cache { file, page: index, .. } => self.copy_in(&place, page, file, index),
                    Use::Zeros => {
                        let source = self.zero_in(&place)?;
                        cpu::invlpg(page);
                        Ok(source)
                    }
                    other => unreachable!("an entry maps a frame that holds {other:?}"),
                }
            }
        }
    }

    /// The entry for a page; makes the tables on the way.
    pub(super) fn entry(&mut self, table: &mut PageTable, page: Gva) -> Result<EntryRef, OutOfMemory> {
        loop {
            match table.find(page) {
                Ok(entry) => return Ok(entry),
                Err(missing) => self.add_table(table, missing)?,
            }
        }
    }

    /// Adds a table where a walk missed it.
    pub(super) fn add_table(&mut self, table: &mut PageTable, missing: Above) -> Result<(), OutOfMemory> {
        let frame = self.allocate_zeroed()?;
        table.add(&mut self.frames, missing, frame);
        self.stats.kernel_frames += 1;
        Ok(())
    }

    /// A page that was never written is only read: the page of zeros stands in for it.
    fn map_zeros(&mut self, place: &Place) -> Result<Source, Invalid> {
        let frame = match self.zeros {
            Some(frame) => frame,
            None => {
                let frame = self.allocate_zeroed()?;
                *self.frames.get_mut(frame) = Use::Zeros;
                self.stats.kernel_frames += 1;
                *self.zeros.insert(frame)
            }
        };
        place.entry.store(Entry::resident(self.frames.gpa(frame), place.rights.without_write()));
        Ok(Source::Zero)
    }

    /// A page that was never written: zeros.
    fn zero_in(&mut self, place: &Place) -> Result<Source, Invalid> {
        let frame = self.allocate_zeroed()?;
        self.settle(place, frame, None);
        Ok(if place.kind == Kind::Stack { Source::Stack } else { Source::Zero })
    }

    /// A private copy of a page of a file.
    fn copy_in(&mut self, place: &Place, page: Gva, file: FileId, index: u32) -> Result<Source, Invalid> {
        // First, because taking a frame may evict the page to be copied.
        let frame = self.allocate()?;
        let (from, source) = match self.cached(file, index) {
            Ok(found) => found,
            Err(error) => {
                self.frames.free(frame);
                return Err(error);
            }
        };
        self.frames.copy(from, frame);
        if place.entry.load().page() == Page::Resident(self.frames.gpa(from)) {
            self.forget(from, place.entry);
        }
        self.settle_copy(place, page, frame);
        Ok(if source == Source::Resident { Source::Copy } else { source })
    }

    /// A write to a page that was shared by a fork: the last one that maps it has it for itself, others get a copy.
    fn unshare(
        &mut self,
        place: &Place,
        page: Gva,
        frame: FrameIndex,
        mappings: Mappings,
    ) -> Result<Source, Invalid> {
        if mappings.single().is_some() {
            place.entry.store(place.entry.load().with_rights(place.rights).used(true));
            cpu::invlpg(page);
            return Ok(Source::Resident);
        }
        // Taking a frame must not take this one.
        self.pinned.push(frame);
        let copy = self.allocate();
        self.pinned.pop();
        let copy = copy?;
        self.frames.copy(frame, copy);
        self.forget(frame, place.entry);
        self.settle_copy(place, page, copy);
        Ok(Source::Copy)
    }

    /// Maps the frame of the page cache itself.
    fn map_file(&mut self, place: &Place, file: FileId, index: u32) -> Result<Source, Invalid> {
        let (frame, source) = self.cached(file, index)?;
        if !self.frames.mappings(frame).is_none() {
            self.pinned.push(frame);
            let room = self.room_to_map();
            self.pinned.pop();
            room?;
        }
        self.add_mapping(frame, place.entry);
        let rights = if place.shared { place.rights } else { place.rights.without_write() };
        place.entry.store(Entry::resident(self.frames.gpa(frame), rights));
        Ok(source)
    }

    /// Makes sure that [`Memory::add_mapping`] works. This may evict a page.
    pub(super) fn room_to_map(&mut self) -> Result<(), OutOfMemory> {
        if !self.reverse.has_room() {
            let frame = self.allocate_zeroed()?;
            self.reverse.grow(&mut self.frames, frame);
        }
        Ok(())
    }

    /// Another entry maps a resident page.
    #[inline]
    pub(super) fn add_mapping(&mut self, frame: FrameIndex, entry: EntryRef) {
        let mappings = self.frames.mappings(frame);
        let more = self.reverse.add(&mut self.frames, mappings, entry);
        self.frames.set_mappings(frame, more);
    }

    /// An entry no longer maps a resident page.
    #[inline]
    fn forget(&mut self, frame: FrameIndex, entry: EntryRef) {
        let mappings = self.frames.mappings(frame);
        let fewer = self.reverse.remove(&mut self.frames, mappings, entry);
        self.frames.set_mappings(frame, fewer);
    }

    /// Another entry of the same address space maps a resident page instead.
    pub(super) fn move_mapping(&mut self, frame: FrameIndex, old: EntryRef, new: EntryRef) {
        let mut mappings = self.frames.mappings(frame);
        mappings.replace(&mut self.frames, old, new);
        self.frames.set_mappings(frame, mappings);
    }

    /// The frame of the page cache with a page of a file, and where the page came from.
    ///
    /// # Errors
    /// The page is past the file's end, the device failed, or there is no frame.
    pub fn cached(&mut self, file: FileId, index: u32) -> Result<(FrameIndex, Source), Invalid> {
        if let Some(frame) = self.cache.find(&self.frames, file, index) {
            return Ok((frame, Source::Resident));
        }
        if u64::from(index) * PAGE_SIZE as u64 >= self.file_len(file) {
            return Err(Invalid::PastEnd);
        }
        let frame = self.allocate()?;
        let filled = match file.memory_number() {
            Some(_) => self.fill_from_memory_file(file, index, frame),
            None => self.read_around(file, index, frame).map(|()| Source::File),
        };
        let source = match filled {
            Ok(source) => source,
            Err(error) => {
                self.frames.free(frame);
                return Err(error);
            }
        };
        self.cache.insert(&mut self.frames, frame, file, index);
        self.count_resident(frame, Scope::GLOBAL, PageCache::key(file, index));
        Ok((frame, source))
    }

    /// An anonymous page is resident from now on.
    fn settle(&mut self, place: &Place, frame: FrameIndex, slot: Option<Slot>) {
        place.entry.store(Entry::resident(self.frames.gpa(frame), place.rights));
        *self.frames.get_mut(frame) = Use::Anonymous { slot, mappings: Mappings::one(place.entry) };
        self.count_resident(frame, self.scopes.current, PageKey(place.entry.raw()));
    }

    /// A copy takes the place of a page that was mapped or would have been. It differs from what the recipe would give back, so it
    /// counts as dirty from the start.
    fn settle_copy(&mut self, place: &Place, page: Gva, frame: FrameIndex) {
        self.settle(place, frame, None);
        place.entry.store(place.entry.load().used(true));
        cpu::invlpg(page);
    }

    /// Ends a page's life in an address space, wherever it is.
    pub(super) fn release(&mut self, page: Gva, reference: EntryRef) {
        let entry = reference.load();
        reference.store(Entry::UNTOUCHED);
        match entry.page() {
            Page::Untouched => {}
            Page::Swapped(slot) => self.swap.slots.free(slot),
            Page::Resident(gpa) => {
                cpu::invlpg(page);
                let frame = self.frames.at(gpa);
                match self.frames.get(frame) {
                    Use::Anonymous { slot, mappings } if mappings.single().is_some() => {
                        if let Some(slot) = slot {
                            self.swap.slots.free(slot);
                        }
                        self.scopes.remove(frame);
                        self.frames.free(frame);
                        self.stats.resident -= 1;
                    }
                    _ => {
                        self.keep_dirty(frame, entry);
                        self.forget(frame, reference);
                    }
                }
            }
        }
    }
}
