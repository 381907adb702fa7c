//! The file disk: host files as extents of one virtio disk. abi::files has the format.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::addr::{Gpa, PAGE_SIZE};
use abi::files::{ENTRIES_START, Entry, MAGIC, READ_ONLY};

use crate::arch::direct;
use crate::drivers::block::{Block, Failed, SECTORS_A_PAGE};

/// A file's number: its entry's position in the disk's index, or the number of a file that has no disk (vm/memory_file.rs).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(transparent)]
pub struct FileId(pub u16);

impl FileId {
    /// Set in the number of a file that has no disk.
    const MEMORY: u16 = 0x8000;

    /// The file without a disk of that number.
    #[must_use]
    pub const fn memory(number: u16) -> Self {
        Self(Self::MEMORY | number)
    }

    /// The number of a file without a disk.
    #[must_use]
    #[inline]
    pub fn memory_number(self) -> Option<usize> {
        (self.0 & Self::MEMORY != 0).then_some(usize::from(self.0 & !Self::MEMORY))
    }
}

/// A file of the disk.
#[derive(Clone, Debug)]
pub struct File {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Its length in bytes, which does not change.
    pub len: u64,
    /// Permission bits.
    pub mode: u32,
    /// When it was last written, nanoseconds since 1970.
    pub mtime_ns: u64,
    /// Nobody may write to it.
    pub read_only: bool,
    first_sector: u64,
}

/// The disk and its index.
pub struct FileDisk {
    disk: Option<Block>,
    files: Vec<File>,
}

impl FileDisk {
    /// No files at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self { disk: None, files: Vec::new() }
    }

    /// One file that fills a disk from its start.
    #[cfg(test)]
    pub fn of_one(disk: Block, len: u64) -> Self {
        let file =
            File { path: b"/f".to_vec(), len, mode: 0o644, mtime_ns: 0, read_only: false, first_sector: 0 };
        Self { disk: Some(disk), files: alloc::vec![file] }
    }

    /// Reads the index.
    ///
    /// # Errors
    /// The device failed, or there is no index.
    pub fn load(mut disk: Block) -> Result<Self, Failed> {
        let mut page = Page::new();
        page.read(&mut disk, 0)?;
        let (magic, count) = (word(page.bytes(), 0), word(page.bytes(), 8));
        let limit = disk.sectors() * 512 / size_of::<Entry>() as u64;
        if magic != MAGIC || count > limit.min(u64::from(FileId::MEMORY)) {
            return Err(Failed);
        }
        let mut files = Vec::with_capacity(count as usize);
        for n in 0..count as usize {
            let at = n * size_of::<Entry>() % PAGE_SIZE;
            if at == 0 {
                page.read(&mut disk, ENTRIES_START + (n * size_of::<Entry>()) as u64)?;
            }
            files.push(parse(&page.bytes()[at..at + size_of::<Entry>()]));
        }
        Ok(Self { disk: Some(disk), files })
    }

    /// The file of that absolute, normal path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<FileId> {
        self.files.iter().position(|file| file.path == path).map(|index| FileId(index as u16))
    }

    /// Whether a path is a directory on the way to some file.
    #[must_use]
    pub fn is_directory(&self, path: &[u8]) -> bool {
        path == b"/" || self.files.iter().any(|file| super::path::leads_to(path, &file.path))
    }

    /// What is known of a file.
    #[must_use]
    pub fn file(&self, file: FileId) -> &File {
        &self.files[usize::from(file.0)]
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self, file: FileId) -> u64 {
        self.file(file).len
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self, file: FileId) -> &str {
        core::str::from_utf8(&self.file(file).path).unwrap_or("a file")
    }

    /// Reads from an offset, which is a multiple of a sector as the segments' lengths together are, into frames or parts of
    /// them. Past the file's end there are zeros.
    ///
    /// # Errors
    /// The device failed.
    pub fn read(&mut self, file: FileId, offset: u64, to: &[(Gpa, u32)]) -> Result<(), Failed> {
        let sector = self.file(file).first_sector + offset / 512;
        self.disk.as_mut().ok_or(Failed)?.read(sector, to)
    }

    /// Writes a page of a file.
    ///
    /// # Errors
    /// The device failed.
    pub fn write_page(&mut self, file: FileId, page: u32, frame: Gpa) -> Result<(), Failed> {
        let sector = self.file(file).first_sector + u64::from(page) * SECTORS_A_PAGE;
        self.disk.as_mut().ok_or(Failed)?.write(sector, &[(frame, PAGE_SIZE as u32)])
    }

    /// Makes everything written last.
    ///
    /// # Errors
    /// The device failed.
    pub fn flush(&mut self) -> Result<(), Failed> {
        self.disk.as_mut().map_or(Ok(()), Block::flush)
    }
}

/// A page of the heap that the device fills. The heap lies in the direct map, and its pages are aligned.
struct Page(Box<[u8; PAGE_SIZE]>);

impl Page {
    fn new() -> Self {
        Self(Box::new([0; PAGE_SIZE]))
    }

    fn read(&mut self, disk: &mut Block, at: u64) -> Result<(), Failed> {
        let gpa = direct::gpa_of(core::hint::black_box(self.0.as_mut_ptr()));
        disk.read(at / 512, &[(gpa, PAGE_SIZE as u32)])
    }

    fn bytes(&self) -> &[u8] {
        core::hint::black_box(&self.0[..])
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Reads the fields of abi::files::Entry.
fn parse(bytes: &[u8]) -> File {
    const PATH: usize = core::mem::offset_of!(Entry, path);
    let half = |at: usize| word(bytes, at) as u32;
    let path_len = (word(bytes, core::mem::offset_of!(Entry, path_len)) as usize).min(bytes.len() - PATH);
    File {
        path: bytes[PATH..PATH + path_len].to_vec(),
        len: word(bytes, core::mem::offset_of!(Entry, len)),
        mode: half(core::mem::offset_of!(Entry, mode)),
        mtime_ns: word(bytes, core::mem::offset_of!(Entry, mtime_ns)),
        read_only: half(core::mem::offset_of!(Entry, flags)) & READ_ONLY != 0,
        first_sector: word(bytes, core::mem::offset_of!(Entry, start)) / 512,
    }
}
