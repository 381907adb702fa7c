//! Files that have no disk: shared anonymous memory, and what memfd_create makes. Their pages are in the page cache like any file's; one that
//! is evicted goes to swap.
//!
//! Where an evicted page is, a table says that is built like a process's page table, by offset instead of address. Its entries are never
//! present: 0 is a page of zeros, anything else a swap slot. While a page is in the cache its entry keeps the slot that it
//! was read from, as long as the two are the same. Tables are made when a page comes into the cache, so that eviction needs no frame.
//!
//! Nobody counts who uses such a file. When it may have lost its last user, the address spaces and descriptors are asked
//! (process/tasks.rs), and [`Memory::free_memory_file`] takes it away.

use alloc::vec::Vec;

use abi::addr::{Gva, PAGE_SHIFT, PAGE_SIZE};
use abi::stats::Source;

use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::page::{Entry, Page};
use super::swap::Slot;
use super::table::{EntryRef, PageTable, USER_HALF_END};
use super::{Memory, OutOfMemory};
use crate::fs::{Attributes, FileId};

/// Most such files at once.
const MOST: usize = 4096;
/// A file is not longer: its pages have 32-bit numbers.
pub const LONGEST: u64 = (u32::MAX as u64) << PAGE_SHIFT;

/// A file without a disk.
pub struct MemoryFile {
    table: PageTable,
    /// Its length in bytes.
    pub len: u64,
    /// How many names it has.
    pub links: u32,
    /// What stat tells.
    pub attributes: Attributes,
}

/// All of them, by their numbers.
#[derive(Default)]
pub struct MemoryFiles(Vec<Option<MemoryFile>>);

impl MemoryFiles {
    /// The next one without a name, from a number on.
    #[must_use]
    pub fn next_nameless(&self, from: u16) -> Option<FileId> {
        let nameless = |file: &Option<MemoryFile>| file.as_ref().is_some_and(|file| file.links == 0);
        let rest = self.0.get(usize::from(from)..)?;
        rest.iter().position(nameless).map(|at| FileId::memory(from + at as u16))
    }

    /// One of them, by its number.
    #[must_use]
    pub fn get(&self, file: FileId) -> Option<&MemoryFile> {
        self.0.get(file.memory_number()?).and_then(Option::as_ref)
    }

    /// One of them, to be changed.
    pub fn get_mut(&mut self, file: FileId) -> Option<&mut MemoryFile> {
        self.0.get_mut(file.memory_number()?).and_then(Option::as_mut)
    }

    /// Where the table of a file says where a page is; it was made when the page came into the cache.
    fn entry(&self, file: FileId, page: u32) -> Option<EntryRef> {
        self.get(file).filter(|file| file.table.reaches(offset(page)))?.table.find(offset(page)).ok()
    }
}

/// A page's place in a file's table.
fn offset(page: u32) -> Gva {
    Gva(u64::from(page) << PAGE_SHIFT)
}

impl Memory {
    /// A new file of zeros.
    ///
    /// # Errors
    /// There is no frame for its table, or there are too many files.
    pub fn new_memory_file(&mut self, len: u64) -> Result<FileId, OutOfMemory> {
        let files = &mut self.memory_files.0;
        let number = files.iter().position(Option::is_none).unwrap_or(files.len());
        if number == MOST || files.try_reserve(1).is_err() {
            return Err(OutOfMemory);
        }
        let root = self.allocate_table()?;
        let file = Some(MemoryFile {
            table: PageTable::small(&mut self.frames, root),
            len,
            links: 0,
            attributes: Attributes::default(),
        });
        let files = &mut self.memory_files.0;
        if number == files.len() {
            files.push(file);
        } else {
            files[number] = file;
        }
        Ok(FileId::memory(number as u16))
    }

