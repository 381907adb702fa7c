//! Reading and writing files through the page cache.

use abi::addr::{Gpa, Gva, PAGE_SIZE};

use super::Memory;
use super::fault::Invalid;
use super::frame::{FrameIndex, Use};
use super::page::Rights;
use super::space::AddressSpace;
use crate::drivers::block::MAX_SEGMENTS;
use crate::fs::FileId;

impl Memory {
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
            Ok(())
        })
    }

    /// Copies a program's bytes to a file, which they reach at once; no further than its end.
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
        let len = self.readable(file, offset, len);
        self.with_file(space, file, offset, (from, len), Rights::READ, |memory, user, cache, part| {
            memory.frames.copy_part(user, cache, part);
            let Use::Cache { page, .. } = memory.frames.get(cache.0) else { return Err(Invalid::Device) };
            let gpa = memory.frames.gpa(cache.0);
            memory.files.write_page(file, page, gpa).map_err(|_| Invalid::Device)?;
            memory.stats.file_written += 1;
            Ok(())
        })
    }

    fn readable(&self, file: FileId, offset: u64, len: usize) -> usize {
        len.min(usize::try_from(self.files.len(file).saturating_sub(offset)).unwrap_or(usize::MAX))
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
        mut each: impl FnMut(&mut Self, (FrameIndex, usize), (FrameIndex, usize), usize) -> Result<(), Invalid>,
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
        each: &mut impl FnMut(&mut Self, (FrameIndex, usize), (FrameIndex, usize), usize) -> Result<(), Invalid>,
    ) -> Result<usize, Invalid> {
        let at = start.checked_add(done as u64).ok_or(Invalid::NoArea)?;
        let (page, in_file, part) = split(offset, len - done);
        let part = part.min(PAGE_SIZE - at.page_offset());
        if access.allow(Rights::WRITE) {
            self.read_ahead(file, page, in_file + len - done)?;
        }
        let user = self.user_frame(space, at, access)?;
        // Taking a frame for the file's page must not take this one.
        self.pinned.push(user);
        let cache = self.cached(file, page);
        self.pinned.clear();
        let (cache, _) = cache?;
        if let Use::Cache { referenced, .. } = self.frames.get_mut(cache) {
            *referenced = true;
        }
        each(self, (user, at.page_offset()), (cache, in_file), part)?;
        Ok(part)
    }

    /// Brings the pages that a read of `bytes` from page `first` on will want into the cache, as many as one request takes,
    /// if the first is not there. What the caller did not ask for is not read.
    fn read_ahead(&mut self, file: FileId, first: u32, bytes: usize) -> Result<(), Invalid> {
        let wanted = (bytes.div_ceil(PAGE_SIZE) as u32).min(self.files.pages(file) - first);
        let mut taken = [FrameIndex(0); MAX_SEGMENTS];
        let mut pages = [Gpa(0); MAX_SEGMENTS];
        let mut count = 0;
        while count < MAX_SEGMENTS.min(wanted as usize)
            && self.cache.find(&self.frames, file, first + count as u32).is_none()
        {
            match self.allocate() {
                Ok(frame) => (taken[count], pages[count]) = (frame, self.frames.gpa(frame)),
                Err(_) if count > 0 => break,
                Err(error) => return Err(error.into()),
            }
            count += 1;
        }
        // One page is what `cached` reads anyway, and it reports the errors.
        let read = count > 1 && self.files.read_pages(file, first, &pages[..count]).is_ok();
        for (n, frame) in taken[..count].iter().enumerate() {
            if read {
                self.cache.insert(&mut self.frames, *frame, file, first + n as u32);
                self.count_resident(*frame);
                self.stats.file_read += 1;
            } else {
                self.frames.free(*frame);
            }
        }
        Ok(())
    }
}

/// The page of a file's offset, the offset in it, and how many of `len` bytes are in that page.
fn split(offset: u64, len: usize) -> (u32, usize, usize) {
    let at = (offset % PAGE_SIZE as u64) as usize;
    ((offset / PAGE_SIZE as u64) as u32, at, len.min(PAGE_SIZE - at))
}
