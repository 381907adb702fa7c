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

/// The file whose entry is at a sector of the index, and the length that the guest wrote there.
pub(super) fn changed_len(offset: u64, sector: &[u8; size_of::<Entry>()]) -> Option<(usize, u64)> {
    let at = offset.checked_sub(ENTRIES_START)?;
    let mut len = [0; 8];
    let field = std::mem::offset_of!(Entry, len);
    len.copy_from_slice(&sector[field..field + 8]);
    Some((at as usize / size_of::<Entry>(), u64::from_le_bytes(len)))
}

/// Makes the index tell a file's new length.
pub(super) fn set_len(index: &mut [u8], file: usize, len: u64) {
    let entry = ENTRIES_START as usize + file * size_of::<Entry>();
    put(index, entry + std::mem::offset_of!(Entry, len), &len.to_le_bytes());
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}
