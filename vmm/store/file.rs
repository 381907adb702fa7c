//! The file behind a store: blocks of a page each, in a file that has no name.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};

use abi::addr::PAGE_SIZE;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstatvfs, ftruncate, open, unlink};
use rustix::io::{Errno, preadv, pwritev};

use super::{PageBytes, StoreError};
use crate::memory::Size;

/// Most buffers that one write takes (the kernel's IOV_MAX).
const MAX_RUN: usize = 1024;

/// The file. It vanishes with its descriptor, however the process ends.
#[derive(Debug)]
pub(super) struct BlockFile {
    pub(super) file: File,
    direct: bool,
}

impl BlockFile {
    /// Makes the file in the directory `path`, or as the new file `path`, with room for `blocks` pages.
    pub(super) fn create(path: &Path, blocks: u32) -> Result<Self, StoreError> {
        let create = |flags| if path.is_dir() { nameless(path, flags) } else { unlinked(path, flags) };
        // Not every file system can do without the page cache; EINVAL is how it says so.
        let (file, direct) = match create(OFlags::DIRECT) {
            Err(Errno::INVAL) => (create(OFlags::empty()), false),
            made => (made, true),
        };
        let file = file.map_err(|errno| creation_error(path, errno))?;
        reserve(&file, blocks).map_err(|errno| match errno {
            Errno::NOSPC | Errno::FBIG | Errno::DQUOT => {
                StoreError::NoRoom { path: path.to_owned(), size: Size::from_pages(blocks) }
            }
            errno => creation_error(path, errno),
        })?;
        Ok(Self { file, direct })
    }

    pub(super) const fn is_direct(&self) -> bool {
        self.direct
    }

    /// Reads block `block`.
    pub(super) fn read(&self, block: u32, page: &mut PageBytes) -> io::Result<()> {
        loop {
            match preadv(&self.file, &mut [IoSliceMut::new(&mut page.0)], offset(block)) {
                Ok(PAGE_SIZE) => return Ok(()),
                // Direct I/O is never cut within a block, so a short read is the end of a damaged file.
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Writes pages to the blocks from `first` on.
    pub(super) fn write(&self, mut first: u32, mut pages: &[IoSlice<'_>]) -> io::Result<()> {
        while !pages.is_empty() {
            let run = &pages[..pages.len().min(MAX_RUN)];
            match pwritev(&self.file, run, offset(first)) {
                // Whole pages went; the rest of a page that was cut is written again.
                Ok(written) if written >= PAGE_SIZE => {
                    first += (written / PAGE_SIZE) as u32;
                    pages = &pages[written / PAGE_SIZE..];
                }
                Ok(_) => return Err(ErrorKind::WriteZero.into()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

fn offset(block: u32) -> u64 {
    u64::from(block) * PAGE_SIZE as u64
}

const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A file that never has a name, in a directory.
fn nameless(directory: &Path, flags: OFlags) -> Result<File, Errno> {
    match open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | flags, MODE) {
        // Some file systems cannot: there the name lives for as long as it takes to unlink it.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            unlinked(&directory.join(format!(".bifold-store-{}", std::process::id())), flags)
        }
        made => made.map(File::from),
    }
}

/// A new file whose name is taken away at once.
fn unlinked(path: &Path, flags: OFlags) -> Result<File, Errno> {
    let file = open(path, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | flags, MODE);
    if matches!(file, Ok(_) | Err(Errno::INVAL)) {
        // Where O_DIRECT is refused, the kernel has made the file before it looks.
        let _ = unlink(path);
    }
    file.map(File::from)
}

/// Takes the space for all blocks now, where the file system can; elsewhere the file grows as it is written.
fn reserve(file: &File, blocks: u32) -> Result<(), Errno> {
    // Asked first, because a reservation that fails may fill the disk, for everyone, before it does. A file system
    // without a limit has no blocks.
    let disk = fstatvfs(file)?;
    if disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) < offset(blocks) {
        return Err(Errno::NOSPC);
    }
    match fallocate(file, FallocateFlags::empty(), 0, offset(blocks)) {
        Err(Errno::OPNOTSUPP) => ftruncate(file, offset(blocks)),
        Err(Errno::INTR) => reserve(file, blocks),
        other => other,
    }
}

fn creation_error(path: &Path, errno: Errno) -> StoreError {
    let path = PathBuf::from(path);
    match errno {
        Errno::NOENT | Errno::NOTDIR => StoreError::NoDirectory(path),
        Errno::EXIST => StoreError::Exists(path),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => StoreError::Permission(path),
        Errno::NOSPC | Errno::DQUOT => StoreError::NoRoom { path, size: Size::from_pages(1) },
        errno => StoreError::Create { path, reason: errno.into() },
    }
}