    /// A frame for a table of a file, which stays as long as the file has pages there, and so must leave others to those that run.
    fn allocate_table(&mut self) -> Result<FrameIndex, OutOfMemory> {
        if !self.can_spare_frames() {
            return Err(OutOfMemory);
        }
        let frame = self.allocate_zeroed()?;
        self.stats.kernel_frames += 1;
        Ok(frame)
    }

    /// A page of the cache differs from its copy elsewhere.
    pub(super) fn mark_dirty(&mut self, frame: FrameIndex) {
        if let Use::Cache { dirty, .. } = self.frames.get_mut(frame) {
            *dirty = true;
            self.files_written = true;
        }
    }

    /// Fills a frame with a page of a file without a disk.
    ///
    /// # Errors
    /// The swap disk failed, or there is no frame for a table. The frame is the caller's to free.
    pub(super) fn fill_from_memory_file(
        &mut self,
        file: FileId,
        page: u32,
        frame: FrameIndex,
    ) -> Result<Source, Invalid> {
        let reference = self.memory_file_entry(file, page)?;
        match reference.load().page() {
            Page::Swapped(slot) => {
                self.swap
                    .read(slot, &[(self.frames.gpa(frame), PAGE_SIZE as u32)])
                    .map_err(|_| Invalid::Device)?;
                self.stats.swapped_in += 1;
                Ok(Source::Swap)
            }
            _ => {
                self.frames.zero(frame);
                Ok(Source::Zero)
            }
        }
    }

    /// The entry of a page, with the tables that lead to it.
    fn memory_file_entry(&mut self, file: FileId, page: u32) -> Result<EntryRef, Invalid> {
        loop {
            let table = &self.memory_files.get(file).ok_or(Invalid::PastEnd)?.table;
            let missing = match table.reaches(offset(page)).then(|| table.find(offset(page))) {
                Some(Ok(entry)) => return Ok(entry),
                Some(Err(missing)) => Some(missing),
                None => None,
            };
            let frame = self.allocate_table()?;
            let Some(file) = self.memory_files.get_mut(file) else { return Err(Invalid::PastEnd) };
            match missing {
                Some(missing) => file.table.add(&mut self.frames, missing, frame),
                None => file.table.grow(&mut self.frames, frame),
            }
        }
    }

    /// A page of a file without a disk is in a slot from now on.
    pub(super) fn keep_in_slot(&mut self, file: FileId, page: u32, slot: Slot) {
        let Some(reference) = self.memory_files.entry(file, page) else {
            unreachable!("a page of the cache whose file has no table for it")
        };
        if let Page::Swapped(stale) = reference.load().page() {
            self.swap.slots.free(stale);
        }
        reference.store(Entry::swapped(slot));
    }

    /// Takes a file away that nobody maps or has open.
    pub fn free_memory_file(&mut self, file: FileId) {
        self.drop_pages(file, 0);
        let Some(number) = file.memory_number() else { return };
        let Some(memory) = self.memory_files.0.get_mut(number).and_then(Option::take) else { return };
        self.free_tables(|frames| {
            let all = Gva(0)..USER_HALF_END;
            memory.table.prune(frames, &all, &all);
            memory.table.free(frames);
        });
    }

    /// Drops the pages of a file from one on, wherever they are.
    pub(super) fn drop_pages(&mut self, file: FileId, from: u32) {
        for frame in (0..self.frames.len()).map(FrameIndex) {
            if let Use::Cache { file: held, page, mappings, .. } = self.frames.get(frame)
                && held == file
                && page >= from
            {
                self.unmap(mappings, None);
                self.cache.remove(&mut self.frames, frame);
                self.scopes.remove(frame);
                self.frames.free(frame);
                self.stats.resident -= 1;
            }
        }
        let Some(memory) = self.memory_files.get(file) else { return };
        let slots = &mut self.swap.slots;
        memory.table.for_each(offset(from)..offset(u32::MAX), |_, reference| {
            if let Page::Swapped(slot) = reference.load().page() {
                slots.free(slot);
            }
            reference.store(Entry::UNTOUCHED);
        });
    }
}
