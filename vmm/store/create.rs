//! Makes the file behind a store, one that has no name, or opens a block device in its place.

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    FallocateFlags, Mode, OFlags, SeekFrom, fallocate, fstatvfs, ftruncate, open, seek, unlink,
};
use rustix::io::Errno;

use super::StoreError;
use super::file::offset;
use crate::memory::Size;

/// What was made or opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// What a report calls it.
    pub(super) kind: &'static str,
    /// Whether it is read and written past the host's page cache.
    pub(super) direct: bool,
}

/// Opens the block device `path`, or makes a file in the directory `path`, or as the new file `path`, with
/// room for `blocks` pages. The file vanishes with its descriptor, however the process ends.
pub(super) fn open_or_create(path: &Path, blocks: u32) -> Result<Opened, StoreError> {
    if path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device()) {
        return device(path, blocks);
    }
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
    Ok(Opened { file, kind: "file", direct })
}

/// A block device that nobody else uses: O_EXCL says so for one that is mounted, swapped to, or a part of
/// another.
fn device(path: &Path, blocks: u32) -> Result<Opened, StoreError> {
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map(File::from).map_err(|errno| match errno {
        Errno::BUSY => StoreError::Busy(path.to_owned()),
        errno => creation_error(path, errno),
    })?;
    let bytes = seek(&file, SeekFrom::End(0)).map_err(|errno| creation_error(path, errno))?;
    if bytes < offset(blocks) {
        let needed = Size::from_pages(blocks);
        return Err(StoreError::TooSmall { path: path.to_owned(), bytes, needed });
    }
    Ok(Opened { file, kind: "device", direct: true })
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
    // Asked first, because a reservation that fails may fill the disk, for everyone, before it does. A file
    // system without a limit has no blocks.
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
