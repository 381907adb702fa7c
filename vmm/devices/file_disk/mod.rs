//! The file disk: host files as extents of one disk, behind an index (see [`abi::files`]).
//!
//! There is no image: an extent's bytes are read from and written to the host file itself.

mod file;
mod index;
mod spec;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashSet;
use std::ops::Range;

use abi::files::Entry;

pub use file::{DiskFile, FileError};
pub use spec::{Access, FileSpec, FolderError, FolderSpec, SpecError};

use super::disk::{Disk, DiskError};
use super::guest_slices::GuestSlices;

/// A file and where it is on the disk.
struct Extent {
    start: u64,
    file: DiskFile,
}

/// A disk of files.
pub struct FileDisk {
    index: Vec<u8>,
    /// Ascending, without gaps, from the end of the index on.
    extents: Vec<Extent>,
    size: u64,
}

impl FileDisk {
    /// Lays the files out one after the other.
    ///
    /// # Errors
    /// Two files have the same path in the guest, or there are too many.
    pub fn new(files: Vec<DiskFile>) -> Result<Self, FileError> {
        if files.len() > file::MOST_FILES {
            return Err(FileError::TooMany(files.len()));
        }
        let mut paths = HashSet::new();
        if let Some(twice) = files.iter().map(DiskFile::guest_path).find(|path| !paths.insert(*path)) {
            return Err(FileError::SameGuestPath(twice.to_owned()));
        }
        let mut next = index::len(files.len());
        let mut extents = Vec::with_capacity(files.len());
        for file in files {
            let start = next;
            next = next.saturating_add(file.capacity());
            extents.push(Extent { start, file });
        }
        let index = index::build(extents.iter().map(|extent| (extent.start, &extent.file)));
        Ok(Self { index, extents, size: next })
    }

    /// The guest writes an entry of the index to set its file's length.
    fn set_len(&mut self, offset: u64, from: &GuestSlices<'_>) -> Result<(), DiskError> {
        let mut sector = [0; size_of::<Entry>()];
        if from.len() != sector.len() {
            return Err(DiskError::ReadOnly);
        }
        from.copy_to(&mut sector);
        let (number, len) = index::changed_len(offset, &sector).ok_or(DiskError::ReadOnly)?;
        let extent = self.extents.get_mut(number).ok_or(DiskError::ReadOnly)?;
        extent.file.set_len(len)?;
        index::set_len(&mut self.index, number, len);
        Ok(())
    }

    /// The extents that hold `range`, each with the part of it that is wanted, relative to the extent's start.
    fn extents_in(&mut self, range: Range<u64>) -> impl Iterator<Item = (&mut DiskFile, Range<u64>)> {
        let first =
            self.extents.partition_point(|extent| extent.start + extent.file.capacity() <= range.start);
        self.extents[first..].iter_mut().take_while(move |extent| extent.start < range.end).map(
            move |extent| {
                let start = range.start.max(extent.start) - extent.start;
                let end = (range.end - extent.start).min(extent.file.capacity());
                (&mut extent.file, start..end)
            },
        )
    }
}

impl Disk for FileDisk {
    const ID: &'static str = "bifold-files";

    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.extents.iter().all(|extent| extent.file.read_only())
    }

    fn can_discard(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u64, mut into: GuestSlices<'_>) -> Result<(), DiskError> {
        let end = offset + into.len() as u64;
        if let Some(index) = self.index.get(offset as usize..) {
            let count = index.len().min(into.len());
            if let Some(target) = into.split_first(count) {
                target.copy_from(index);
            }
        }
        let offset = end - into.len() as u64;
        for (file, range) in self.extents_in(offset..end) {
            let Some(target) = into.split_first((range.end - range.start) as usize) else { break };
            file.read(range.start, target)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, mut from: GuestSlices<'_>) -> Result<(), DiskError> {
        if offset < self.index.len() as u64 {
            return self.set_len(offset, &from);
        }
        let end = offset + from.len() as u64;
        for (file, range) in self.extents_in(offset..end) {
            let Some(source) = from.split_first((range.end - range.start) as usize) else { break };
            file.write(range.start, source)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.extents.iter_mut().try_for_each(|extent| extent.file.flush())
    }

    /// The content of a host file is never given up.
    fn discard(&mut self, _range: Range<u64>) -> Result<(), DiskError> {
        Ok(())
    }
}
