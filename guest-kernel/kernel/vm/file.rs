//! Reading and writing files through the page cache.

use abi::addr::{Gva, PAGE_SIZE};

use super::Memory;
use super::area::{Backing, Sharing};
use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::memory_file::LONGEST;
use super::page::Rights;
use super::space::AddressSpace;
use crate::drivers::block::MAX_SEGMENTS;
use crate::fs::{Attributes, FileId};
use crate::syscall::Errno;

impl Memory {
    /// A file's length in bytes.
    #[must_use]
    pub fn file_len(&self, file: FileId) -> u64 {
        match self.memory_files.get(file) {
            Some(memory) => memory.len,
            None => self.files.len(file),
        }
    }

    /// How long a file can get, in bytes.
    #[must_use]
    pub fn longest(&self, file: FileId) -> u64 {
        if file.memory_number().is_some() { LONGEST } else { self.files.file(file).capacity }
    }

    /// Sets a file's length. What lies past the end is gone: pages that are mapped there, too.
    ///
    /// # Errors
    /// ENOSPC, EFBIG: it cannot be that long. EIO: the disk does not take it. ENOMEM: there is no frame.
    pub fn set_file_len(&mut self, file: FileId, len: u64) -> Result<(), Errno> {
        let before = self.file_len(file);
        let most = self.longest(file);
        if len > most {
            return Err(if most == LONGEST { Errno::FBIG } else { Errno::NOSPC });
        }
        self.note_len(file, len);
        if len >= before {
            return Ok(());
        }
        let keep = len.div_ceil(PAGE_SIZE as u64) as u32;
        self.drop_pages(file, keep);
        if !len.is_multiple_of(PAGE_SIZE as u64) {
            let (frame, _) = self.cached(file, keep - 1)?;
            let rest = (len % PAGE_SIZE as u64) as usize;
            self.frames.fill_zero(frame, rest, PAGE_SIZE - rest);
            self.mark_dirty(frame);
        }
        // At once: what is on the disk past the end must not come back when the file grows again.
        if file.memory_number().is_none() {
            self.files.tell_len(file).map_err(|_| Errno::IO)?;
        }
        Ok(())
    }

    fn note_len(&mut self, file: FileId, len: u64) {
        match self.memory_files.get_mut(file) {
            Some(memory) => memory.len = len,
            None => self.files.file_mut(file).len = len,
        }
    }

    /// What a process wrote to private mappings past a file's end is gone, as the file's own pages there are.
    pub fn drop_copies(&mut self, space: &AddressSpace, file: FileId) {
        let len = self.file_len(file).next_multiple_of(PAGE_SIZE as u64);
        for area in space.areas.all() {
            let Backing::File { page, sharing: Sharing::Private, .. } = area.backing else { continue };
            let past = area.start + len.saturating_sub(u64::from(page) * PAGE_SIZE as u64);
            if area.is_of(file) && past < area.end {
                self.discard(space, &(past..area.end));
            }
        }
    }

    /// What is known of a file, on the disk or not.
    #[must_use]
    pub fn attributes(&self, file: FileId) -> &Attributes {
        match self.memory_files.get(file) {
            Some(file) => &file.attributes,
            None => &self.files.file(file).attributes,
        }
    }

    /// The same, to be changed.
    pub fn attributes_mut(&mut self, file: FileId) -> &mut Attributes {
        match self.memory_files.get_mut(file) {
            Some(file) => &mut file.attributes,
            None => &mut self.files.file_mut(file).attributes,
        }
    }

    /// Copies a file's bytes into kernel memory; fewer at its end.
    ///
    /// # Errors
    /// The device failed, or there is no frame.
    pub fn read_file(&mut self, file: FileId, offset: u64, to: &mut [u8]) -> Result<usize, Invalid> {
        let len = self.readable(file, offset, to.len());
        let mut done = 0;
        while done < len {
            let (page, at, part) = split(offset + done as u64, len - done);
            let (frame, _) = self.cached(file, page)?;
            self.frames.read(frame, at, &mut to[done..done + part]);
            done += part;
        }
        Ok(len)
    }

    /// Copies a file's bytes to a program; fewer at its end.
    ///
    /// # Errors
    /// The first page of either side cannot be had. A later one ends the copy early.
    pub fn read_file_to(
        &mut self,
        space: &mut AddressSpace,
        file: FileId,
        offset: u64,
        to: Gva,
        len: usize,
    ) -> Result<usize, Invalid> {
        let len = self.readable(file, offset, len);
        self.with_file(space, file, offset, (to, len), Rights::WRITE, |memory, user, cache, part| {
            memory.frames.copy_part(cache, user, part);
        })
    }

