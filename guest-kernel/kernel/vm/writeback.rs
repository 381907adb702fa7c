//! Write-back: what write(2) and shared mappings wrote to pages of files, on its way to the disk.
//!
//! A page of the cache is dirty if an entry that maps it says so, or if one did that maps it no longer (the frame's own mark). It is
//! written back when it is evicted, by msync and fsync, and at the machine's end, and is clean then until the next write.

use core::ops::Range;

use abi::addr::Gva;

use paging::policy::Pages;

use super::Memory;
use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::page::{Entry, Page};
use super::space::AddressSpace;
use crate::fs::FileId;

impl Memory {
    /// An entry goes that may have written to a page of a file: the frame keeps its mark.
    pub(super) fn keep_dirty(&mut self, frame: FrameIndex, entry: Entry) {
        // Of an anonymous page all entries have the same mark: they were copied with it, and none allows a write.
        if entry.is_dirty()
            && let Use::Cache { dirty, .. } = self.frames.get_mut(frame)
        {
            *dirty = true;
        }
    }

    /// Makes a page of the cache clean, unless its file has no disk. Returns whether it was dirty.
    ///
    /// # Errors
    /// The device failed; the page is as dirty as before.
    pub(super) fn write_back(&mut self, frame: FrameIndex) -> Result<bool, Invalid> {
        let Use::Cache { file, page, mappings, .. } = self.frames.get(frame) else { return Ok(false) };
        if file.memory_number().is_some() || !self.frames.is_dirty(frame.0) {
            return Ok(false);
        }
        if self.files.write_page(file, page, self.frames.gpa(frame)).is_err() {
            log::error!("the file disk failed to write page {page} of {}", self.files.path(file));
            return Err(Invalid::Device);
        }
        self.stats.file_written += 1;
        mappings.for_each(&self.frames, |reference| {
            reference.store(reference.load().not_dirty());
            reference.flush(&self.frames, 0);
        });
        if let Use::Cache { dirty, .. } = self.frames.get_mut(frame) {
            *dirty = false;
        }
        Ok(true)
    }

    /// Writes back the pages of files that a range maps.
    ///
    /// # Errors
    /// The device failed.
    pub fn write_back_range(&mut self, space: &AddressSpace, range: &Range<Gva>) -> Result<(), Invalid> {
        space.table.try_for_each(range.clone(), |_, entry| match entry.load().page() {
            Page::Resident(gpa) => self.write_back(self.frames.at(gpa)).map(|_| ()),
            _ => Ok(()),
        })
    }

    /// Writes back a file.
    ///
    /// # Errors
    /// The device failed.
    pub fn write_back_file(&mut self, file: FileId) -> Result<(), Invalid> {
        self.write_back_where(|held| held == file)?;
        if file.memory_number().is_none() {
            self.files.tell_len(file).map_err(|_| Invalid::Device)?;
        }
        Ok(())
    }

    /// Writes back every file, at the machine's end.
    pub fn write_back_all(&mut self) {
        // A page that the device refuses is in the log.
        let _ = self.write_back_where(|_| true);
        let _ = self.files.tell_lens();
    }

    fn write_back_where(&mut self, wanted: impl Fn(FileId) -> bool) -> Result<(), Invalid> {
        if !self.files_written {
            return Ok(());
        }
        for frame in (0..self.frames.len()).map(FrameIndex) {
            if let Use::Cache { file, .. } = self.frames.get(frame)
                && wanted(file)
            {
                self.write_back(frame)?;
            }
        }
        Ok(())
    }
}
