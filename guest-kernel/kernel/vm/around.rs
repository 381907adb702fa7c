//! More than was asked for: a fault on a page of a file also maps the neighbours that are in the page cache, and a read of one page
//! reads those around it while frames are free. Neither ever evicts a page, and what was brought in so is not marked as used.

use abi::addr::{Gpa, Gva, PAGE_SIZE};

use super::Memory;
use super::area::{Area, Backing};
use super::cache::PageCache;
use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::mappings::Mappings;
use super::page::Entry;
use super::scope::Scope;
use super::table::EntryRef;
use crate::fs::FileId;

/// How many pages, and to what their first one is aligned. They never lie in two page tables.
pub(super) const AROUND: u32 = 16;

impl Memory {
    /// Maps what the cache has of the pages around one that was just mapped from a file.
    pub(super) fn map_around(&mut self, area: &Area, page: Gva, entry: EntryRef) {
        let Backing::File { file, page: first, .. } = area.backing else { return };
        let window = Gva(page.0 & !(u64::from(AROUND) * PAGE_SIZE as u64 - 1));
        let start = window.max(area.start);
        let end = (window + u64::from(AROUND) * PAGE_SIZE as u64).min(area.end);
        let rights = if area.is_shared() { area.rights } else { area.rights.without_write() };
        let mapped = Entry::resident(Gpa(0), rights);
        let index = first + ((start - area.start) / PAGE_SIZE as u64) as u32;
        let mut entry = entry.before(((page - start) / PAGE_SIZE as u64) as u32);
        for n in 0..((end - start) / PAGE_SIZE as u64) as u32 {
            if entry.load() == Entry::UNTOUCHED {
                self.map_cached(file, index + n, entry, mapped);
            }
            entry = entry.after();
        }
    }

    /// Maps a page if the cache has it; `mapped` is the entry but for the frame.
    #[inline]
    fn map_cached(&mut self, file: FileId, index: u32, entry: EntryRef, mapped: Entry) {
        let Some(frame) = self.cache.find(&self.frames, file, index) else { return };
        match self.frames.get_mut(frame) {
            Use::Cache { mappings, .. } if mappings.is_none() => *mappings = Mappings::one(entry),
            _ if self.reverse.has_room() => self.add_mapping(frame, entry),
            _ => return,
        }
        entry.store(mapped.in_frame(self.frames.gpa(frame)));
        self.stats.mapped_around += 1;
    }

    /// Reads a page of a file on the disk into a frame, and those around it that are not in the cache into free frames.
    pub(super) fn read_around(&mut self, file: FileId, index: u32, frame: FrameIndex) -> Result<(), Invalid> {
        let mut run = index..index + 1;
        let window = index & !(AROUND - 1);
        let end = (window + AROUND).min(self.file_len(file).div_ceil(PAGE_SIZE as u64) as u32);
        let mut free = self.frames.free_frames();
        while free > 0 && run.end < end && self.cache.find(&self.frames, file, run.end).is_none() {
            run.end += 1;
            free -= 1;
        }
        while free > 0 && run.start > window && self.cache.find(&self.frames, file, run.start - 1).is_none() {
            run.start -= 1;
            free -= 1;
        }
        let mut frames = [frame; AROUND as usize];
        let mut segments = [(Gpa(0), PAGE_SIZE as u32); AROUND as usize];
        let count = run.len();
        for (n, page) in run.clone().enumerate() {
            if page != index {
                let Some(free) = self.frames.take() else { unreachable!("as many as were counted") };
                frames[n] = free;
            }
            segments[n].0 = self.frames.gpa(frames[n]);
        }
        let read = self.files.read(file, u64::from(run.start) * PAGE_SIZE as u64, &segments[..count]);
        for (n, page) in run.enumerate().filter(|&(_, page)| page != index) {
            match read {
                Ok(()) => {
                    self.cache.insert(&mut self.frames, frames[n], file, page);
                    self.count_resident(frames[n], Scope::GLOBAL, PageCache::key(file, page));
                }
                Err(_) => self.frames.free(frames[n]),
            }
        }
        if read.is_err() {
            log::error!("the file disk failed to read page {index} of {}", self.files.path(file));
            return Err(Invalid::Device);
        }
        self.stats.file_read += count as u64;
        Ok(())
    }
}
