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

/// What is known of a file, on the disk or not, beside its length.
#[derive(Clone, Copy, Default, Debug)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// When it was last written, nanoseconds since 1970.
    pub mtime_ns: u64,
    /// Nobody may write to it.
    pub read_only: bool,
}

/// A file of the disk.
#[derive(Clone, Debug)]
pub struct File {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub len: u64,
    /// What its length can be at most.
    pub capacity: u64,
    /// The length that the disk knows of.
    known_len: u64,
    /// What else is known of it.
    pub attributes: Attributes,
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
        let file = File {
            path: b"/f".to_vec(),
            len,
            capacity: len.next_multiple_of(PAGE_SIZE as u64),
            known_len: len,
            attributes: Attributes::default(),
            first_sector: 0,
        };
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

    /// All files.
    pub fn all(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(index as u16), file))
    }

    /// What is known of a file.
    #[must_use]
    pub fn file(&self, file: FileId) -> &File {
        &self.files[usize::from(file.0)]
    }

    /// The same, to be changed; the disk hears of a new length from [`FileDisk::tell_len`].
    pub fn file_mut(&mut self, file: FileId) -> &mut File {
        &mut self.files[usize::from(file.0)]
    }

    /// Tells the disk how long a file is, if it does not know.
    ///
    /// # Errors
    /// The device failed.
    pub fn tell_len(&mut self, file: FileId) -> Result<(), Failed> {
        let len = self.file(file).len;
        if self.file(file).known_len == len {
            return Ok(());
        }
        let mut page = Page::new();
        page.0[LEN..LEN + 8].copy_from_slice(&len.to_le_bytes());
        let at = ENTRIES_START + u64::from(file.0) * size_of::<Entry>() as u64;
        self.disk.as_mut().ok_or(Failed)?.write(at / 512, &[(page.gpa(), size_of::<Entry>() as u32)])?;
        self.file_mut(file).known_len = len;
        Ok(())
    }

    /// Tells the disk how long all files are.
    ///
    /// # Errors
    /// The device failed.
    pub fn tell_lens(&mut self) -> Result<(), Failed> {
        (0..self.files.len()).try_for_each(|file| self.tell_len(FileId(file as u16)))
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

    /// Writes a page of a file. The disk takes only what is before the end that it knows of.
    ///
    /// # Errors
    /// The device failed.
    pub fn write_page(&mut self, file: FileId, page: u32, frame: Gpa) -> Result<(), Failed> {
        if (u64::from(page) + 1) * PAGE_SIZE as u64 > self.file(file).known_len {
            self.tell_len(file)?;
        }
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

/// Where an entry has the length.
const LEN: usize = core::mem::offset_of!(Entry, len);

/// A page of the heap that the device fills. The heap lies in the direct map, and its pages are aligned.
struct Page(Box<[u8; PAGE_SIZE]>);

impl Page {
    fn new() -> Self {
        Self(Box::new([0; PAGE_SIZE]))
    }

    fn gpa(&mut self) -> Gpa {
        direct::gpa_of(core::hint::black_box(self.0.as_mut_ptr()))
    }

    fn read(&mut self, disk: &mut Block, at: u64) -> Result<(), Failed> {
        disk.read(at / 512, &[(self.gpa(), PAGE_SIZE as u32)])
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
        len: word(bytes, LEN),
        capacity: word(bytes, core::mem::offset_of!(Entry, capacity)),
        known_len: word(bytes, LEN),
        attributes: Attributes {
            mode: half(core::mem::offset_of!(Entry, mode)) & 0o7777,
            mtime_ns: word(bytes, core::mem::offset_of!(Entry, mtime_ns)),
            read_only: half(core::mem::offset_of!(Entry, flags)) & READ_ONLY != 0,
        },
        first_sector: word(bytes, core::mem::offset_of!(Entry, start)) / 512,
    }
}
