//! The index in the first blocks of the file disk, as [`abi::files`] lays it down.

use abi::addr::PAGE_SIZE;
use abi::files::{ENTRIES_START, Entry, IndexHeader, MAGIC, READ_ONLY};

use super::file::DiskFile;

/// Length of an index of `files` entries in bytes: whole pages.
pub(super) const fn len(files: usize) -> u64 {
    (ENTRIES_START + (files * size_of::<Entry>()) as u64).next_multiple_of(PAGE_SIZE as u64)
}

/// The index of these files, each with the start of its extent.
pub(super) fn build<'a>(files: impl ExactSizeIterator<Item = (u64, &'a DiskFile)>) -> Vec<u8> {
    let mut bytes = vec![0; len(files.len()) as usize];
    put(&mut bytes, std::mem::offset_of!(IndexHeader, magic), &MAGIC.to_le_bytes());
    put(&mut bytes, std::mem::offset_of!(IndexHeader, entries), &(files.len() as u64).to_le_bytes());
    for (entry, (start, file)) in
        bytes[ENTRIES_START as usize..].chunks_exact_mut(size_of::<Entry>()).zip(files)
    {
        let path = file.guest_path().as_bytes();
        let flags = if file.read_only() { READ_ONLY } else { 0 };
        put(entry, std::mem::offset_of!(Entry, start), &start.to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, len), &file.len().to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, capacity), &file.capacity().to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, mtime_ns), &file.mtime_ns().to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, mode), &file.mode().to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, flags), &flags.to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, path_len), &(path.len() as u64).to_le_bytes());
        put(entry, std::mem::offset_of!(Entry, path), path);
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}