    /// Copies a program's bytes to a file, which grows with them as far as it can. The disk gets them when they are written back.
    ///
    /// # Errors
    /// As for [`Memory::read_file_to`].
    pub fn write_file_from(
        &mut self,
        space: &mut AddressSpace,
        file: FileId,
        offset: u64,
        from: Gva,
        len: usize,
    ) -> Result<usize, Invalid> {
        let room = self.longest(file).saturating_sub(offset);
        let len = len.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.with_file(space, file, offset, (from, len), Rights::READ, |memory, user, cache, part| {
            memory.frames.copy_part(user, cache, part);
            memory.mark_dirty(cache.0);
        })
    }

    fn readable(&self, file: FileId, offset: u64, len: usize) -> usize {
        len.min(usize::try_from(self.file_len(file).saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// Walks a program's range and a file's together, part by part: `each` gets the user's and the cache's frame, each
    /// with an offset, and a length.
    fn with_file(
        &mut self,
        space: &mut AddressSpace,
        file: FileId,
        offset: u64,
        user: (Gva, usize),
        access: Rights,
        mut each: impl FnMut(&mut Self, (FrameIndex, usize), (FrameIndex, usize), usize),
    ) -> Result<usize, Invalid> {
        let (start, len) = user;
        let mut done = 0;
        while done < len {
            match self.file_part(space, file, offset + done as u64, (start, done, len), access, &mut each) {
                Ok(part) => done += part,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn file_part(
        &mut self,
        space: &mut AddressSpace,
        file: FileId,
        offset: u64,
        (start, done, len): (Gva, usize, usize),
        access: Rights,
        each: &mut impl FnMut(&mut Self, (FrameIndex, usize), (FrameIndex, usize), usize),
    ) -> Result<usize, Invalid> {
        let at = start.checked_add(done as u64).ok_or(Invalid::NoArea)?;
        let (page, in_file, part) = split(offset, len - done);
        let part = part.min(PAGE_SIZE - at.page_offset());
        if access.allow(Rights::WRITE) {
            let straight = self.read_straight(space, file, offset, at, len - done)?;
            if straight > 0 {
                return Ok(straight);
            }
        }
        let user = self.user_frame(space, at, access)?;
        // Only now: a write that fails leaves the file as long as it was.
        if offset + part as u64 > self.file_len(file) {
            self.note_len(file, offset + part as u64);
        }
        // Taking a frame for the file's page must not take this one.
        self.pinned.push(user);
        let cache = self.cached(file, page);
        self.pinned.clear();
        let (cache, _) = cache?;
        if let Use::Cache { referenced, .. } = self.frames.get_mut(cache) {
            *referenced = true;
        }
        each(self, (user, at.page_offset()), (cache, in_file), part);
        Ok(part)
    }

    /// Reads whole pages that are not in the cache straight into a program's frames, as many as one request takes: a copy
    /// would cost more than all the rest, and what is read once in a long run is not worth a frame of the cache. Returns
    /// the bytes read, 0 where there is no whole page to read so.
    fn read_straight(
        &mut self,
        space: &mut AddressSpace,
        file: FileId,
        offset: u64,
        to: Gva,
        len: usize,
    ) -> Result<usize, Invalid> {
        if !offset.is_multiple_of(PAGE_SIZE as u64) || len < PAGE_SIZE || file.memory_number().is_some() {
            return Ok(0);
        }
        let first = (offset / PAGE_SIZE as u64) as u32;
        // A range of n pages may touch n + 1 frames.
        let most = (len / PAGE_SIZE).min(MAX_SEGMENTS - 1) as u32;
        let cached = (0..most).find(|n| self.cache.find(&self.frames, file, first + n).is_some());
        let pages = cached.unwrap_or(most);
        if pages == 0 {
            return Ok(0);
        }
        let bytes = pages as usize * PAGE_SIZE;
        let read = self.with_pinned(space, (to, bytes), Rights::WRITE, |memory, segments, usable| {
            let whole = usable == bytes;
            whole && memory.files.read(file, offset, segments).is_ok()
        })?;
        // Where not all of the range can be used or read, the slow way finds out how much.
        if !read {
            return Ok(0);
        }
        self.stats.file_read += u64::from(pages);
        Ok(bytes)
    }
}

/// The page of a file's offset, the offset in it, and how many of `len` bytes are in that page.
fn split(offset: u64, len: usize) -> (u32, usize, usize) {
    let at = (offset % PAGE_SIZE as u64) as usize;
    ((offset / PAGE_SIZE as u64) as u32, at, len.min(PAGE_SIZE - at))
}
